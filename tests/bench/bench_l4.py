#!/usr/bin/env python3
"""Measures the service proxy from outside, in a network namespace of its own: seconds from start to rules in force,
resident memory, the time of one endpoint change and of one new service. `make bench-l4` runs it.

Each shape is services x endpoints. Manifests are made in a temporary folder (one file of ten services each thousandth, the
rest in one), fairlead is started on them, and the kernel's own notifications (NFNLGRP_NFTABLES) say when a change is in force."""
import argparse
import json
import os
import pathlib
import re
import select
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time

NETLINK_NETFILTER = 12
NFNLGRP_NFTABLES = 7
SOL_NETLINK = 270
NETLINK_ADD_MEMBERSHIP = 1
NFT_MSG_NEWGEN = (10 << 8) | 15
EDITED_SERVICES = 10


def cluster_ip(index: int) -> str:
    return f"10.{96 + index // 65536}.{index // 256 % 256}.{index % 256}"


def pod_ip(index: int) -> str:
    return f"10.{128 + index // 65536}.{index // 256 % 256}.{index % 256}"


def service(index: int) -> dict:
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": f"service-{index}", "namespace": f"team-{index % 100}"},
            "spec": {"clusterIP": cluster_ip(index + 1), "selector": {"app": f"service-{index}"},
                     "ports": [{"name": "http", "port": 80, "targetPort": 8080}]}}


def endpoint_slice(index: int, addresses: list[str]) -> dict:
    return {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"name": f"service-{index}-abcde", "namespace": f"team-{index % 100}",
                         "labels": {"kubernetes.io/service-name": f"service-{index}"}},
            "addressType": "IPv4", "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
            "endpoints": [{"addresses": [address], "conditions": {"ready": True}, "nodeName": f"node-{number % 50}"}
                          for number, address in enumerate(addresses)]}


def write_whole(path: pathlib.Path, objects: list[dict]) -> float:
    """As an editor or kubelet does: written aside, then renamed into place. Returns when the rename began."""
    part = path.with_name(f".{path.name}.part")
    part.write_text("\n".join("---\n" + json.dumps(item) for item in objects))
    before = time.monotonic()
    part.rename(path)
    return before


