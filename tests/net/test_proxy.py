"""What the service proxy does to real packets: the rows of the service-proxy contract that traffic can show, in both
families."""
import json

import netlab
import proxylab
import pytest
from netlab import ANSWER, REFUSED, TIMEOUT
from proxylab import (FAR_NODE, NODE, PODS, V4, V6, ask, ask_many, endpoint, endpoint_slice, load_balancer, port, service,
                      takes_turns)


@pytest.fixture(scope="module")
def machines():
    netlab.require("namespaces", "nftables", "fairlead")
    with proxylab.ProxyLab() as lab:
        yield lab


@pytest.fixture
def lab(machines):
    with machines.proxy():
        yield machines


@pytest.fixture(params=[V4, V6], ids=["ipv4", "ipv6"])
def family(request):
    return request.param


@pytest.fixture(params=["tcp", "udp"])
def protocol(request):
    return request.param


def here(family, count=3):
    return [endpoint(address, node=NODE) for address in family.pods[:count]]


def web(family, endpoints, number=1, name="web", ports=None, part="a", **spec):
    """A service on port 80 over TCP and UDP, and its slice."""
    ports = ports or [port(80, "tcp", "TCP"), port(80, "udp", "UDP")]
    return (service(name, family, number, ports, **spec),
            endpoint_slice(name, family, endpoints, [("tcp", "TCP"), ("udp", "UDP")], part))


def node_ports(number):
    return [port(80, "tcp", "TCP", number), port(80, "udp", "UDP", number)]


# ---- cluster IPs ----

def test_row_12_a_cluster_ip_takes_turns_among_the_endpoints(lab, family, protocol):
    lab.apply("web", *web(family, family.pods))
    for host in (lab.client, lab.node, lab.pods[0]):
        hosts = ask_many(host, family.cluster_ip(1), count=9, protocol=protocol)
        assert set(hosts) == set(PODS) and takes_turns(hosts), hosts


def test_row_12_two_services_called_in_turn_each_take_turns(lab, family):
    lab.apply("a", *web(family, family.pods[:2], number=1, name="a"))
    lab.apply("b", *web(family, family.pods[:2], number=2, name="b"))
    answers = [(ask(lab.client, family.cluster_ip(1)).host, ask(lab.client, family.cluster_ip(2)).host) for _ in range(6)]
    for hosts in zip(*answers):
        assert set(hosts) == set(PODS[:2]) and takes_turns(list(hosts))


def test_row_12_a_pod_keeps_its_address_on_the_way_to_another_pod(lab, family, protocol):
    lab.apply("web", *web(family, family.pods[1:2]))
    answer = ask(lab.pods[0], family.cluster_ip(1), protocol=protocol)
    assert (answer.host, answer.source) == ("pod-2", family.pods[0])


def test_row_12_a_connection_stays_with_its_endpoint(lab, family):
    lab.apply("web", *web(family, family.pods))
    connection = lab.client.call(netlab.TcpConnection.to, family.cluster_ip(1), 80)
    assert len({connection.ask().host for _ in range(5)}) == 1
    connection.close()


def test_row_12_sctp_is_in_the_rules(lab, family):
    lab.apply("sctp", service("sctp", family, 1, [port(80, "s", "SCTP")]),
              endpoint_slice("sctp", family, family.pods[:1], [("s", "SCTP")]))
    assert f"{family.cluster_ip(1)} . sctp . 80 : goto svc-default/sctp/s" in lab.ruleset()
    if not (reason := netlab.missing("sctp")):
        lab.pods[0].serve(sctp=[proxylab.POD_PORT])
        assert lab.client.call(netlab.tcp_ask, family.cluster_ip(1), 80, protocol="sctp").host == "pod-1"
    else:
        print(f"rules only: {reason}")


def test_row_5_headless_and_external_name_services_get_no_rules(lab):
    lab.apply("plain", *web(V4, V4.pods[:1]))
    before = lab.ruleset()
    headless = service("headless", V4, 7, [port(80)])
    headless["spec"].update(clusterIP="None", clusterIPs=["None"])
    external = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "external", "namespace": "default"},
                "spec": {"type": "ExternalName", "externalName": "example.com"}}
    foreign = service("foreign", V4, 8, [port(80)], labels={"service.kubernetes.io/service-proxy-name": "another"})
    lab.apply("others", headless, external, foreign, endpoint_slice("foreign", V4, V4.pods[:1]))
    assert lab.ruleset() == before
    del foreign["metadata"]["labels"]
    lab.apply("others", headless, external, foreign, endpoint_slice("foreign", V4, V4.pods[:1]))
    assert ask(lab.client, V4.cluster_ip(8)).host == "pod-1"


