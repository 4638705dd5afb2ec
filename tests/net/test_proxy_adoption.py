"""Rules outlive the process that made them and those who tamper with them: restarts, changes missed meanwhile, foreign
flushes, opponents, neighbours."""
import contextlib
import json
import signal
import subprocess
import threading
import time

import netlab
import proxylab
import pytest
from proxylab import PODS, V4, V6, ask, ask_many, endpoint_slice, port, service, takes_turns


@pytest.fixture(scope="module")
def machines():
    netlab.require("namespaces", "nftables", "fairlead")
    with proxylab.ProxyLab() as lab:
        yield lab


@pytest.fixture
def lab(machines):
    with machines.proxy():
        yield machines


def web(family, addresses, number=1, name="web"):
    return (service(name, family, number, [port(80, "tcp"), port(80, "udp", "UDP")]),
            endpoint_slice(name, family, addresses, [("tcp", "TCP"), ("udp", "UDP")]))


def everything(lab):
    lab.apply("v4", *web(V4, V4.pods))
    lab.apply("v6", *web(V6, V6.pods, name="web6"))
    lab.apply("empty", service("empty", [V4, V6], 2, [port(80)]))


class Generations(threading.Thread):
    """Counts transactions on the node by anybody, from the kernel's notifications."""

    def __init__(self, host):
        super().__init__(daemon=True)
        self.lines = []
        self._monitor = host.popen("nft monitor", stdout=subprocess.PIPE, text=True)
        self.start()
        # It listens once it reports a table made for the purpose.
        def heard():
            host.run("nft add table ip listening")
            host.run("nft delete table ip listening")
            return any("listening" in line for line in self.lines)
        netlab.wait_for("nft monitor listens", heard)
        self.lines.clear()

    def run(self):
        for line in self._monitor.stdout:
            self.lines.append(line)

    def about_fairlead(self):
        return [line for line in self.lines if "fairlead" in line and not line.startswith("# new generation")]


# ---- restarts ----

def test_a_second_start_changes_nothing(lab):
    everything(lab)
    before = lab.ruleset()
    lab.fairlead.kill()
    assert lab.ruleset() == before
    generations = Generations(lab.node)
    lab.fairlead.start()
    lab.fairlead.wait_ready()
    assert lab.transactions() == 0
    assert generations.about_fairlead() == []
    assert lab.ruleset() == before


def test_kill_9_and_restart_under_traffic_fail_no_connection(lab):
    everything(lab)
    kept = lab.client.call(netlab.TcpConnection.to, V4.cluster_ip(1), 80)
    first = kept.ask().host
    with netlab.Loop(lab.client, netlab.tcp_ask, V4.cluster_ip(1), 80) as v4, \
         netlab.Loop(lab.client, netlab.tcp_ask, V6.cluster_ip(1), 80) as v6, \
         netlab.Loop(lab.pods[0], netlab.udp_ask, V4.cluster_ip(1), 80) as udp:
        for _ in range(5):
            lab.fairlead.kill()
            v4.more(5)
            lab.fairlead.start()
            lab.fairlead.wait_ready()
            v6.more(5)
    for loop in (v4, v6, udp):
        assert loop.failures == [] and len(loop.answers) > 30
    assert kept.ask().host == first
    kept.close()


def test_terminating_leaves_the_rules_in_force(lab):
    everything(lab)
    before = lab.ruleset()
    assert lab.fairlead.stop() == 0
    assert lab.ruleset() == before and ask(lab.client, V4.cluster_ip(1))


def test_a_start_into_a_changed_world_changes_only_what_differs(lab):
    everything(lab)
    lab.apply("gone", *web(V4, V4.pods[:1], 5, "gone"))
    lab.apply("moved", *web(V4, V4.pods[:2], 6, "moved"))
    lab.fairlead.kill()
    (lab.manifests / "gone.yaml").unlink()
    (lab.manifests / "moved.yaml").write_text("\n".join("---\n" + json.dumps(each) for each in
                                                         web(V4, [V4.pods[1], V4.pods[2]], 6, "moved")))
    generations = Generations(lab.node)
    with netlab.Loop(lab.client, netlab.tcp_ask, V4.cluster_ip(1), 80) as loop:
        lab.fairlead.start()
        lab.fairlead.wait_ready()
        loop.more(10)
    assert loop.failures == []
    assert set(ask_many(lab.client, V4.cluster_ip(6), count=4)) == {"pod-2", "pod-3"}
    assert not ask(lab.node, V4.cluster_ip(5), timeout_s=0.3)
    netlab.wait_for("the changes are reported", lambda: any("gone" in line for line in generations.lines))
    assert [line for line in generations.about_fairlead() if "default/web" in line] == []
    assert lab.transactions() == 1
    assert "default/gone" not in lab.ruleset()


def test_round_robin_goes_on_after_an_adoption(lab):
    everything(lab)
    lab.fairlead.kill()
    lab.fairlead.start()
    lab.fairlead.wait_ready()
    lab.apply("v4", *web(V4, V4.pods[1:]))
    hosts = ask_many(lab.client, V4.cluster_ip(1))
    assert set(hosts) == set(PODS[1:]) and takes_turns(hosts)
    lab.apply("v4", *web(V4, V4.pods))
    hosts = ask_many(lab.client, V4.cluster_ip(1), count=9)
    assert set(hosts) == set(PODS) and takes_turns(hosts)


