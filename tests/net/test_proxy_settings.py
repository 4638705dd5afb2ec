"""The service proxy's settings, health servers and take-over on a node of their own, with real processes: rows 37 to 55 of
the service-proxy contract that a machine without a cluster can show."""
import json
import re
import subprocess

import netlab
import pytest
from netlab import http_get, tcp_ask, wait_for

NODE = "node-1"


@pytest.fixture(scope="module")
def machines():
    netlab.require("namespaces", "nftables", "fairlead")
    with netlab.Lab() as lab:
        node, client = lab.host(NODE), lab.host("client")
        lab.link(client, node, ["192.0.2.100/24", "2001:db8:2::100/64"],
                 ["192.0.2.1/24", "2001:db8:2::1/64", "198.51.100.1/24"])
        yield lab, node, client


@pytest.fixture
def node(machines, tmp_path):
    _, node, _ = machines
    node.manifests = tmp_path / "manifests"
    node.manifests.mkdir()
    yield node
    node.run("nft flush ruleset")


@pytest.fixture
def client(machines):
    return machines[2]


def proxy(node, *flags, **options):
    return netlab.Fairlead(node, "proxy", f"--manifests={node.manifests}", f"--hostname-override={NODE}", *flags, **options)


def ended(node, *flags):
    """Runs `fairlead proxy` to its end: (exit status, what it logged)."""
    process = node.popen([netlab.Fairlead.program(), "proxy", *map(str, flags)], stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, text=True)
    output, _ = process.communicate(timeout=30)
    return process.returncode, output


def write(node, name, *objects):
    part = node.manifests / f".{name}.part"
    part.write_text("\n".join("---\n" + json.dumps(each) for each in objects))
    part.rename(node.manifests / f"{name}.yaml")


def local_service(port, name="web"):
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "shop"},
            "spec": {"type": "LoadBalancer", "clusterIP": "10.96.0.1", "externalTrafficPolicy": "Local",
                     "healthCheckNodePort": port, "ports": [{"port": 80, "nodePort": 30080}]}}


def slice_of(*endpoints, name="web"):
    return {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": f"{name}-a", "namespace": "shop", "labels": {"kubernetes.io/service-name": name}},
            "ports": [{"name": "", "port": 8080}],
            "endpoints": [{"addresses": [address], "nodeName": on, "conditions": conditions}
                          for address, on, conditions in endpoints]}


def node_object(**metadata):
    taints = metadata.pop("taints", [])
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE, **metadata}, "spec": {"taints": taints},
            "status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.1"}]}}


READY = {"ready": True}
ENDING = {"ready": False, "serving": True, "terminating": True}


def get(host, address, port, path="/"):
    return host.call(http_get, address, port, path)


def answer_is(host, address, port, path, status):
    def answers():      # in a list: an answer that is no success is false
        return [answer for answer in [get(host, address, port, path)] if answer.status == status]
    return wait_for(f"{path} answers {status}", answers)[0]


# ---- health check ports ----

def test_row_37_a_load_balancer_is_told_of_ready_endpoints_here(node, client):
    write(node, "web", local_service(31000), slice_of(("10.0.0.1", NODE, READY), ("10.0.0.2", "node-2", READY)))
    with proxy(node, "--nodeport-addresses=0.0.0.0/0,::/0"):
        for address in ("192.0.2.1", "2001:db8:2::1"):
            answer = answer_is(client, address, 31000, "/any", 200)
            assert answer.body == (b'{\n\t"service": {\n\t\t"namespace": "shop",\n\t\t"name": "web"\n\t},\n'
                                   b'\t"localEndpoints": 1,\n\t"serviceProxyHealthy": true\n}')
            assert answer.headers["content-type"] == "application/json"
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["x-load-balancing-endpoint-weight"] == "1"
        write(node, "web", local_service(31000), slice_of(("10.0.0.1", NODE, ENDING)))
        answer = answer_is(client, "192.0.2.1", 31000, "/", 503)
        assert answer.headers["x-load-balancing-endpoint-weight"] == "0"
        (node.manifests / "web.yaml").unlink()
        wait_for("the port is closed", lambda: get(client, "192.0.2.1", 31000).verdict == netlab.REFUSED)


