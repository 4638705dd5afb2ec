"""The harness proves itself: what the other tests of this folder rely on."""

import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import uuid

import pytest

from apiclient import ApiError
from controlplane import HERE, ControlPlane, wait_for

DEBIAN_ETCD = pathlib.Path("/usr/bin/etcd")
# What a client sends that wants the objects there are and then the changes, in one request.
STREAMING_LIST = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"


def service(name, namespace, **spec):
    return json.dumps({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace},
                       "spec": {"ports": [{"port": 80, "targetPort": 8080}], **spec}})


def web(cluster, namespace):
    """A Service with two ready Pods, and its slice made by the controller."""
    cluster.apply(service("web", namespace, selector={"app": "web"}))
    cluster.create_pod(namespace, "a", labels={"app": "web"}, node="n1", ip="10.1.0.1")
    cluster.create_pod(namespace, "b", labels={"app": "web"}, node="n1", ip="10.1.0.2")
    wait_ready(cluster, namespace, ["10.1.0.1", "10.1.0.2"])


def wait_ready(cluster, namespace, addresses):
    wait_for(f"ready endpoints are {addresses}", lambda: cluster.ready_addresses(namespace, "web") == addresses)


def first_events(cluster, path, seconds):
    """What a watch answers within some seconds."""
    user = cluster.kubeconfig()
    shown = cluster.kubectl("--kubeconfig", user, "get", "--raw", f"{path}&timeoutSeconds={seconds}")
    return [json.loads(line) for line in shown.splitlines()]


def test_the_control_plane_says_it_is_ready(cluster):
    assert cluster.api("GET", "/readyz") == "ok"


def test_every_program_tells_the_version_pinned_in_go_mod(cluster, programs):
    pinned = f"v{cluster.version}"
    assert cluster.api("GET", "/version")["gitVersion"] == pinned
    versions = json.loads(cluster.kubectl("version", "-o", "json"))
    assert versions["clientVersion"]["gitVersion"] == versions["serverVersion"]["gitVersion"] == pinned
    for name in ("kube-proxy", "kube-controller-manager"):
        assert subprocess.check_output([programs / name, "--version"], text=True) == f"Kubernetes {pinned}\n"
    etcd = re.search(r"etcd/server/v3 v([0-9.]+)", (HERE / "go.mod").read_text())[1]
    assert f"etcd Version: {etcd}\n" in subprocess.check_output([programs / "etcd", "--version"], text=True)


def test_a_service_gets_a_slice_with_its_two_ready_pods(cluster, namespace):
    web(cluster, namespace)
    [made] = cluster.endpoint_slices(namespace, "web")
    assert made["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"] == "endpointslice-controller.k8s.io"
    assert [endpoint["nodeName"] for endpoint in made["endpoints"]] == ["n1", "n1"]
    assert made["ports"][0]["port"] == 8080


def test_a_pod_that_stops_being_ready_stops_being_a_ready_endpoint(cluster, namespace):
    web(cluster, namespace)
    cluster.set_pod_status(namespace, "a", ready=False)
    wait_ready(cluster, namespace, ["10.1.0.2"])
    cluster.set_pod_status(namespace, "a", ready=True)
    wait_ready(cluster, namespace, ["10.1.0.1", "10.1.0.2"])


def test_a_deleted_pod_with_grace_is_a_terminating_endpoint_that_serves(cluster, namespace):
    web(cluster, namespace)
    cluster.delete_pod(namespace, "a", grace_s=30)
    wait_ready(cluster, namespace, ["10.1.0.2"])
    [made] = cluster.endpoint_slices(namespace, "web")
    conditions = {endpoint["addresses"][0]: endpoint["conditions"] for endpoint in made["endpoints"]}
    assert conditions["10.1.0.1"] == {"ready": False, "serving": True, "terminating": True}
    cluster.delete_pod(namespace, "a")
    wait_for("the endpoint is gone", lambda: len(cluster.endpoint_slices(namespace, "web")[0]["endpoints"]) == 1)


def test_a_pod_bound_later_has_an_endpoint_on_its_node(cluster, namespace):
    cluster.apply(service("web", namespace, selector={"app": "web"}))
    cluster.create_pod(namespace, "late", labels={"app": "web"})
    cluster.set_pod_status(namespace, "late", node="n2", ip="10.1.0.3", ready=True)
    wait_ready(cluster, namespace, ["10.1.0.3"])
    assert cluster.endpoint_slices(namespace, "web")[0]["endpoints"][0]["nodeName"] == "n2"