def test_row_6_a_dual_stack_service_answers_in_both_families(lab):
    lab.apply("web", service("web", [V4, V6], 1, [port(80)]), endpoint_slice("web", V4, V4.pods[:1]),
              endpoint_slice("web", V6, V6.pods[1:2]))
    assert ask(lab.client, V4.cluster_ip(1)).host == "pod-1"
    assert ask(lab.client, V6.cluster_ip(1)).host == "pod-2"


def test_row_8_each_service_port_goes_to_the_endpoint_port_of_its_name(lab, family):
    lab.apply("web", service("web", family, 1, [port(80, "a"), port(81, "b")]),
              endpoint_slice("web", family, family.pods[:1], [("a", "TCP")], "1"),
              endpoint_slice("web", family, family.pods[1:2], [("b", "TCP")], "2"))
    assert ask_many(lab.client, family.cluster_ip(1), 80, 2) == ["pod-1"] * 2
    assert ask_many(lab.client, family.cluster_ip(1), 81, 2) == ["pod-2"] * 2


def test_row_9_an_endpoint_in_two_slices_counts_once(lab, family):
    first, second = web(family, family.pods[:2]), web(family, family.pods[:1], part="b")
    lab.apply("web", *first, second[1])
    assert sorted(ask_many(lab.client, family.cluster_ip(1), count=4)) == ["pod-1", "pod-1", "pod-2", "pod-2"]


def test_endpoints_objects_count_beside_slices(lab):
    legacy = {"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "web", "namespace": "default"},
              "subsets": [{"addresses": [{"ip": V4.pods[0]}, {"ip": V4.pods[1]}], "ports": [{"port": 8080}]}]}
    lab.apply("web", service("web", V4, 1, [port(80)]), legacy, endpoint_slice("web", V4, V4.pods[1:3]))
    assert sorted(ask_many(lab.client, V4.cluster_ip(1), count=3)) == PODS


# ---- node ports ----

def test_row_13_a_node_port_answers_from_outside_and_from_inside(lab, family, protocol):
    lab.apply("web", *web(family, family.pods, ports=node_ports(30080), type="NodePort"))
    for host in (lab.client, lab.pods[0], lab.node):
        hosts = ask_many(host, family.node, 30080, 6, protocol)
        assert set(hosts) == set(PODS) and takes_turns(hosts), hosts


def test_row_13_a_node_port_never_answers_on_loopback(lab):
    lab.apply("web", *web(V4, V4.pods, ports=node_ports(30080), type="NodePort"))
    assert ask(lab.node, "127.0.0.1", 30080).verdict == REFUSED
    lab.apply("web", *web(V6, V6.pods, ports=node_ports(30080), type="NodePort"))
    assert ask(lab.node, "::1", 30080).verdict == REFUSED


def test_row_13_the_freed_node_port_no_longer_answers(lab, family):
    lab.apply("web", *web(family, family.pods, ports=node_ports(30080), type="NodePort"))
    assert ask(lab.client, family.node, 30080)
    lab.apply("web", *web(family, family.pods))
    assert ask(lab.client, family.node, 30080).verdict == REFUSED
    assert ask(lab.client, family.cluster_ip(1))


def test_row_32_node_ports_answer_on_the_nodes_own_address_once_that_is_known(lab, family):
    other = family.gateways[0]
    lab.apply("web", *web(family, family.pods, ports=node_ports(30080), type="NodePort"))
    assert ask(lab.client, other, 30080), "nothing is known: all addresses"
    lab.apply("node", proxylab.node_object([family.node]), *web(family, family.pods[:1], number=9, name="marker"))
    netlab.wait_for("only the primary address answers", lambda: ask(lab.client, other, 30080).verdict == REFUSED)
    assert ask(lab.client, family.node, 30080)


def test_row_32_node_ports_answer_on_the_prefixes_given(machines, family):
    with machines.proxy(f"--nodeport-addresses={family.gateways[0]}/{family.prefix}"):
        machines.apply("web", *web(family, family.pods, ports=node_ports(30080), type="NodePort"))
        answer = ask(machines.client, family.gateways[0], 30080)
        assert answer and answer.source != family.client, "masqueraded, or the answer might not come back"
        assert ask(machines.client, family.node, 30080).verdict == REFUSED


# ---- external and load-balancer addresses ----