def test_what_nft_list_prints_can_be_read_back_and_is_adopted(lab):
    everything(lab)
    printed = lab.ruleset()
    lab.fairlead.kill()
    lab.node.run("nft flush ruleset")
    lab.node.run("nft -f -", input=printed)
    assert lab.ruleset() == printed
    assert set(ask_many(lab.client, V4.cluster_ip(1))) == set(PODS)
    lab.fairlead.start()
    lab.fairlead.wait_ready()
    assert lab.ruleset() == printed


# ---- what others do ----

def same(lab, before):
    """A table may vanish between being listed and being read."""
    with contextlib.suppress(RuntimeError):
        return lab.ruleset() == before


TAMPERINGS = {
    "flush ruleset": "flush ruleset",
    "delete table": "delete table ip fairlead",
    "flush chain": "flush chain ip fairlead services",
    "add rule": "insert rule ip fairlead services drop",
    "delete element": "delete element ip fairlead service-ips { 10.96.0.1 . tcp . 80 }",
    "change element": "delete element ip fairlead endpoints { 0:1 }",
    "add chain": "add chain ip fairlead intruder",
}


@pytest.mark.parametrize("tampering", TAMPERINGS)
def test_foreign_changes_are_repaired_within_a_quarter_of_a_second(lab, tampering):
    everything(lab)
    before = lab.ruleset()
    lab.node.run(["nft", TAMPERINGS[tampering]])
    changed = time.monotonic()
    netlab.wait_for("all is as before", lambda: same(lab, before), seconds=5)
    took_s = time.monotonic() - changed
    assert took_s < 0.25
    assert lab.fairlead.metrics()["fairlead_proxy_repairs_total"] == 1
    assert "by another program" in lab.fairlead.log and "process=nft" in lab.fairlead.log


def test_a_repair_is_one_transaction_for_each_table(lab):
    everything(lab)
    before = lab.transactions()
    lab.node.run("nft flush ruleset")
    netlab.wait_for("both tables are back", lambda: lab.node.run("nft list tables").count("fairlead") == 2)
    netlab.wait_for("both are counted", lambda: lab.transactions() == before + 2)


def test_against_an_opponent_repairs_slow_down_and_it_wins_no_lasting_hole(lab):
    everything(lab)
    before = lab.ruleset()
    opponent = lab.node.popen(["sh", "-c", "while :; do nft delete table ip fairlead 2>/dev/null; sleep 0.1; done"])
    try:
        netlab.wait_for("some rounds", lambda: lab.fairlead.metrics()["fairlead_proxy_repairs_total"] >= 5)
        started, repairs = time.monotonic(), lab.fairlead.metrics()["fairlead_proxy_repairs_total"]
        netlab.wait_for("another repair", lambda: lab.fairlead.metrics()["fairlead_proxy_repairs_total"] > repairs)
        netlab.wait_for("and another", lambda: lab.fairlead.metrics()["fairlead_proxy_repairs_total"] > repairs + 1)
        assert time.monotonic() - started > 0.8, "it does not race"
    finally:
        netlab.end(opponent)
    netlab.wait_for("peace", lambda: same(lab, before), seconds=10)


def test_tables_of_others_are_not_touched(lab):
    others = """
table ip other {
	map verdicts {
		type ipv4_addr : verdict
		elements = { 192.0.2.77 comment "theirs" : drop }
	}
	chain prerouting {
		type filter hook prerouting priority -10; policy accept;
		ip daddr vmap @verdicts comment "theirs"
		counter
	}
}
table inet fairlead-not-ours {
	chain x { }
}
"""
    lab.node.run("nft -f -", input=others)
    theirs = [lab.node.run(f"nft -s list table {table}") for table in ("ip other", "inet fairlead-not-ours")]
    everything(lab)
    lab.apply("v4", *web(V4, V4.pods[:1]))
    lab.fairlead.kill()
    lab.fairlead.start()
    lab.fairlead.wait_ready()
    lab.node.run("nft delete table ip fairlead")
    netlab.wait_for("repaired", lambda: ask(lab.client, V4.cluster_ip(1), timeout_s=0.2))
    assert theirs == [lab.node.run(f"nft -s list table {table}") for table in ("ip other", "inet fairlead-not-ours")]


def test_a_daemon_stopped_for_a_while_loses_no_connection_and_catches_up_within_a_second(lab):
    everything(lab)
    with netlab.Loop(lab.client, netlab.tcp_ask, V4.cluster_ip(1), 80) as loop:
        lab.fairlead.signal(signal.SIGSTOP)
        part = lab.manifests / ".v4.part"
        part.write_text("\n".join("---\n" + json.dumps(each) for each in web(V4, V4.pods[2:])))
        part.rename(lab.manifests / "v4.yaml")
        loop.more(20)
        lab.fairlead.signal(signal.SIGCONT)
        netlab.wait_for("the new endpoint alone", lambda: {each.host for each in loop.more(3)} == {"pod-3"}, seconds=1)
    assert loop.failures == []
