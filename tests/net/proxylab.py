"""A node with three pods, a client outside and a pod on another node, in both families; and `fairlead proxy` on the node.

    client --- node --- pod-1, pod-2, pod-3        (each pod on a link of its own, routed)
                  `---- pod-far                    (a pod of another node)

Every pod answers on TCP and UDP 8080, and the node itself on 9090. Objects are written as manifests:

    with ProxyLab() as lab, lab.proxy():
        lab.apply("web", service("web", lab.v4, ports=[port(80)]), endpoints("web", lab.v4, lab.v4.pods[:2]))
        lab.ask(lab.client, lab.v4.cluster_ip(1), 80)
"""
import contextlib
import dataclasses
import json

import netlab

NODE = "node-1"
FAR_NODE = "node-2"
PODS = ["pod-1", "pod-2", "pod-3"]
POD_PORT = 8080


@dataclasses.dataclass(frozen=True)
class Family:
    """The addresses of one family."""
    name: str           # as in EndpointSlice.addressType
    prefix: int         # of a single address
    client: str
    node: str           # its address towards the client
    pods: tuple         # of pod-1, pod-2, pod-3
    gateways: tuple     # the node's address on each pod's link
    far: str
    pod_cidr: str
    outside: str        # "203.0.113.{}": addresses no host has
    services: str       # "10.96.0.{}"

    def cluster_ip(self, number):
        return self.services.format(number)

    def outside_ip(self, number):
        return self.outside.format(number)

    def pod_name(self, address):
        return PODS[self.pods.index(address)]


V4 = Family("IPv4", 32, "192.0.2.100", "192.0.2.1", ("10.244.1.2", "10.244.2.2", "10.244.3.2"),
            ("10.244.1.1", "10.244.2.1", "10.244.3.1"), "10.244.99.2", "10.244.0.0/16", "203.0.113.{}", "10.96.0.{}")
V6 = Family("IPv6", 128, "2001:db8:2::100", "2001:db8:2::1", ("fd00:244:1::2", "fd00:244:2::2", "fd00:244:3::2"),
            ("fd00:244:1::1", "fd00:244:2::1", "fd00:244:3::1"), "fd00:244:99::2", "fd00:244::/32", "2001:db8:ffff::{}",
            "fd00:96::{}")
FAMILIES = (V4, V6)


# ---- objects ----

def port(number, name="", protocol="TCP", node_port=None):
    return {"port": number, "protocol": protocol, "targetPort": POD_PORT, **({"name": name} if name else {}),
            **({"nodePort": node_port} if node_port else {})}


def service(name, families, number, ports, namespace="default", status=None, labels=None, **spec):
    """A Service whose cluster IP is number `number` of each family's services."""
    families = families if isinstance(families, (list, tuple)) else [families]
    addresses = [family.cluster_ip(number) for family in families]
    return {"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": name, "namespace": namespace, "labels": labels or {}},
            "spec": {"clusterIP": addresses[0], "clusterIPs": addresses, "ports": ports, **spec},
            **({"status": status} if status else {})}


def load_balancer(*addresses, ip_mode="VIP"):
    return {"loadBalancer": {"ingress": [{"ip": address, "ipMode": ip_mode} for address in addresses]}}


def endpoint(address, node=None, ready=True, serving=None, terminating=False, zones=None):
    conditions = {"ready": ready, "serving": ready if serving is None else serving, "terminating": terminating}
    return {"addresses": [address], "conditions": conditions, **({"nodeName": node} if node else {}),
            **({"hints": {"forZones": [{"name": zone} for zone in zones]}} if zones else {})}


def endpoint_slice(name, family, endpoints, ports=None, part="a", namespace="default"):
    """Endpoints are addresses or `endpoint(...)`; ports (name, protocol), for the pods' port."""
    return {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"name": f"{name}-{family.name.lower()}-{part}", "namespace": namespace,
                         "labels": {"kubernetes.io/service-name": name}},
            "addressType": family.name,
            "ports": [{"protocol": protocol, "port": POD_PORT, **({"name": each} if each else {})}
                      for each, protocol in ports or [("", "TCP")]],
            "endpoints": [endpoint(each) if isinstance(each, str) else each for each in endpoints]}


def node_object(addresses=(), zone=None):
    return {"apiVersion": "v1", "kind": "Node",
            "metadata": {"name": NODE, "labels": {"topology.kubernetes.io/zone": zone} if zone else {}},
            "status": {"addresses": [{"type": "InternalIP", "address": address} for address in addresses]}}


# ---- the lab ----

