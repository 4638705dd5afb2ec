"""Session affinity of the service proxy (row 27 of the service-proxy contract): who is remembered to be where, for how long,
and what makes it forget, in both families."""
import json
import time

import netlab
import proxylab
import pytest
from netlab import ANSWER
from proxylab import (FAR_NODE, NODE, PODS, V4, V6, ask, ask_many, endpoint, endpoint_slice, load_balancer, port, service,
                      takes_turns)

CLIENTS = 6     # addresses of the client host, besides its own


@pytest.fixture(scope="module")
def machines():
    netlab.require("namespaces", "nftables", "fairlead")
    with proxylab.ProxyLab() as lab:
        for family, length in ((V4, 24), (V6, 64)):
            lab.client.address("node", *(f"{address}/{length}" for address in sources(family)))
        yield lab


@pytest.fixture
def lab(machines):
    with machines.proxy():
        yield machines


@pytest.fixture(params=[V4, V6], ids=["ipv4", "ipv6"])
def family(request):
    return request.param


def sources(family):
    return [f"{family.client[:-3]}{number}" for number in range(110, 110 + CLIENTS)]


def sticky(family, endpoints, timeout_s=None, **spec):
    """A service on port 80 over TCP and UDP, with a node port, that keeps clients where they are."""
    ports = [port(80, "tcp", "TCP", 30080), port(80, "udp", "UDP", 30080)]
    spec = {"type": "NodePort", "sessionAffinity": "ClientIP", **spec}
    if timeout_s:
        spec["sessionAffinityConfig"] = {"clientIP": {"timeoutSeconds": timeout_s}}
    return (service("web", family, 1, ports, **spec), endpoint_slice("web", family, endpoints, [("tcp", "TCP"), ("udp", "UDP")]))


def where(lab, family, address=None, number=80, protocol="tcp"):
    """Who answers each of the clients."""
    return {source: ask(lab.client, address or family.cluster_ip(1), number, protocol, source=(source, 0)).host
            for source in sources(family)}


def memory(lab, family):
    return lab.node.run(f"nft list map {'ip' if family is V4 else 'ip6'} fairlead affinity").count("expires")


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_row_27_a_client_stays_where_it_is_and_clients_are_spread(lab, family, protocol):
    lab.apply("web", *sticky(family, family.pods))
    first = where(lab, family, protocol=protocol)
    assert set(first.values()) == set(PODS) and takes_turns(list(first.values()))
    for _ in range(5):
        assert where(lab, family, protocol=protocol) == first
    for host in (lab.node, *lab.pods):
        assert len(set(ask_many(host, family.cluster_ip(1), count=5, protocol=protocol))) == 1, host.name


def test_row_27_the_default_time_is_three_hours(lab, family):
    lab.apply("web", *sticky(family, family.pods))
    assert "timeout 3h" in lab.node.run(f"nft list chain {'ip' if family is V4 else 'ip6'} fairlead svc-default/web/tcp")


def test_row_27_all_addresses_of_a_port_share_one_memory(lab, family):
    lab.apply("web", *sticky(family, family.pods, type="LoadBalancer", externalIPs=[family.outside_ip(1)],
                             status=load_balancer(family.outside_ip(2))))
    first = where(lab, family)
    for address, number in ((family.node, 30080), (family.outside_ip(1), 80), (family.outside_ip(2), 80)):
        assert where(lab, family, address, number) == first, address
    assert memory(lab, family) == CLIENTS


def test_row_27_a_client_is_forgotten_when_its_time_is_over(lab, family):
    lab.apply("web", *sticky(family, family.pods, timeout_s=1))
    first = ask(lab.client, family.cluster_ip(1)).host
    assert memory(lab, family) == 1
    netlab.wait_for("the client is forgotten", lambda: memory(lab, family) == 0)
    assert ask(lab.client, family.cluster_ip(1)).host != first, "round robin goes on"


def test_row_27_each_new_connection_makes_the_time_begin_anew(lab, family):
    lab.apply("web", *sticky(family, family.pods, timeout_s=2))
    begun, hosts = time.monotonic(), set()
    def long_past():
        hosts.add(ask(lab.client, family.cluster_ip(1)).host)
        return time.monotonic() - begun > 5
    netlab.wait_for("more than twice the time is over", long_past)
    assert len(hosts) == 1


def test_row_27_only_the_clients_of_an_endpoint_that_goes_move(lab, family):
    lab.apply("web", *sticky(family, family.pods))
    first = where(lab, family)
    for gone in PODS:
        rest = [address for address in family.pods if family.pod_name(address) != gone]
        before = where(lab, family)
        lab.apply("web", *sticky(family, rest))
        now = where(lab, family)
        assert all(now[source] == host for source, host in before.items() if host != gone), gone
        assert gone not in now.values()
        lab.apply("web", *sticky(family, family.pods))
        assert where(lab, family) == now, "and they stay there when it comes back"
    assert first.keys() == now.keys()