def test_row_14_an_external_ip_answers_though_the_node_has_no_such_address(lab, family, protocol):
    lab.apply("web", *web(family, family.pods, externalIPs=[family.outside_ip(1)]))
    for host in (lab.client, lab.pods[0], lab.node):
        hosts = ask_many(host, family.outside_ip(1), count=6, protocol=protocol)
        assert set(hosts) == set(PODS) and takes_turns(hosts), hosts


def test_row_15_a_load_balancer_address_answers_but_not_one_of_mode_proxy(lab, family):
    lab.apply("vip", *web(family, family.pods, type="LoadBalancer", status=load_balancer(family.outside_ip(1))))
    lab.apply("proxy", *web(family, family.pods, number=2, name="proxy", type="LoadBalancer",
                            status=load_balancer(family.outside_ip(2), ip_mode="Proxy")))
    assert ask(lab.client, family.outside_ip(1))
    assert not ask(lab.node, family.outside_ip(2), timeout_s=0.3)


def test_row_16_source_ranges_keep_others_from_the_load_balancer_address_only(lab, family):
    lab.apply("web", *web(family, family.pods, type="LoadBalancer", ports=node_ports(30080),
                          externalIPs=[family.outside_ip(2)], status=load_balancer(family.outside_ip(1)),
                          loadBalancerSourceRanges=[f"{family.client}/{family.prefix}"]))
    assert ask(lab.client, family.outside_ip(1))
    assert ask(lab.pods[0], family.outside_ip(1), timeout_s=0.5).verdict == TIMEOUT
    assert ask(lab.node, family.outside_ip(1), timeout_s=0.5).verdict == TIMEOUT
    for address, number in ((family.cluster_ip(1), 80), (family.outside_ip(2), 80), (family.node, 30080)):
        assert ask(lab.pods[0], address, number)


def test_row_17_outside_connections_are_masqueraded(lab, family, protocol):
    lab.apply("web", *web(family, family.pods[:1], type="NodePort", ports=node_ports(30080),
                          externalIPs=[family.outside_ip(1)]))
    for host in (lab.client, lab.pods[1]):
        for address, number in ((family.node, 30080), (family.outside_ip(1), 80)):
            assert ask(host, address, number, protocol).source == family.gateways[0]


def local_policy(family, endpoints, **more):
    return web(family, endpoints, type="LoadBalancer", ports=node_ports(30080), externalTrafficPolicy="Local",
               status=load_balancer(family.outside_ip(1)), **more)


def test_row_18_external_policy_local_uses_local_endpoints_and_keeps_the_source(lab, family):
    lab.apply("web", *local_policy(family, here(family, 1) + [endpoint(family.far, node=FAR_NODE)]))
    for address, number in ((family.node, 30080), (family.outside_ip(1), 80)):
        answers = [ask(lab.client, address, number) for _ in range(4)]
        assert {(answer.host, answer.source) for answer in answers} == {("pod-1", family.client)}
        assert set(ask_many(lab.pods[1], address, number, 4)) == {"pod-1", "pod-far"}, "pods: as by the cluster policy"
        assert {ask(lab.pods[1], address, number).source for _ in range(4)} == {family.pods[1]}
        assert set(ask_many(lab.node, address, number, 4)) == {"pod-1", "pod-far"}, "the node: as by the cluster policy"


def test_row_18_external_policy_local_drops_where_only_others_have_endpoints(lab, family):
    lab.apply("web", *local_policy(family, [endpoint(family.far, node=FAR_NODE)]))
    for address, number in ((family.node, 30080), (family.outside_ip(1), 80)):
        assert ask(lab.client, address, number, timeout_s=0.5).verdict == TIMEOUT
        assert ask(lab.pods[0], address, number).host == "pod-far"


def test_row_19_internal_policy_local_keeps_to_this_node(lab, family):
    lab.apply("web", *web(family, here(family, 1) + [endpoint(family.far, node=FAR_NODE)], ports=node_ports(30080),
                          type="NodePort", internalTrafficPolicy="Local"))
    assert set(ask_many(lab.pods[1], family.cluster_ip(1), count=4)) == {"pod-1"}
    assert set(ask_many(lab.client, family.node, 30080, 4)) == {"pod-1", "pod-far"}, "node ports are not touched"
    lab.apply("web", *web(family, [endpoint(family.far, node=FAR_NODE)], internalTrafficPolicy="Local"))
    assert ask(lab.pods[1], family.cluster_ip(1), timeout_s=0.5).verdict == TIMEOUT