class Generations:
    """Hears of each nf_tables transaction in this network namespace."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
        self.socket.setsockopt(socket.SOL_SOCKET, 33, 256 << 20)  # SO_RCVBUFFORCE
        self.socket.bind((0, 0))
        self.socket.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, NFNLGRP_NFTABLES)
        self.socket.setblocking(False)

    def drain(self):
        """Until nothing came for 30 ms: what a change before this one brought does not count for it."""
        while select.select([self.socket], [], [], 0.03)[0]:
            self.socket.recv(1 << 20)

    def wait(self, timeout_s: float) -> float:
        """When the next transaction was committed; TimeoutError if none is."""
        deadline = time.monotonic() + timeout_s
        while True:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.socket], [], [], left)[0]:
                raise TimeoutError("no transaction")
            now = time.monotonic()
            data = self.socket.recv(1 << 20)
            offset = 0
            while offset + 16 <= len(data):
                length, kind = struct.unpack_from("=IH", data, offset)
                if kind == NFT_MSG_NEWGEN:
                    return now
                offset += (length + 3) & ~3


def http_get(port: int, path: str) -> tuple[int, str]:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        data = b""
        while chunk := connection.recv(65536):
            data += chunk
    return int(data.split(b" ", 2)[1]), data.split(b"\r\n\r\n", 1)[1].decode()


def memory_mib(pid: int) -> tuple[float, float]:
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    values = dict(re.findall(r"^(VmRSS|VmHWM):\s+(\d+) kB", status, re.M))
    return int(values["VmRSS"]) / 1024, int(values["VmHWM"]) / 1024


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


class Run:
    def __init__(self, fairlead: pathlib.Path, services: int, endpoints: int, folder: pathlib.Path):
        self.services, self.endpoints, self.folder = services, endpoints, folder
        self.addresses = {}
        self.next_pod = services * endpoints + 1000
        rest = []
        for index in range(services):
            self.addresses[index] = [pod_ip(index * endpoints + number + 1) for number in range(endpoints)]
            objects = [service(index), endpoint_slice(index, self.addresses[index])]
            if index < EDITED_SERVICES:
                write_whole(folder / f"a-{index:04}.json", objects)
            else:
                rest += objects
        write_whole(folder / "rest.json", rest)
        self.generations = None  # opened when ready: whoever listens makes the kernel write down each element it adds
        self.started = time.monotonic()
        self.process = subprocess.Popen([fairlead, "proxy", f"--manifests={folder}", "--hostname-override=node-1",
                                         "--cluster-cidr=10.128.0.0/9", "--healthz-bind-address=127.0.0.1:10256",
                                         "--metrics-bind-address=127.0.0.1:10249"], stderr=subprocess.DEVNULL)

    def wait_ready(self, timeout_s: float = 300) -> float:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(f"fairlead ended with {self.process.returncode}")
            try:
                if http_get(10256, "/readyz")[0] == 200:
                    seconds = time.monotonic() - self.started
                    self.generations = Generations()
                    return seconds
            except OSError:
                pass
            time.sleep(0.01)
        raise TimeoutError("not ready")

    def timed_change(self, path: pathlib.Path, objects: list[dict]) -> float:
        self.generations.drain()
        renamed = write_whole(path, objects)
        return (self.generations.wait(30) - renamed) * 1000

    def endpoint_changes(self, count: int, grow: bool) -> list[float]:
        times = []
        for number in range(count):
            index = number % EDITED_SERVICES
            addresses = self.addresses[index]
            self.next_pod += 1
            fresh = pod_ip(self.next_pod)
            self.addresses[index] = addresses + [fresh] if grow else addresses[:-1] + [fresh]
            times.append(self.timed_change(self.folder / f"a-{index:04}.json",
                                           [service(index), endpoint_slice(index, self.addresses[index])]))
        return times

    def new_services(self, count: int) -> list[float]:
        times = []
        for number in range(count):
            index = self.services + 10 + number
            addresses = [pod_ip(index * self.endpoints + 1)]
            times.append(self.timed_change(self.folder / f"n-{index}.json", [service(index), endpoint_slice(index, addresses)]))
        return times

    def sync_ms(self) -> dict:
        """What the proxy itself measured: from a store change to the commit."""
        text = http_get(10249, "/metrics")[1]
        name = "fairlead_proxy_event_to_rule_seconds"
        total = re.search(rf"^{name}_sum\S* (\S+)", text, re.M)
        count = re.search(rf"^{name}_count\S* (\S+)", text, re.M)
        return {"sum": float(total[1]) if total else 0.0, "count": float(count[1]) if count else 0.0}

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)


def report(name: str, times_ms: list[float], inside: str):
    print(f"    {name:28} p50 {statistics.median(times_ms):8.2f} ms   p99 {percentile(times_ms, 0.99):8.2f} ms   ({inside})")


def measure(fairlead: pathlib.Path, services: int, endpoints: int, changes: int):
    with tempfile.TemporaryDirectory() as name:
        run = Run(fairlead, services, endpoints, pathlib.Path(name))
        try:
            seconds = run.wait_ready()
            rss, peak = memory_mib(run.process.pid)
            print(f"{services} services x {endpoints} endpoints")
            print(f"    start to rules in force      {seconds:8.2f} s (reading the manifests included)")
            print(f"    of which sync                {sync_duration():8.2f} s (objects in memory to rules in force)")
            print(f"    resident memory              {rss:8.1f} MiB now, {peak:.1f} MiB at peak")
            for title, act in (("one endpoint replaced", lambda: run.endpoint_changes(changes, False)),
                               ("one endpoint added", lambda: run.endpoint_changes(changes, True)),
                               ("one new service", lambda: run.new_services(changes))):
                before = run.sync_ms()
                times = act()
                after = run.sync_ms()
                count = max(1.0, after["count"] - before["count"])
                report(title, times, f"from rename() to commit; mean from store change to commit "
                                     f"{(after['sum'] - before['sum']) / count * 1000:.2f} ms")
        finally:
            run.stop()


def sync_duration() -> float:
    text = http_get(10249, "/metrics")[1]
    found = re.search(r"^fairlead_proxy_first_sync_seconds (\S+)", text, re.M)
    return float(found[1]) if found else float("nan")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build", type=pathlib.Path)
    parser.add_argument("--changes", default=50, type=int)
    parser.add_argument("shapes", nargs="*", default=["1000x4", "10000x10"], help="services x endpoints, as 10000x10")
    arguments = parser.parse_args()
    if os.geteuid() != 0 or not shutil.which("unshare"):
        print("bench-l4 needs root, for a network namespace of its own", file=sys.stderr)
        return 1
    if os.environ.get("FAIRLEAD_BENCH_NAMESPACE") is None:
        environment = dict(os.environ, FAIRLEAD_BENCH_NAMESPACE="1")
        command = ["unshare", "-n", "sh", "-c", 'ip link set lo up && exec "$0" "$@"', sys.executable, *sys.argv]
        return subprocess.run(command, env=environment).returncode
    for shape in arguments.shapes:
        services, endpoints = (int(number) for number in shape.split("x"))
        measure(arguments.build.resolve() / "fairlead", services, endpoints, arguments.changes)
    return 0


if __name__ == "__main__":
    sys.exit(main())