def test_row_37_servers_stand_on_the_node_ports_addresses_only(node, client):
    write(node, "web", local_service(31000), slice_of(("10.0.0.1", NODE, READY)))
    with proxy(node, "--nodeport-addresses=192.0.2.0/24,2001:db8:2::/64"):
        answer_is(client, "192.0.2.1", 31000, "/", 200)
        assert client.call(tcp_ask, "198.51.100.1", 31000).verdict != netlab.ANSWER
        listening = node.run("ss -Hltn 'sport = :31000'")
        assert "192.0.2.1:31000" in listening and "[2001:db8:2::1]:31000" in listening
        assert len(listening.splitlines()) == 2


def test_row_38_a_port_in_use_is_warned_of_and_taken_at_the_next_change(node, client):
    squatter = node.call(netlab._bound, netlab.socket.AF_INET6, netlab.socket.SOCK_STREAM, 31000, netlab.socket.IPPROTO_TCP)
    squatter.listen()
    write(node, "web", local_service(31000), slice_of(("10.0.0.1", NODE, READY)))
    with proxy(node, "--nodeport-addresses=::/0") as fairlead:
        wait_for("the warning", lambda: "no health check port for a service" in fairlead.log)
        assert "namespace=shop service=web" in fairlead.log
        squatter.close()
        write(node, "other", local_service(31001, "other"))
        answer_is(client, "2001:db8:2::1", 31000, "/", 200)


# ---- health ----

GO_TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{1,9})? \+0000 UTC"


def test_rows_39_and_40_health_has_kube_proxys_bytes(node):
    with proxy(node):
        answer = get(node, "127.0.0.1", 10256, "/healthz")
        assert answer.status == 200
        assert re.fullmatch(rf'{{"lastUpdated": "{GO_TIME}","currentTime": "{GO_TIME}", "nodeEligible": true}}',
                            answer.body.decode())
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["x-content-type-options"] == "nosniff"
        answer = get(node, "127.0.0.1", 10256, "/livez")
        assert re.fullmatch(rf'{{"lastUpdated": "{GO_TIME}","currentTime": "{GO_TIME}"}}', answer.body.decode())


@pytest.mark.parametrize("going", [{"deletionTimestamp": "2026-01-01T00:00:00Z"},
                                   {"taints": [{"key": "ToBeDeletedByClusterAutoscaler", "effect": "NoSchedule"}]}],
                         ids=["deleted", "tainted"])
def test_row_39_a_node_about_to_go_is_not_eligible(node, going):
    write(node, "node", node_object())
    with proxy(node) as fairlead:
        answer_is(node, "127.0.0.1", 10256, "/healthz", 200)
        write(node, "node", node_object(**going))
        answer = answer_is(node, "127.0.0.1", 10256, "/healthz", 503)
        assert answer.body.endswith(b'"nodeEligible": false}')
        assert get(node, "127.0.0.1", 10256, "/livez").status == 200
        assert fairlead.metrics()['kubeproxy_proxy_healthz_total{code="503"}'] >= 1
        assert fairlead.metrics()['kubeproxy_proxy_livez_total{code="200"}'] >= 1


def test_row_41_the_metrics_server_says_mode_health_and_configuration(node):
    with proxy(node, "--conntrack-min=4096", "--cluster-cidr=10.244.0.0/16"):
        assert get(node, "127.0.0.1", 10249, "/proxyMode").body == b"nftables"
        assert get(node, "127.0.0.1", 10249, "/healthz").body == b"ok"
        config = json.loads(get(node, "127.0.0.1", 10249, "/configz").body)["kubeproxy.config.k8s.io"]
        assert config["conntrack"]["min"] == 4096 and config["clusterCIDR"] == "10.244.0.0/16"
        assert config["mode"] == "nftables" and config["hostnameOverride"] == NODE
        assert b"\nconntrack-min=4096\n" in get(node, "127.0.0.1", 10249, "/flagz").body
        assert b"\nready: true\n" in get(node, "127.0.0.1", 10249, "/statusz").body
        assert b"kubeproxy_sync_proxy_rules_duration_seconds" in get(node, "127.0.0.1", 10249, "/metrics").body


