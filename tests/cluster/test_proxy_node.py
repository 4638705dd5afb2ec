"""What the service proxy and its Node say to each other through a real API server, with kube-proxy's rights: rows 38, 39, 42
and 43 of the service-proxy contract."""
import socket

import pytest

from fairlead_nodes import NODE_NAME, ClusterSite
from netlab import Lab, _bound, http_get, require, wait_for

NODE = f"/api/v1/nodes/{NODE_NAME}"
ADDRESS, OTHER_ADDRESS = "192.168.65.2", "192.168.65.3"
MERGE = "application/merge-patch+json"


@pytest.fixture(scope="module")
def machines(programs):
    require("nftables", "fairlead")
    with Lab() as lab:
        site = ClusterSite(lab)
        with site.control.entered(), site.control_plane() as site.cluster:
            yield site


@pytest.fixture
def site(machines):
    """The Node as it is at first, and fairlead on it."""
    if machines.cluster.exists(NODE):
        machines.cluster.api("DELETE", NODE)
    machines.cluster.create_node(NODE_NAME, addresses=[ADDRESS])
    with machines.proxy(machines.cluster) as machines.fairlead_proxy:
        yield machines


def events(site, namespace, reason):
    items = site.cluster.api("GET", f"/apis/events.k8s.io/v1/namespaces/{namespace}/events")["items"]
    return [each for each in items if each.get("reason") == reason]


def health(site):
    return site.node.call(http_get, "127.0.0.1", 10256, "/healthz")


def test_row_42_the_start_is_an_event_of_the_node(site):
    found = wait_for("the event", lambda: events(site, "default", "Starting"))[-1]
    assert found["regarding"]["kind"] == "Node" and found["regarding"]["name"] == NODE_NAME
    assert found["type"] == "Normal" and found["reportingInstance"] == NODE_NAME


def test_row_38_a_health_check_port_in_use_is_an_event_of_the_service(site):
    created = site.cluster.api("POST", "/api/v1/namespaces/default/services", {
        "metadata": {"generateName": "local-"},
        "spec": {"type": "LoadBalancer", "externalTrafficPolicy": "Local", "ports": [{"port": 80}], "selector": {"app": "x"}}})
    name, port = created["metadata"]["name"], created["spec"]["healthCheckNodePort"]
    try:
        ask = lambda: site.node.call(http_get, ADDRESS, port).status == 503 or None
        wait_for("the port answers", ask)
        site.fairlead_proxy.stop()
        squatter = site.node.call(_bound, socket.AF_INET, socket.SOCK_STREAM, port, socket.IPPROTO_TCP)
        squatter.listen()
        site.fairlead_proxy.start()
        site.fairlead_proxy.wait_ready()
        found = wait_for("the event", lambda: events(site, "default", "FailedToStartServiceHealthcheck"))[-1]
        squatter.close()
        assert found["regarding"]["name"] == name and found["type"] == "Warning"
        assert str(port) in found["note"]
    finally:
        site.cluster.api("DELETE", f"/api/v1/namespaces/default/services/{name}")


def test_row_39_a_tainted_node_turns_load_balancers_away_and_goes_on(site):
    wait_for("healthy", lambda: health(site).status == 200)
    taint = {"key": "ToBeDeletedByClusterAutoscaler", "effect": "NoSchedule"}
    site.cluster.api("PATCH", NODE, {"spec": {"taints": [taint]}}, MERGE)
    wait_for("not eligible", lambda: health(site).status == 503)
    assert b'"nodeEligible": false' in health(site).body
    site.cluster.api("PATCH", NODE, {"spec": {"taints": []}}, MERGE)
    wait_for("eligible again", lambda: health(site).status == 200)


def test_row_43_other_node_addresses_end_the_program(site):
    site.cluster.api("PATCH", f"{NODE}/status",
                     {"status": {"addresses": [{"type": "InternalIP", "address": OTHER_ADDRESS}]}}, MERGE)
    assert site.fairlead_proxy.wait_ended() == 1
    assert "the node's addresses have changed" in site.fairlead_proxy.log
    assert "table ip fairlead" in site.node.run("nft list tables")


def test_row_43_a_deleted_node_ends_the_program(site):
    site.cluster.api("DELETE", NODE)
    assert site.fairlead_proxy.wait_ended() == 1
    assert "the Node object is gone" in site.fairlead_proxy.log


def test_row_55_nothing_is_asked_that_kube_proxy_may_not_have(site):
    refused = [each["requestURI"] for each in site.cluster.requests("system:kube-proxy")
               if each.get("responseStatus", {}).get("code") in (401, 403)]
    assert refused == []


def test_row_22_service_cidrs_of_the_api_are_in_force_at_once(site):
    """That of the API server itself, and one that an administrator adds and removes."""
    def drops():
        rules = site.node.run("nft list chain ip fairlead forward-check").splitlines()
        return {rule.split()[2] for rule in rules if rule.split()[-1:] == ["drop"]}
    path = "/apis/networking.k8s.io/v1/servicecidrs"
    own = {cidr for each in site.cluster.api("GET", path)["items"] for cidr in each["spec"]["cidrs"] if ":" not in cidr}
    assert own
    wait_for("the cluster's own", lambda: drops() == own)
    site.cluster.api("POST", path, {"metadata": {"name": "more"}, "spec": {"cidrs": ["10.123.0.0/24"]}})
    wait_for("the new one", lambda: drops() == own | {"10.123.0.0/24"})
    site.cluster.api("DELETE", f"{path}/more")
    wait_for("it is gone", lambda: drops() == own)