# ---- rejects ----

def test_row_20_everything_is_refused_without_endpoints(lab, family, protocol):
    lab.apply("web", *web(family, [], type="LoadBalancer", ports=node_ports(30080), externalIPs=[family.outside_ip(1)],
                          status=load_balancer(family.outside_ip(2))))
    for host in (lab.client, lab.pods[0]):
        for address, number in ((family.cluster_ip(1), 80), (family.outside_ip(1), 80), (family.outside_ip(2), 80),
                                (family.node, 30080)):
            assert ask(host, address, number, protocol).verdict == REFUSED, (host.name, address)


def test_row_20_the_node_itself_is_refused_too(lab, family):
    lab.apply("web", *web(family, []))
    assert ask(lab.node, family.cluster_ip(1)).verdict == REFUSED


def test_row_20_refused_turns_into_answered_and_back(lab, family, protocol):
    for endpoints, verdict in (([], REFUSED), (family.pods[:1], ANSWER), ([], REFUSED), (family.pods, ANSWER)):
        lab.apply("web", *web(family, endpoints))
        assert ask(lab.client, family.cluster_ip(1), protocol=protocol).verdict == verdict


def test_row_21_an_unused_port_of_a_cluster_ip_is_refused(lab, family):
    lab.apply("web", service("web", family, 1, [port(80)]), endpoint_slice("web", family, family.pods))
    for host in (lab.client, lab.pods[0], lab.node):
        assert ask(host, family.cluster_ip(1), 81).verdict == REFUSED
    assert ask(lab.client, family.cluster_ip(1), 80, "udp").verdict == REFUSED


def test_row_22_an_unused_address_of_a_service_cidr_is_dropped(lab, family):
    cidr = {"apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR", "metadata": {"name": "kubernetes"},
            "spec": {"cidrs": ["10.96.0.0/16", "fd00:96::/108"]}}
    lab.apply("web", cidr, *web(family, family.pods))
    assert "drop" in lab.node.run(f"nft list chain {'ip' if family is V4 else 'ip6'} fairlead forward-check")
    assert ask(lab.pods[0], family.cluster_ip(99), timeout_s=0.5).verdict == TIMEOUT
    assert ask(lab.pods[0], family.cluster_ip(1))


def test_row_22_service_cidrs_that_come_change_and_go_are_in_force_at_once(lab, family):
    """kube-proxy would have them at its next full sync: after an hour."""
    lab.apply("web", *web(family, family.pods))
    chain = f"nft list chain {'ip' if family is V4 else 'ip6'} fairlead forward-check"
    for cidrs in (["10.96.0.0/16", "fd00:96::/108"], ["10.96.0.0/24", "fd00:96::/112"], None):
        path = lab.manifests / "cidr.yaml"
        if cidrs:
            path.with_suffix(".part").write_text(json.dumps({
                "apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR", "metadata": {"name": "kubernetes"},
                "spec": {"cidrs": cidrs}}))
            path.with_suffix(".part").rename(path)
        else:
            path.unlink()
        wanted = [f"daddr {cidr} drop" for cidr in cidrs or () if (":" in cidr) == (family is V6)]
        def in_force():
            drops = [line for line in lab.node.run(chain).splitlines() if "drop" in line]
            return len(drops) == len(wanted) and all(rule in line for rule, line in zip(wanted, drops))
        netlab.wait_for("the ServiceCIDR is in force", in_force)
        assert ask(lab.client, family.cluster_ip(1))


def test_row_23_addresses_that_are_no_services_are_left_alone(lab, family):
    lab.apply("web", *web(family, family.pods))
    assert ask(lab.client, family.pods[2], proxylab.POD_PORT).source == family.client
    assert ask(lab.client, family.node, 9090).host == "node"


# ---- which endpoints ----

def test_row_24_endpoints_that_end_serve_only_when_no_other_is_ready(lab, family):
    ending = endpoint(family.pods[1], node=NODE, ready=False, serving=True, terminating=True)
    dead = endpoint(family.pods[2], node=NODE, ready=False, serving=False, terminating=True)
    lab.apply("web", *web(family, [endpoint(family.pods[0]), ending, dead]))
    assert set(ask_many(lab.client, family.cluster_ip(1), count=4)) == {"pod-1"}
    lab.apply("web", *web(family, [endpoint(family.pods[0], ready=False), ending, dead]))
    assert set(ask_many(lab.client, family.cluster_ip(1), count=4)) == {"pod-2"}
    lab.apply("web", *web(family, [dead]))
    assert ask(lab.client, family.cluster_ip(1)).verdict == REFUSED