def test_row_27_memory_of_an_endpoint_that_went_is_not_that_of_its_return(lab, family):
    lab.apply("web", *sticky(family, family.pods[:1]))
    assert set(where(lab, family).values()) == {"pod-1"}
    lab.apply("web", *sticky(family, family.pods[1:]))
    lab.apply("web", *sticky(family, family.pods))
    assert set(where(lab, family).values()) == set(PODS)


def test_row_27_new_endpoints_move_nobody(lab, family):
    lab.apply("web", *sticky(family, family.pods[:2]))
    first = where(lab, family)
    lab.apply("web", *sticky(family, family.pods))
    assert where(lab, family) == first


def test_row_27_turned_off_it_forgets(lab, family):
    lab.apply("web", *sticky(family, family.pods))
    assert len(set(ask_many(lab.client, family.cluster_ip(1)))) == 1
    lab.apply("web", *sticky(family, family.pods, sessionAffinity="None"))
    hosts = ask_many(lab.client, family.cluster_ip(1))
    assert set(hosts) == set(PODS) and takes_turns(hosts)
    before = where(lab, family)
    lab.apply("web", *sticky(family, family.pods))
    assert set(where(lab, family).values()) == set(PODS) and memory(lab, family) >= len(before)


def test_row_27_it_outlives_a_killed_process(lab, family):
    lab.apply("web", *sticky(family, family.pods))
    first = where(lab, family)
    lab.fairlead.kill()
    assert where(lab, family) == first, "nobody needs the process"
    lab.fairlead.start()
    lab.fairlead.wait_ready()
    assert where(lab, family) == first
    lab.fairlead.kill()
    (lab.manifests / "web.yaml").write_text("\n".join("---\n" + json.dumps(each)
                                                      for each in sticky(family, family.pods[:2])))
    lab.fairlead.start()
    lab.fairlead.wait_ready()
    now = where(lab, family)
    assert set(now.values()) == set(PODS[:2])
    assert all(now[source] == host for source, host in first.items() if host != PODS[2])


def test_row_27_with_the_external_policy_local_only_endpoints_here_are_remembered(lab, family):
    lab.apply("web", *sticky(family, [endpoint(family.pods[0], node=NODE), endpoint(family.pods[1], node=NODE),
                                      endpoint(family.far, node=FAR_NODE)], externalTrafficPolicy="Local"))
    by_cluster_ip = where(lab, family)
    assert set(by_cluster_ip.values()) == {"pod-1", "pod-2", "pod-far"}
    by_node_port = where(lab, family, family.node, 30080)
    assert set(by_node_port.values()) <= {"pod-1", "pod-2"}
    for source, host in by_cluster_ip.items():
        assert by_node_port[source] == host or host == "pod-far"
    assert where(lab, family) == by_node_port, "and then it is with that one by any address"


def test_row_27_a_hundred_endpoints_make_no_difference(lab, family):
    prefix = "10.244.1.{}" if family is V4 else "fd00:244:1::{:x}"
    addresses = [prefix.format(number) for number in range(2, 102)]
    length = 24 if family is V4 else 64
    lab.pods[0].address("node", *(f"{address}/{length}" for address in addresses[1:]))
    try:
        lab.apply("web", *sticky(family, addresses))
        def answered_at():
            return {source: ask(lab.client, family.cluster_ip(1), source=(source, 0)) for source in sources(family)}
        first = answered_at()
        assert all(answer.verdict == ANSWER for answer in first.values())
        assert len({answer.address for answer in first.values()}) == CLIENTS
        for _ in range(3):
            assert {source: answer.address for source, answer in answered_at().items()} == \
                   {source: answer.address for source, answer in first.items()}
        rules = lab.node.run(f"nft list chain {'ip' if family is V4 else 'ip6'} fairlead svc-default/web/tcp")
        assert rules.count("dnat") + rules.count("goto") == 3
    finally:
        for address in addresses[1:]:
            lab.pods[0].run(f"ip addr del {address}/{length} dev node")


def test_row_27_what_packets_write_is_no_change_by_others(lab, family):
    lab.apply("web", *sticky(family, family.pods, timeout_s=1))
    before = lab.transactions()
    where(lab, family)
    netlab.wait_for("all are forgotten", lambda: memory(lab, family) == 0)
    assert lab.transactions() == before
    assert lab.fairlead.metrics()["fairlead_proxy_repairs_total"] == 0


def test_row_27_what_nft_list_prints_can_be_read_back_memory_and_all(lab):
    """IPv4: nft 1.0.6 aborts when it reads any update of a map by an IPv6 address and something else."""
    lab.apply("web", *sticky(V4, V4.pods))
    first = where(lab, V4)
    printed = lab.node.run("nft list table ip fairlead")
    lab.fairlead.kill()
    lab.node.run("nft flush ruleset")
    lab.node.run("nft -f -", input=printed)
    assert where(lab, V4) == first