def test_a_dual_stack_service_gets_an_address_and_a_slice_of_each_family(cluster, namespace):
    cluster.apply(service("web", namespace, selector={"app": "web"}, ipFamilyPolicy="RequireDualStack"))
    cluster.create_pod(namespace, "a", labels={"app": "web"}, node="n1", ip=["10.1.0.1", "fd00:1::1"])
    wait_ready(cluster, namespace, ["10.1.0.1", "fd00:1::1"])
    first, second = cluster.api("GET", f"/api/v1/namespaces/{namespace}/services/web")["spec"]["clusterIPs"]
    assert first.startswith("10.96.") and second.startswith("fd00:10:96::")


def test_the_zone_of_a_node_shows_in_its_endpoints(cluster, namespace):
    node = f"zoned-{namespace}"
    cluster.create_node(node, addresses=["198.18.0.9"], pod_cidrs=["10.9.0.0/24"], zone="east")
    cluster.apply(service("web", namespace, selector={"app": "web"}))
    cluster.create_pod(namespace, "a", labels={"app": "web"}, node=node, ip="10.9.0.1")
    wait_ready(cluster, namespace, ["10.9.0.1"])
    assert cluster.endpoint_slices(namespace, "web")[0]["endpoints"][0]["zone"] == "east"
    assert "taints" not in cluster.api("GET", f"/api/v1/nodes/{node}")["spec"]
    cluster.api("DELETE", f"/api/v1/nodes/{node}")


def test_endpoints_of_a_service_without_selector_are_mirrored_to_a_slice(cluster, namespace):
    cluster.apply(service("web", namespace))
    cluster.api("POST", f"/api/v1/namespaces/{namespace}/endpoints", {
        "metadata": {"name": "web"},
        "subsets": [{"addresses": [{"ip": "198.18.0.77"}], "ports": [{"port": 8080}]}]})
    wait_ready(cluster, namespace, ["198.18.0.77"])
    [made] = cluster.endpoint_slices(namespace, "web")
    assert (made["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"]
            == "endpointslicemirroring-controller.k8s.io")


def test_the_slices_of_a_deleted_service_are_removed(cluster, namespace):
    web(cluster, namespace)
    cluster.api("DELETE", f"/api/v1/namespaces/{namespace}/services/web")
    wait_for("no slice is left", lambda: cluster.endpoint_slices(namespace, "web") == [])


def test_the_api_server_comes_back_with_its_data(cluster, namespace):
    web(cluster, namespace)
    cluster.stop_apiserver()
    with pytest.raises(ConnectionRefusedError):
        cluster.api("GET", "/readyz")
    cluster.start_apiserver()
    assert cluster.ready_addresses(namespace, "web") == ["10.1.0.1", "10.1.0.2"]
    cluster.set_pod_status(namespace, "a", ready=False)
    wait_ready(cluster, namespace, ["10.1.0.2"])


def test_the_api_server_comes_back_from_a_crash(cluster, namespace):
    web(cluster, namespace)
    cluster.stop_apiserver(signal.SIGKILL)
    cluster.start_apiserver()
    assert cluster.ready_addresses(namespace, "web") == ["10.1.0.1", "10.1.0.2"]


def test_kube_proxys_user_may_list_services_but_not_secrets(cluster):
    user = cluster.kubeconfig("system:kube-proxy", groups=())
    assert "kubernetes" in cluster.kubectl("--kubeconfig", user, "get", "services", "-A")
    with pytest.raises(RuntimeError, match="Forbidden"):
        cluster.kubectl("--kubeconfig", user, "get", "secrets", "-A")


def test_the_groups_of_a_client_certificate_are_the_users_groups(cluster):
    user = cluster.kubeconfig("a/b", groups=("one", "two"))
    shown = json.loads(cluster.kubectl("--kubeconfig", user, "auth", "whoami", "-o", "json"))["status"]["userInfo"]
    assert shown["username"] == "a/b"
    assert {"one", "two"} < set(shown["groups"])


def test_a_serviceaccount_token_is_that_serviceaccount(cluster, namespace):
    cluster.kubectl("create", "serviceaccount", "proxy", "-n", namespace)
    user = cluster.serviceaccount_kubeconfig(namespace, "proxy")
    shown = json.loads(cluster.kubectl("--kubeconfig", user, "auth", "whoami", "-o", "json"))
    assert shown["status"]["userInfo"]["username"] == f"system:serviceaccount:{namespace}:proxy"
    mounted = cluster.serviceaccount_directory(namespace, "proxy")
    assert sorted(os.listdir(mounted)) == ["ca.crt", "namespace", "token"]


def test_the_requests_of_a_user_are_on_record(cluster):
    name = f"watcher-{uuid.uuid4().hex}"
    user = cluster.kubeconfig(name, groups=())
    with pytest.raises(RuntimeError, match="Forbidden"):
        cluster.kubectl("--kubeconfig", user, "get", "--raw", "/api/v1/services?labelSelector=a")
    [seen] = wait_for("it is on record", lambda: cluster.requests(name))
    assert (seen["verb"], seen["requestURI"]) == ("list", "/api/v1/services?labelSelector=a")
    assert seen["responseStatus"]["code"] == 403