def test_row_24_the_local_set_falls_back_for_itself(lab, family):
    ending = endpoint(family.pods[1], node=NODE, ready=False, serving=True, terminating=True)
    lab.apply("web", *local_policy(family, [ending, endpoint(family.far, node=FAR_NODE)]))
    assert ask(lab.client, family.node, 30080).host == "pod-2"
    assert ask(lab.client, family.cluster_ip(1)).host == "pod-far"


def test_row_26_hints_for_this_nodes_zone_are_followed(lab, family):
    endpoints = [endpoint(family.pods[0], zones=["zone-a"]), endpoint(family.pods[1], zones=["zone-b"])]
    lab.apply("web", *web(family, endpoints), proxylab.node_object(zone="zone-b"))
    assert set(ask_many(lab.client, family.cluster_ip(1), count=4)) == {"pod-2"}
    lab.apply("web", *web(family, endpoints + [endpoint(family.pods[2])]), proxylab.node_object(zone="zone-b"))
    assert set(ask_many(lab.client, family.cluster_ip(1), count=6)) == set(PODS), "one without hints: none is followed"


# ---- masquerade ----

def test_row_28_a_pod_reaches_itself_through_its_service(lab, family, protocol):
    lab.apply("web", *web(family, here(family, 1), ports=node_ports(30080), type="NodePort"))
    for address, number in ((family.cluster_ip(1), 80), (family.node, 30080)):
        assert ask(lab.pods[0], address, number, protocol).host == "pod-1"


def test_row_29_cluster_ip_connections_from_outside_the_pods_are_masqueraded(lab, family, protocol):
    lab.apply("web", *web(family, family.pods[:1]))
    assert ask(lab.client, family.cluster_ip(1), protocol=protocol).source == family.gateways[0]
    assert ask(lab.node, family.cluster_ip(1), protocol=protocol).source == family.gateways[0]
    assert ask(lab.pods[1], family.cluster_ip(1), protocol=protocol).source == family.pods[1]


def test_row_29_without_a_cluster_cidr_no_cluster_ip_connection_is_masqueraded(machines, family):
    with machines.proxy(cluster_cidr=False):
        machines.apply("web", *web(family, family.pods[:1]))
        assert ask(machines.client, family.cluster_ip(1)).source == family.client


def test_row_29_masquerade_all_means_all(machines, family):
    with machines.proxy("--masquerade-all"):
        machines.apply("web", *web(family, family.pods[:1]))
        assert ask(machines.pods[1], family.cluster_ip(1)).source == family.gateways[0]


# ---- UDP and its connection table ----

def steady(host, address, number, source_port):
    """A client that sends from one port all the time: its entry in the connection table never expires."""
    source = ("::" if ":" in address else "0.0.0.0", source_port)
    return netlab.Loop(host, netlab.udp_ask, address, number, timeout_s=0.1, source=source, pause_s=0.01)


def answers_from(loop, hosts):
    def settled():
        last = [answer.host for answer in loop.answers[-5:]]
        return len(last) == 5 and set(last) <= set(hosts)
    return settled


@pytest.mark.parametrize("by", ["cluster_ip", "node_port"])
def test_row_33_a_udp_client_leaves_an_endpoint_that_is_gone(lab, family, by):
    address, number = (family.cluster_ip(1), 80) if by == "cluster_ip" else (family.node, 30080)
    def scale(addresses):
        lab.apply("web", *web(family, addresses, ports=node_ports(30080), type="NodePort"))
    scale(family.pods[:1])
    with steady(lab.client, address, number, 40001) as loop:
        netlab.wait_for("pod-1 answers", answers_from(loop, ["pod-1"]))
        scale(family.pods[1:2])
        netlab.wait_for("pod-2 answers", answers_from(loop, ["pod-2"]), seconds=1)
        scale([])
        netlab.wait_for("nobody answers", answers_from(loop, [""]), seconds=1)
        scale(family.pods[2:3])
        netlab.wait_for("pod-3 answers", answers_from(loop, ["pod-3"]), seconds=1)


def test_row_33_a_udp_client_that_was_there_before_the_service_gets_served(lab, family):
    with steady(lab.client, family.cluster_ip(1), 80, 40002) as by_ip, \
         steady(lab.client, family.node, 30080, 40003) as by_node_port:
        by_ip.more(5), by_node_port.more(5)
        lab.apply("web", *web(family, family.pods[:1], ports=node_ports(30080), type="NodePort"))
        for loop in (by_ip, by_node_port):
            netlab.wait_for("pod-1 answers", answers_from(loop, ["pod-1"]), seconds=1)