def squat(node, port):
    squatter = node.call(netlab._bound, netlab.socket.AF_INET, netlab.socket.SOCK_STREAM, port, netlab.socket.IPPROTO_TCP)
    squatter.listen()
    return squatter


def test_row_41_an_address_in_use_is_tried_again(node):
    squatter = squat(node, 10249)
    with proxy(node) as fairlead:
        assert "health server cannot listen, it is tried again" in fairlead.log
        squatter.close()
        answer_is(node, "127.0.0.1", 10249, "/healthz", 200)


def test_row_41_with_bind_address_hard_fail_it_is_the_end(node):
    squatter = squat(node, 10249)
    status, log = ended(node, f"--manifests={node.manifests}", "--bind-address-hard-fail")
    squatter.close()
    assert status == 1 and "127.0.0.1:10249" in log


# ---- the host ----

def test_row_45_connection_tracking_is_set_at_start(node):
    for name, value in (("nf_conntrack_tcp_timeout_established", 432000), ("nf_conntrack_tcp_timeout_close_wait", 60),
                        ("nf_conntrack_tcp_be_liberal", 0), ("nf_conntrack_udp_timeout", 30),
                        ("nf_conntrack_udp_timeout_stream", 120)):
        node.sysctl(f"net.netfilter.{name}", value)
    with proxy(node, "--conntrack-max-per-core=0", "--conntrack-tcp-timeout-established=2h", "--conntrack-tcp-be-liberal",
               "--conntrack-tcp-timeout-close-wait=0", "--conntrack-udp-timeout=31s", "--conntrack-udp-timeout-stream=2m1s"):
        values = node.run("sysctl -n net.netfilter.nf_conntrack_tcp_timeout_established "
                          "net.netfilter.nf_conntrack_tcp_timeout_close_wait net.netfilter.nf_conntrack_tcp_be_liberal "
                          "net.netfilter.nf_conntrack_udp_timeout net.netfilter.nf_conntrack_udp_timeout_stream").split()
        assert values == ["7200", "60", "1", "31", "121"]


def test_row_46_the_out_of_memory_score_is_set(node):
    with proxy(node, "--oom-score-adj=7") as fairlead:
        with open(f"/proc/{fairlead.pid}/oom_score_adj", encoding="ascii") as file:
            assert file.read().strip() == "7"


def test_row_50_init_only_sets_connection_tracking_and_ends(node):
    node.sysctl("net.netfilter.nf_conntrack_tcp_timeout_close_wait", 60)
    status, _ = ended(node, "--init-only", "--conntrack-max-per-core=0", "--conntrack-tcp-timeout-close-wait=61s")
    assert status == 0 and node.run("sysctl -n net.netfilter.nf_conntrack_tcp_timeout_close_wait").strip() == "61"
    assert "fairlead" not in node.run("nft list tables")


# ---- configuration ----

CONFIG = """apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
healthzBindAddress: 0.0.0.0:10256
clusterCIDR: 10.244.0.0/16
newestField: 1
"""


def test_row_51_unknown_fields_are_warned_of_with_their_line(node, tmp_path):
    (tmp_path / "config.conf").write_text(CONFIG)
    with proxy(node, f"--config={tmp_path / 'config.conf'}") as fairlead:
        assert re.search(r'unknown field.* field=newestField line=5', fairlead.log)


def test_row_51_a_changed_configuration_file_ends_the_program_and_rules_stay(node, tmp_path):
    (tmp_path / "config.conf").write_text(CONFIG)
    with proxy(node, f"--config={tmp_path / 'config.conf'}") as fairlead:
        (tmp_path / "config.conf").write_text(CONFIG + "bindAddressHardFail: true\n")
        assert fairlead.wait_ended() == 1
        assert "the configuration file has changed" in fairlead.log
    assert "table ip fairlead" in node.run("nft list tables")


def test_row_52_what_write_config_to_writes_starts_the_same_proxy(node, tmp_path):
    written = tmp_path / "written.conf"
    status, log = ended(node, f"--write-config-to={written}", "--masquerade-all", "--conntrack-udp-timeout=5s",
                        "--nodeport-addresses=192.0.2.0/24")
    assert status == 0, log
    with proxy(node, f"--config={written}"):
        config = json.loads(get(node, "127.0.0.1", 10249, "/configz").body)["kubeproxy.config.k8s.io"]
        assert config["nftables"]["masqueradeAll"] is True and config["conntrack"]["udpTimeout"] == "5s"
        assert config["nodePortAddresses"] == ["192.0.2.0/24"]


