"""From the real kube-proxy (nftables mode) to fairlead on a live node, and back: no connection is cut, no new one fails."""
import signal

import pytest

from fairlead_nodes import NODE_NAME, ClusterSite
from netlab import Fairlead, Lab, TcpConnection, end, require, tcp_ask, wait_for


@pytest.fixture(scope="module")
def site(programs):
    require("nftables", "fairlead")
    with Lab() as lab:
        site = ClusterSite(lab)
        site.kube_proxy_program = programs / "kube-proxy"
        if not site.kube_proxy_program.exists():
            pytest.skip("kube-proxy was not built")
        site.pod = lab.host("pod")
        lab.link(site.pod, site.node, ["172.17.9.2/24"], ["172.17.9.1/24"])
        site.pod.route("default", via="172.17.9.1")
        site.pod.serve(tcp=[8080])
        site.node.forward()
        with site.control.entered(), site.control_plane() as site.cluster:
            site.cluster.create_node(NODE_NAME, addresses=["192.168.65.2"], pod_cidrs=["172.17.0.0/16"])
            site.kubeconfig = site.cluster.kubeconfig("system:kube-proxy", groups=())
            site.address = make_service(site.cluster)
            yield site


def make_service(cluster):
    created = cluster.api("POST", "/api/v1/namespaces/default/services",
                          {"metadata": {"name": "steady"}, "spec": {"ports": [{"port": 80, "targetPort": 8080}]}})
    cluster.api("POST", "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices",
                {"metadata": {"name": "steady-a", "labels": {"kubernetes.io/service-name": "steady"}},
                 "addressType": "IPv4", "ports": [{"name": "", "port": 8080, "protocol": "TCP"}],
                 "endpoints": [{"addresses": ["172.17.9.2"], "conditions": {"ready": True}}]})
    return created["spec"]["clusterIP"]


def start_kube_proxy(site):
    return site.node.popen([site.kube_proxy_program, "--proxy-mode=nftables", f"--kubeconfig={site.kubeconfig}",
                            f"--hostname-override={NODE_NAME}", "--cluster-cidr=172.17.0.0/16", "--conntrack-max-per-core=0"],
                           stdout=open(site.node.lab.directory / "kube-proxy.log", "ab"), stderr=-2)


def serves(site, tables, absent):
    """Is the service answered, with these tables there and those not?"""
    there = site.node.run("nft list tables")
    return tables in there and absent not in there and site.node.call(tcp_ask, site.address, 80, timeout_s=1)


def test_a_connection_outlives_the_take_over_and_the_return(site):
    kube_proxy = start_kube_proxy(site)
    wait_for("kube-proxy serves", lambda: serves(site, "table ip kube-proxy", "fairlead"), 60)
    connection = site.node.call(TcpConnection.to, site.address, 80)
    assert connection.ask()
    end(kube_proxy, signal.SIGTERM)
    assert site.node.call(tcp_ask, site.address, 80), "its rules stay"
    with Fairlead(site.node, "proxy", f"--kubeconfig={site.kubeconfig}", f"--hostname-override={NODE_NAME}",
                  "--cluster-cidr=172.17.0.0/16") as fairlead:
        wait_for("fairlead serves alone", lambda: serves(site, "table ip fairlead", "kube-proxy"))
        assert connection.ask(), "the old connection goes on"
        assert fairlead.stop() == 0
    kube_proxy = start_kube_proxy(site)
    wait_for("kube-proxy has its tables again", lambda: "table ip kube-proxy" in site.node.run("nft list tables"), 60)
    for family in ("ip", "ip6"):
        site.node.run(f"nft delete table {family} fairlead")
    wait_for("kube-proxy serves alone", lambda: serves(site, "table ip kube-proxy", "fairlead"), 60)
    assert connection.ask(), "still the same connection"
    end(kube_proxy, signal.SIGTERM)
