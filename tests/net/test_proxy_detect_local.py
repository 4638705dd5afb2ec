"""Who is a pod to the service proxy (row 31 of the service-proxy contract): the modes beside ClusterCIDR, by what rows 18 and 29
make of it, in both families."""
import netlab
import proxylab
import pytest
from netlab import TIMEOUT
from proxylab import FAR_NODE, V4, V6, ask, endpoint, endpoint_slice, port, service

NODE_CIDRS = ["10.244.0.0/22", "fd00:244:2::/63"]  # IPv4: pod-1 to pod-3; IPv6: pod-2 and pod-3


@pytest.fixture(scope="module")
def machines():
    netlab.require("namespaces", "nftables", "fairlead")
    with proxylab.ProxyLab() as lab:
        yield lab


@pytest.fixture(params=[V4, V6], ids=["ipv4", "ipv6"])
def family(request):
    return request.param


def web(family, **spec):
    """With its one endpoint on another node."""
    return (service("web", family, 1, [port(80, node_port=30080)], type="NodePort", **spec),
            endpoint_slice("web", family, [endpoint(family.far, node=FAR_NODE)]))


def assert_pods(lab, family, pods, others):
    """Pods keep their address on the way to a cluster IP, others are masqueraded; with externalTrafficPolicy Local pods reach
    node ports of Services without an endpoint here, others do not."""
    gateway = {V4: "10.244.99.1", V6: "fd00:244:99::1"}[family]
    lab.apply("web", *web(family, externalTrafficPolicy="Local"))
    for host, address in pods:
        assert ask(host, family.node, 30080).source == address, host.name
    for host in others:
        assert ask(host, family.node, 30080, timeout_s=0.5).verdict == TIMEOUT, host.name
    lab.apply("web", *web(family))
    for host, address in pods:
        assert ask(host, family.cluster_ip(1)).source == address, host.name
    for host in (*others, lab.node):
        assert ask(host, family.cluster_ip(1)).source == gateway, host.name


def test_row_31_node_cidr_goes_by_the_nodes_pod_cidrs_once_they_are_known(machines, family):
    with machines.proxy("--detect-local-mode=NodeCIDR", cluster_cidr=False):
        machines.apply("web", *web(family))
        assert ask(machines.client, family.cluster_ip(1)).source == family.client, "nobody is known to be a pod"
        node = proxylab.node_object()
        node["spec"] = {"podCIDRs": NODE_CIDRS}
        machines.apply("node", node, service("any", family, 9, [port(80)]))
        others = [machines.client] if family is V4 else [machines.client, machines.pods[0]]
        assert_pods(machines, family, [(machines.pods[1], family.pods[1])], others)


def test_row_31_bridge_interface_goes_by_the_interface(machines, family):
    with machines.proxy("--detect-local-mode=BridgeInterface", "--pod-bridge-interface=pod-2", cluster_cidr=False):
        assert_pods(machines, family, [(machines.pods[1], family.pods[1])], [machines.client, machines.pods[0]])


def test_row_31_interface_name_prefix_goes_by_how_the_name_begins(machines, family):
    with machines.proxy("--detect-local-mode=InterfaceNamePrefix", "--pod-interface-name-prefix=pod-", cluster_cidr=False):
        assert_pods(machines, family, [(machines.pods[0], family.pods[0]), (machines.pods[2], family.pods[2])],
                    [machines.client])


def test_row_31_an_interface_made_anew_under_its_name_is_still_the_pods(machines):
    lab = machines
    with lab.proxy("--detect-local-mode=BridgeInterface", "--pod-bridge-interface=pod-late", cluster_cidr=False):
        lab.apply("web", *web(V4))
        late = lab.hosts.get("pod-late") or lab.host("pod-late")
        for _ in range(2):
            lab.link(late, lab.node, ["10.244.50.2/24"], ["10.244.50.1/24"])
            late.route("default", via="10.244.50.1")
            assert ask(late, V4.cluster_ip(1)).source == "10.244.50.2"
            lab.node.run("ip link del pod-late")