class ProxyLab(netlab.Lab):
    def __enter__(self):
        super().__enter__()
        try:
            return self._built()
        except BaseException:
            self.__exit__(None, None, None)
            raise

    def _built(self):
        self.manifests = self.directory / "manifests"
        self.manifests.mkdir()
        self.client, self.node = self.host("client"), self.host("node")
        self.node.forward()
        # Refusals are ICMP messages, which the kernel otherwise sends once a second.
        self.node.sysctl("net.ipv4.icmp_ratelimit", 0)
        self.node.sysctl("net.ipv6.icmp.ratelimit", 0)
        self.link(self.client, self.node, [f"{V4.client}/24", f"{V6.client}/64"], [f"{V4.node}/24", f"{V6.node}/64"])
        for family, everything in ((V4, "default"), (V6, "default")):
            self.client.route(everything, via=family.node)
            self.node.route(everything, via=family.client)
        self.pods = [self._pod(name, number) for number, name in enumerate(PODS, 1)]
        self.far = self._pod("pod-far", 99)
        self.node.serve(tcp=[9090], udp=[9090])
        self.fairlead = None
        return self

    def _pod(self, name, number):
        pod = self.host(name)
        self.link(pod, self.node, [f"10.244.{number}.2/24", f"fd00:244:{number}::2/64"],
                  [f"10.244.{number}.1/24", f"fd00:244:{number}::1/64"])
        pod.route("default", via=f"10.244.{number}.1")
        pod.route("default", via=f"fd00:244:{number}::1")
        pod.serve(tcp=[POD_PORT], udp=[POD_PORT])
        return pod

    @contextlib.contextmanager
    def proxy(self, *flags, cluster_cidr=True):
        """`fairlead proxy` on the node while the `with` lasts, on the lab's manifests; afterwards no rules are left."""
        cidrs = [f"--cluster-cidr={V4.pod_cidr},{V6.pod_cidr}"] if cluster_cidr else []
        try:
            with netlab.Fairlead(self.node, "proxy", f"--manifests={self.manifests}", f"--hostname-override={NODE}",
                                 *cidrs, *flags) as self.fairlead:
                yield self.fairlead
        finally:
            self.fairlead = None
            for path in self.manifests.iterdir():
                path.unlink()
            self.node.run("nft flush ruleset")
            self.forget_connections()

    def forget_connections(self):
        self.node.run("conntrack -F")

    # ---- what is wanted ----

    def apply(self, name, *objects):
        """Writes objects as one file, as kubelet would, and waits until they are in force."""
        heard = self._heard()
        part = self.manifests / f".{name}.part"
        part.write_text("\n".join("---\n" + json.dumps(each) for each in objects))
        part.rename(self.manifests / f"{name}.yaml")
        self._wait_heard(heard)

    def remove(self, name):
        heard = self._heard()
        (self.manifests / f"{name}.yaml").unlink()
        self._wait_heard(heard)

    def _heard(self):
        if not self.fairlead:
            return None
        metrics = self.fairlead.metrics()
        return sum(metrics[f"kubeproxy_sync_proxy_rules_{what}_changes_total"] for what in ("service", "endpoint"))

    def _wait_heard(self, before):
        if before is None:
            return
        def in_force():
            metrics = self.fairlead.metrics()
            return self._heard() > before and metrics["fairlead_proxy_services_pending"] == 0
        netlab.wait_for("the change is in force", in_force)

    # ---- what is in force ----

    def ruleset(self):
        """Both tables of fairlead as text; "" for one that is not there."""
        tables = self.node.run("nft list tables").splitlines()
        return "".join(self.node.run(f"nft list table {family} fairlead") for family in ("ip", "ip6")
                       if f"table {family} fairlead" in tables)

    def transactions(self):
        metrics = self.fairlead.metrics()
        return sum(metrics[f'fairlead_proxy_transactions_total{{ip_family="{family.name}"}}'] for family in FAMILIES)

    def operations(self):
        metrics = self.fairlead.metrics()
        return sum(metrics[f'fairlead_proxy_operations_total{{ip_family="{family.name}"}}'] for family in FAMILIES)


def ask(host, address, number=80, protocol="tcp", timeout_s=1.0, source=None):
    function = {"tcp": netlab.tcp_ask, "udp": netlab.udp_ask}[protocol]
    return host.call(function, address, number, timeout_s=timeout_s, source=source)


def ask_many(host, address, number=80, count=6, protocol="tcp"):
    """Who answered, in order."""
    return [ask(host, address, number, protocol).host for _ in range(count)]


def takes_turns(hosts):
    """Is it strict rotation: each run as long as the number of different hosts holds every one of them?"""
    different = set(hosts)
    return all(set(run) == different for run in zip(*(hosts[start:] for start in range(len(different)))))