def test_a_failure_of_the_api_carries_its_status_and_reason(cluster):
    with pytest.raises(ApiError) as caught:
        cluster.api("GET", "/api/v1/namespaces/nowhere")
    assert (caught.value.status, caught.value.reason) == (404, "NotFound")


def test_a_streaming_list_ends_its_first_part_with_a_bookmark(cluster):
    last = first_events(cluster, f"/api/v1/services?{STREAMING_LIST}", seconds=1)[-1]
    assert last["type"] == "BOOKMARK"
    assert last["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


@pytest.mark.skipif(not DEBIAN_ETCD.exists(), reason=f"{DEBIAN_ETCD} is not installed")
def test_an_etcd_before_3_4_31_makes_streaming_lists_fail_within_the_stream(programs):
    shown = subprocess.check_output([DEBIAN_ETCD, "--version"], text=True)
    version = tuple(map(int, re.search(r"etcd Version: ([0-9.]+)", shown)[1].split(".")))
    if version >= (3, 4, 31):
        pytest.skip(f"{DEBIAN_ETCD} is newer")
    with ControlPlane(etcd=DEBIAN_ETCD) as old:
        [event] = first_events(old, f"/api/v1/services?{STREAMING_LIST}", seconds=1)
    assert event["type"] == "ERROR"
    assert event["object"]["code"] == 500


@pytest.fixture
def neighbour():
    """Another network namespace on the far end of a cable; yields its name and our own address on the cable."""
    if os.geteuid():
        pytest.skip("making a network namespace needs root")
    name, ours, here = f"fairlead-{os.getpid()}", f"fl{os.getpid()}", "198.18.99.1"

    def ip(*words):
        subprocess.run(["ip", *words], check=True)

    ip("netns", "add", name)
    try:
        ip("link", "add", ours, "type", "veth", "peer", "name", "eth0", "netns", name)
        ip("addr", "add", f"{here}/30", "dev", ours)
        ip("link", "set", ours, "up")
        ip("-n", name, "addr", "add", "198.18.99.2/30", "dev", "eth0")
        ip("-n", name, "link", "set", "eth0", "up")
        yield name, here
    finally:
        ip("netns", "del", name)


def test_another_network_namespace_reaches_the_api_server(neighbour, programs):
    name, address = neighbour
    with ControlPlane(bind=address) as cluster:
        done = subprocess.run(["ip", "netns", "exec", name, programs / "kubectl", "--kubeconfig",
                               cluster.kubeconfig(), "get", "--raw", "/readyz"], capture_output=True, text=True)
        assert (done.stdout, done.stderr) == ("ok", "")
        wait_for("the Service kubernetes leads to the API server",
                 lambda: cluster.ready_addresses("default", "kubernetes") == [address])


STARTS_AND_STAYS = """
import sys, signal
from controlplane import ControlPlane
with ControlPlane() as cluster:
    print(cluster.directory, *map(cluster.pid, ("etcd", "kube-apiserver", "kube-controller-manager")), flush=True)
    signal.pause()
"""


def test_nothing_outlives_a_test_run_that_was_killed(programs):
    run = subprocess.Popen([sys.executable, "-c", STARTS_AND_STAYS], cwd=HERE, stdout=subprocess.PIPE, text=True)
    directory, *pids = run.stdout.readline().split()
    assert all(os.path.exists(f"/proc/{pid}") for pid in pids) and len(pids) == 3
    run.kill()
    run.communicate()
    wait_for("its processes ended", lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids))
    assert os.path.exists(directory)
    with ControlPlane():
        assert not os.path.exists(directory), "what a killed run left is removed by the next"


def test_two_control_planes_run_side_by_side(cluster):
    with ControlPlane() as other:
        assert other.ready() and cluster.ready()
        assert other.port != cluster.port and other.directory != cluster.directory


def test_nobody_takes_the_port_of_a_stopped_api_server(programs):
    with ControlPlane() as cluster:
        cluster.stop_apiserver()
        with socket.socket() as thief, pytest.raises(OSError, match="in use"):
            thief.bind(("127.0.0.1", cluster.port))


def test_the_build_returns_what_is_built_already(programs):
    assert subprocess.check_output([HERE / "build"], text=True).strip() == str(programs)


def test_without_go_the_build_says_so_and_skips(tmp_path):
    for tool in ("sh", "dirname", "sed"):
        (tmp_path / tool).symlink_to(shutil.which(tool))
    done = subprocess.run([HERE / "build"], env={"PATH": str(tmp_path), "FAIRLEAD_CACHE": str(tmp_path / "empty")},
                          capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (77, "")
    assert "SKIP: no Go here" in done.stderr