def test_row_33_a_udp_client_of_a_deleted_service_no_longer_reaches_its_pods(lab, family):
    lab.apply("web", *web(family, family.pods[:1]))
    with steady(lab.client, family.cluster_ip(1), 80, 40004) as loop:
        netlab.wait_for("pod-1 answers", answers_from(loop, ["pod-1"]))
        lab.remove("web")
        netlab.wait_for("nobody answers", answers_from(loop, [""]), seconds=2)


def test_row_33_udp_clients_of_other_endpoints_and_services_keep_theirs(lab, family):
    lab.apply("other", *web(family, family.pods[2:3], number=2, name="other"))
    lab.apply("web", *web(family, family.pods[:2]))
    with steady(lab.client, family.cluster_ip(1), 80, 40005) as one, \
         steady(lab.client, family.cluster_ip(1), 80, 40006) as two, \
         steady(lab.client, family.cluster_ip(2), 80, 40007) as other:
        for loop in (one, two, other):
            loop.more(5)
        stays = one if one.answers[-1].host == "pod-2" else two
        lab.apply("web", *web(family, family.pods[1:2]))
        netlab.wait_for("pod-2 has both", lambda: answers_from(one, ["pod-2"])() and answers_from(two, ["pod-2"])())
        assert {answer.host for answer in stays.answers} == {"pod-2"}
        assert {answer.host for answer in other.answers} == {"pod-3"}
    deleted = lab.fairlead.metrics()["fairlead_proxy_conntrack_deleted_total"]
    assert deleted == 1, "the one stale entry and nothing else"


def test_row_34_an_open_tcp_connection_outlives_its_endpoint_leaving_the_service(lab, family):
    lab.apply("web", *web(family, family.pods[:1]))
    connection = lab.client.call(netlab.TcpConnection.to, family.cluster_ip(1), 80)
    for endpoints in (family.pods[1:2], []):
        lab.apply("web", *web(family, endpoints))
        assert connection.ask().host == "pod-1"
    connection.close()


# ---- changes, clashes ----

def test_a_live_client_loses_nothing_while_the_service_scales(lab, family):
    lab.apply("web", *web(family, family.pods))
    with netlab.Loop(lab.client, netlab.tcp_ask, family.cluster_ip(1), 80) as loop:
        for endpoints in (family.pods[:1], family.pods[1:3], family.pods, family.pods[2:3], family.pods[:2]) * 3:
            lab.apply("web", *web(family, endpoints))
            hosts = {answer.host for answer in loop.more(3)}
            assert hosts <= {family.pod_name(address) for address in endpoints}
    assert loop.failures == []


def test_of_two_services_with_one_external_ip_the_first_by_name_has_it_and_the_other_inherits_it(lab, family):
    lab.apply("b", *web(family, family.pods[1:2], number=2, name="b", externalIPs=[family.outside_ip(1)]))
    assert ask(lab.client, family.outside_ip(1)).host == "pod-2"
    lab.apply("a", *web(family, family.pods[:1], number=1, name="a", externalIPs=[family.outside_ip(1)]))
    assert ask(lab.client, family.outside_ip(1)).host == "pod-1"
    assert ask(lab.client, family.cluster_ip(2)).host == "pod-2"
    assert "address left out: another Service has it" in lab.fairlead.log
    lab.remove("a")
    assert ask(lab.client, family.outside_ip(1)).host == "pod-2"


def test_a_node_port_moves_from_one_service_to_another_in_one_change(lab, family):
    both = [*web(family, family.pods[:1], number=1, name="a"), *web(family, family.pods[1:2], number=2, name="b")]
    def owner(index):
        services = [dict(each) for each in both]
        services[index * 2] = service("ab"[index], family, index + 1, node_ports(30080), type="NodePort")
        lab.apply("both", *services)
    for index in (0, 1, 0):
        owner(index)
        assert ask(lab.client, family.node, 30080).host == PODS[index]


def test_bad_endpoint_addresses_are_left_out_and_named(lab):
    lab.apply("web", *web(V4, [V4.pods[0], "0.0.0.0", "224.0.0.1", "169.254.1.1"]))
    assert set(ask_many(lab.client, V4.cluster_ip(1), count=4)) == {"pod-1"}
    assert "EndpointSlice" in lab.fairlead.log and "web-ipv4-a" in lab.fairlead.log