# Every flag of kube-proxy 1.36, with values as its users write them.
KUBE_PROXY_FLAGS = """
--feature-gates=A=true --master=https://x --kube-api-content-type=application/json --kube-api-qps=5 --kube-api-burst=10
--bind-address=0.0.0.0 --bind-address-hard-fail=false --healthz-bind-address=0.0.0.0:10256
--metrics-bind-address=127.0.0.1:10249 --profiling=false --proxy-mode=nftables --masquerade-all=false
--iptables-masquerade-bit=14 --iptables-sync-period=30s --iptables-min-sync-period=1s --detect-local-mode=ClusterCIDR
--pod-bridge-interface=cbr0 --pod-interface-name-prefix=veth --cluster-cidr=10.244.0.0/16 --nodeport-addresses=192.0.2.0/24
--oom-score-adj=1 --conntrack-max-per-core=0 --conntrack-min=131072 --conntrack-tcp-timeout-established=24h0m0s
--conntrack-tcp-timeout-close-wait=1h0m0s --conntrack-tcp-be-liberal=false --conntrack-udp-timeout=0s
--conntrack-udp-timeout-stream=0s --config-sync-period=15m0s --show-hidden-metrics-for-version=1.35 --v=2
--logging-format=text --cleanup=false --init-only=false
""".split()


def test_row_52_every_flag_of_kube_proxy_is_known(node):
    with proxy(node, *KUBE_PROXY_FLAGS) as fairlead:
        assert "unknown flag" not in fairlead.log


# ---- what kube-proxy left ----

KUBE_PROXYS_RULES = """
add table ip kube-proxy
add chain ip kube-proxy services
add table ip6 kube-proxy
add table ip nat
add chain ip nat PREROUTING { type nat hook prerouting priority -100; }
add chain ip nat KUBE-SERVICES
add chain ip nat KUBE-SVC-ABC
add chain ip nat KUBE-MARK-MASQ
add chain ip nat CNI-HOSTPORT
add rule ip nat KUBE-SERVICES ip daddr 10.96.0.1 jump KUBE-SVC-ABC
add rule ip nat KUBE-SVC-ABC jump KUBE-MARK-MASQ
add rule ip nat PREROUTING counter jump KUBE-SERVICES
add rule ip nat PREROUTING counter jump CNI-HOSTPORT
"""


def leave_rules(node, tmp_path):
    (tmp_path / "kube-proxy.nft").write_text(KUBE_PROXYS_RULES)
    node.run(f"nft -f {tmp_path / 'kube-proxy.nft'}")


def assert_only_kube_proxys_are_gone(node):
    assert "kube-proxy" not in node.run("nft list tables")
    left = node.run("nft list table ip nat")
    assert "KUBE-SERVICES" not in left and "KUBE-SVC-ABC" not in left
    assert "jump CNI-HOSTPORT" in left and "chain KUBE-MARK-MASQ" in left


def test_row_49_kube_proxys_rules_go_once_ours_are_in_force(node, tmp_path):
    leave_rules(node, tmp_path)
    with proxy(node):
        wait_for("kube-proxy's tables are gone", lambda: "kube-proxy" not in node.run("nft list tables"))
        wait_for("its chains are gone", lambda: "KUBE-SERVICES" not in node.run("nft list table ip nat"))
        assert "table ip fairlead" in node.run("nft list tables")
        assert_only_kube_proxys_are_gone(node)


def test_row_49_cleanup_removes_ours_and_kube_proxys(node, tmp_path):
    with proxy(node) as fairlead:
        assert fairlead.stop() == 0
    assert "table ip fairlead" in node.run("nft list tables")
    leave_rules(node, tmp_path)
    status, log = ended(node, "--cleanup")
    assert status == 0, log
    assert "fairlead" not in node.run("nft list tables")
    assert_only_kube_proxys_are_gone(node)
    assert ended(node, "--cleanup")[0] == 0
