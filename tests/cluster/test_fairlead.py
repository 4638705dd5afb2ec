"""fairlead against a real API server, with real traffic: the first manifests as they come from `kubectl apply` and from mounted
ConfigMaps, changes of everything, the time changes take, and what must not break when something dies."""

import base64
import json
import os
import signal
import time

import pytest

from fairlead_nodes import (INGRESSES, NODE_NAME, SECRETS, SERVICES, SLICES, ClusterSite, RuleClock, apply_first_manifests,
                            create_service, ingress, latency_text, rule, slice_of)
from first_manifests import (ALPACA, BANDICOOT, BE_DEFAULT, MANIFESTS, PASSWORD, USER, FirstManifests, Site, assert_evenly,
                             assert_served_by, credentials, make_certificate, make_secrets, manifest_objects, password_secret, pods,
                             subject_of, tls_secret)
from netlab import REFUSED, Fairlead, HttpConnection, Lab, Loop, TcpConnection, http_get, require, tcp_ask, wait_for

LATENCY_EDITS = 60
LONG = os.environ.get("FAIRLEAD_LONG") == "1"


@pytest.fixture(scope="module")
def site(programs):
    """A node on which `fairlead proxy` and `fairlead ingress` run, with no more rights than they need, and the API server with
    the first manifests. This thread is on the API server's host meanwhile, and so are the threads and programs it starts."""
    require("nftables", "fairlead")
    with Lab() as lab:
        site = ClusterSite(lab)
        with site.control.entered(), site.control_plane() as site.cluster:
            site.cluster.create_node(NODE_NAME, addresses=[site.NODE], pod_cidrs=["172.17.0.0/16"])
            site.certificates = apply_first_manifests(site.cluster)
            wait_for("the controllers have made all slices", lambda: all(has_endpoints(site.cluster)))
            site.cluster.apply(MANIFESTS.parents[1] / "cluster/ingress_rbac.yaml")
            site.source_flags = [f"--kubeconfig={site.cluster.serviceaccount_kubeconfig('fairlead', 'ingress')}"]
            with site.proxy(site.cluster) as site.fairlead_proxy, site.ingress(site.cluster) as site.fairlead_ingress:
                yield site


def has_endpoints(cluster):
    """For each Endpoints object in the manifests whether there are slices of it; the headless one's are not ours."""
    names = (each.removeprefix("Endpoints ") for each in manifest_objects() if each.startswith("Endpoints "))
    return [cluster.ready_addresses(*name.split("/")) for name in names if name != "default/mongo"]


class TestAppliedManifests(FirstManifests):
    """By kubectl apply."""


class TestMountedManifests(FirstManifests):
    """As data of a ConfigMap and a Secret in the API, mounted as volumes."""

    @pytest.fixture(scope="class")
    def site(self, site):
        cluster = site.cluster
        with Lab() as lab:
            mounted = Site(lab)
            secrets, mounted.certificates = make_secrets()
            (lab.directory / "secrets.json").write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": secrets}))
            cluster.kubectl("create", "configmap", "manifests", f"--from-file={MANIFESTS}")
            cluster.kubectl("create", "secret", "generic", "manifests", f"--from-file={lab.directory}/secrets.json")
            config = cluster.api("GET", "/api/v1/namespaces/default/configmaps/manifests")["data"]
            secret = cluster.api("GET", f"{SECRETS}/manifests")["data"]
            mount(lab.directory / "config", {name: text.encode() for name, text in config.items()})
            mount(lab.directory / "secret", {name: base64.b64decode(text) for name, text in secret.items()})
            mounted.source_flags = [f"--manifests={lab.directory}/config", f"--manifests={lab.directory}/secret"]
            with Fairlead(mounted.node, "run", *mounted.source_flags, f"--nodeport-addresses={site.NODE}/32"):
                yield mounted


def mount(directory, files):
    """What the kubelet makes of a ConfigMap or Secret volume."""
    revision = directory / "..2025_01_01"
    revision.mkdir(parents=True)
    (directory / "..data").symlink_to(revision.name)
    for name, content in files.items():
        (revision / name).write_bytes(content)
        (directory / name).symlink_to(f"..data/{name}")


# ---- changes ----

def settles_on(site, address, addresses):
    """Waits until the endpoints at `addresses` take turns on port 8080 of `address`, and no other answers."""
    def settled():
        return {site.probe(address, 8080).address for _ in range(2 * len(addresses))} == set(addresses)
    wait_for(f"{addresses} answer", settled)
    assert_evenly(site.ask(address, 8080, 3 * len(addresses)), addresses, 8080)


def routed(site, host, path="/", **request):
    """Which Service of the first manifests answers."""
    answer = site.get(host, path, **request)
    services = {"alpaca": ALPACA, "bandicoot": BANDICOOT, "be-default": BE_DEFAULT}
    return next((name for name, addresses in services.items() if answer.address in addresses), answer.status or answer.verdict)


def is_routed(site, host, path, service):
    wait_for(f"{host}{path} leads to {service}", lambda: routed(site, host, path) == service)


def test_pods_that_come_go_and_change_their_readiness_are_followed(site):
    cluster, [one, two, three] = site.cluster, pods(21, 22, 23)
    service = create_service(cluster, "scaled")
    wait_for("a Service without Pods refuses", lambda: site.probe(service, 8080).verdict == REFUSED)
    for number, address in enumerate((one, two, three)):
        cluster.create_pod("default", f"scaled-{number}", labels={"app": "scaled"}, node=NODE_NAME, ip=address, ready=number < 2)
    settles_on(site, service, [one, two])
    with Loop(site.client, tcp_ask, service, 8080, pause_s=0.003) as loop:
        cluster.set_pod_status("default", "scaled-2", ready=True)
        settles_on_any(loop, [one, two, three])
        cluster.set_pod_status("default", "scaled-0", ready=False)
        settles_on_any(loop, [two, three])
        cluster.delete_pod("default", "scaled-1")
        settles_on_any(loop, [three])
        cluster.set_pod_status("default", "scaled-0", ready=True)
        settles_on_any(loop, [one, three])
    assert loop.failures == []
    settles_on(site, service, [one, three])
    for name in ("scaled-0", "scaled-2"):
        cluster.delete_pod("default", name)
    wait_for("a Service without Pods refuses", lambda: site.probe(service, 8080).verdict == REFUSED)
    cluster.api("DELETE", f"{SERVICES}/scaled")
    wait_for("a Service that is gone has no rules", lambda: "default/scaled" not in site.rules())


def settles_on_any(loop, addresses):
    wait_for(f"only {addresses} answer",
             lambda: {answer.address for answer in loop.more(4 * len(addresses))} == set(addresses))


def test_a_terminating_pod_gets_no_new_connection_and_keeps_its_open_ones(site):
    cluster, [one, two] = site.cluster, pods(21, 22)
    service = create_service(cluster, "draining")
    for name, address in (("draining-1", one), ("draining-2", two)):
        cluster.create_pod("default", name, labels={"app": "draining"}, node=NODE_NAME, ip=address)
    settles_on(site, service, [one, two])
    with site.client.entered():
        connections = [TcpConnection.to(service, 8080) for _ in range(2)]
    assert {each.ask().address for each in connections} == {one, two}
    cluster.delete_pod("default", "draining-1", grace_s=30)
    settles_on(site, service, [two])
    assert {each.ask().address for each in connections} == {one, two}
    for name in ("draining-1", "draining-2"):
        cluster.delete_pod("default", name)
    for each in connections:
        each.close()


def test_a_services_ports_and_type_may_change(site):
    cluster = site.cluster
    service = create_service(cluster, "changing", selector=False)
    cluster.api("POST", SLICES, slice_of("changing", *pods(21)))
    settles_on(site, service, pods(21))
    changed = cluster.api("PATCH", f"{SERVICES}/changing", {"spec": {
        "type": "NodePort", "externalIPs": ["192.168.64.7"], "ports": [{"name": "http", "port": 8081}]}})
    node_port = changed["spec"]["ports"][0]["nodePort"]
    for address, port in ((service, 8081), (site.NODE, node_port), ("192.168.64.7", 8081)):
        wait_for(f"{address}:{port} answers", lambda: site.probe(address, port).address == pods(21)[0])
    assert site.ask(service, 8080)[0].verdict == REFUSED
    cluster.api("PATCH", f"{SERVICES}/changing", {"spec": {"type": "ClusterIP", "externalIPs": None}})
    wait_for("the node port is free again", lambda: site.probe(site.NODE, node_port).verdict == REFUSED)
    assert site.ask(service, 8081)[0].address == pods(21)[0]
    cluster.api("DELETE", f"{SERVICES}/changing")


def test_edits_of_an_ingress_take_effect_and_no_request_fails(site):
    cluster, host = site.cluster, "edited.example.com"
    assert routed(site, host) == "be-default"
    cluster.api("POST", INGRESSES, ingress("edited", rule(host, ("/", "alpaca"))))
    is_routed(site, host, "/", "alpaca")
    with Loop(site.client, http_get, site.NODE, 80, "/", host, pause_s=0.003) as loop:
        for rules, path, service in (
                ([rule(host, ("/", "bandicoot"))], "/", "bandicoot"),
                ([rule(host, ("/", "bandicoot"), ("/a", "alpaca"))], "/a/b", "alpaca"),
                ([rule(host, ("/", "alpaca"), ("/a", "bandicoot"))], "/a/b", "bandicoot"),
                ([rule(host, ("/", "alpaca")), rule("*.edited.example.com", ("/", "bandicoot"))], "/a", "alpaca")):
            cluster.api("PATCH", f"{INGRESSES}/edited", {"spec": {"rules": rules}})
            is_routed(site, host, path, service)
        is_routed(site, "any.edited.example.com", "/", "bandicoot")
    assert loop.failures == []
    cluster.api("PATCH", f"{INGRESSES}/edited", {"spec": {"ingressClassName": "another"}})
    is_routed(site, host, "/", "be-default")
    cluster.api("PATCH", f"{INGRESSES}/edited", {"spec": {"ingressClassName": "fairlead"}})
    is_routed(site, host, "/", "alpaca")
    cluster.api("DELETE", f"{INGRESSES}/edited")
    is_routed(site, host, "/", "be-default")


def test_a_new_certificate_is_shown_to_new_handshakes_and_open_connections_stay(site):
    cluster, host = site.cluster, "rotated.example.com"
    first, first_key = make_certificate(host)
    second, second_key = make_certificate(host)

    def shows(certificate):
        return lambda: site.get(host, sni=host).certificate == certificate

    cluster.api("POST", INGRESSES, ingress("rotated", rule(host, ("/", "alpaca")),
                                           tls=[{"hosts": [host], "secretName": "rotated"}]))
    wait_for("the host is a TLS host", lambda: routed(site, host) == 308)
    assert "Fake" in subject_of(site.get(host, sni=host).certificate)
    cluster.api("POST", SECRETS, tls_secret("default", "rotated", first, first_key))
    wait_for("the Secret made later is shown", shows(first))
    with site.client.entered():
        kept = HttpConnection(site.NODE, 443, host)
    assert_served_by(kept.ask("/", host), ALPACA, 8080)
    with Loop(site.client, http_get, site.NODE, 443, "/", host, host, pause_s=0.003) as loop:
        cluster.api("PUT", f"{SECRETS}/rotated", tls_secret("default", "rotated", second, second_key))
        wait_for("the new certificate is shown", shows(second))
    assert loop.failures == []
    assert_served_by(kept.ask("/", host), ALPACA, 8080)
    kept.close()
    cluster.api("DELETE", f"{SECRETS}/rotated")
    wait_for("the default certificate is shown", lambda: "Fake" in subject_of(site.get(host, sni=host).certificate))
    cluster.api("POST", SECRETS, tls_secret("default", "rotated", first, first_key))
    wait_for("the Secret made again is shown", shows(first))
    cluster.api("DELETE", f"{INGRESSES}/rotated")
    cluster.api("DELETE", f"{SECRETS}/rotated")


def test_a_password_that_changes_is_asked_for(site):
    def status(password):
        return site.get("queue.fleetmangmt.com", headers=credentials(USER, password)).status

    assert (status(PASSWORD), status("changed")) == (200, 401)
    before = site.cluster.api("GET", f"{SECRETS}/mycredentials")["data"]
    site.cluster.api("PATCH", f"{SECRETS}/mycredentials",
                     {"data": password_secret("default", "mycredentials", USER, "changed")["data"]})
    wait_for("the new password is asked for", lambda: (status(PASSWORD), status("changed")) == (401, 200))
    site.cluster.api("PATCH", f"{SECRETS}/mycredentials", {"data": before})
    wait_for("the old password is asked for again", lambda: status(PASSWORD) == 200)


# ---- how fast ----

def test_the_time_from_api_write_to_rule_in_force(site, capsys):
    cluster, [one, two] = site.cluster, pods(21, 22)
    service = create_service(cluster, "timed", selector=False)
    cluster.api("POST", SLICES, slice_of("timed", one))
    settles_on(site, service, [one])
    latencies, whole = [], []
    with RuleClock(site.node) as clock:
        for number in range(LATENCY_EDITS):
            address = (two, one)[number % 2]
            heard, begun = len(clock.times), time.monotonic()
            cluster.api("PATCH", f"{SLICES}/timed", {"endpoints": [{"addresses": [address]}]})
            written = time.monotonic()
            wait_for("a transaction", lambda: len(clock.times) > heard, seconds=10)
            wait_for("the new endpoint answers", lambda: site.probe(service, 8080).address == address, seconds=10)
            latencies.append(max(0, clock.times[heard] - written))
            whole.append(clock.times[heard] - begun)
    with capsys.disabled():
        print("\n" + latency_text("endpoint: API write committed -> rule in force", latencies))
        print(latency_text("endpoint: API request sent    -> rule in force", whole))
    cluster.api("DELETE", f"{SERVICES}/timed")


def test_the_time_from_api_write_to_route_in_force(site, capsys):
    cluster, host = site.cluster, "timed.example.com"
    cluster.api("POST", INGRESSES, ingress("timed", rule(host, ("/", "bandicoot"))))
    is_routed(site, host, "/", "bandicoot")
    latencies, whole = [], []
    for number in range(LATENCY_EDITS):
        service, addresses = (("alpaca", ALPACA), ("bandicoot", BANDICOOT))[number % 2]
        begun = time.monotonic()
        cluster.api("PATCH", f"{INGRESSES}/timed", {"spec": {"rules": [rule(host, ("/", service))]}})
        written = time.monotonic()
        asked = site.client.call(first_time_served_by, site.NODE, host, addresses)
        latencies.append(max(0, asked - written))
        whole.append(asked - begun)
    with capsys.disabled():
        print("\n" + latency_text("Ingress: API write committed -> route in force", latencies))
        print(latency_text("Ingress: API request sent    -> route in force", whole))
    cluster.api("DELETE", f"{INGRESSES}/timed")


def first_time_served_by(node, host, addresses):
    """When the first request was sent that one of `addresses` answered."""
    connection, deadline = HttpConnection(node, 80), time.monotonic() + 10
    try:
        while (sent := time.monotonic()) < deadline:
            if connection.ask("/", host).address in addresses:
                return sent
    finally:
        connection.close()
    raise AssertionError("the route is not in force within 10 s")


# ---- rights ----

def asked(cluster, user):
    """What `user` asked the API server for: (verb, resource, name or selectors)."""
    events = cluster.requests(user)
    return {(each["verb"], each["objectRef"]["resource"], each["objectRef"].get("name", "")) for each in events
            if "objectRef" in each}


def refusals(cluster, user):
    return [(each["verb"], each["requestURI"]) for each in cluster.requests(user)
            if each.get("responseStatus", {}).get("code") in (401, 403)]


def test_the_proxy_asks_for_nothing_kube_proxy_may_not_have(site):
    user = "system:kube-proxy"
    assert refusals(site.cluster, user) == []
    resources = {(verb, resource) for verb, resource, _ in asked(site.cluster, user)}
    assert {("watch", "services"), ("watch", "endpointslices"), ("watch", "nodes")} <= resources
    assert {resource for _, resource in resources} <= {"services", "endpointslices", "nodes", "servicecidrs", "events"}
    for uri in {each["requestURI"] for each in site.cluster.requests(user)}:
        if "/services?" in uri or "/endpointslices?" in uri:
            assert "service.kubernetes.io%2Fservice-proxy-name" in uri and "service.kubernetes.io%2Fheadless" in uri
        if "/nodes?" in uri:
            assert f"metadata.name%3D{NODE_NAME}" in uri


def test_the_ingress_asks_for_secrets_by_name_only(site):
    user = "system:serviceaccount:fairlead:ingress"
    assert refusals(site.cluster, user) == []
    secrets = {(each["objectRef"].get("namespace"), each["objectRef"].get("name"), each["requestURI"])
               for each in site.cluster.requests(user) if each.get("objectRef", {}).get("resource") == "secrets"}
    assert secrets
    for namespace, name, uri in secrets:
        assert namespace and (name or "fieldSelector=metadata.name%3D" in uri), uri


# ---- what must not break ----

def test_killed_and_started_again_under_traffic_the_proxy_fails_no_connection(site):
    cluster, [one, two, three] = site.cluster, pods(21, 22, 23)
    service = create_service(cluster, "lasting", selector=False)
    cluster.api("PATCH", f"{SERVICES}/lasting", {"spec": {"type": "NodePort"}})
    node_port = cluster.api("GET", f"{SERVICES}/lasting")["spec"]["ports"][0]["nodePort"]
    cluster.api("POST", SLICES, slice_of("lasting", one, two))
    settles_on(site, service, [one, two])
    wait_for("the node port answers", lambda: site.probe(site.NODE, node_port))
    with site.client.entered():
        kept = TcpConnection.to(service, 8080)
    pod = kept.ask().address
    with (Loop(site.client, tcp_ask, service, 8080) as by_cluster_ip, Loop(site.client, tcp_ask, site.NODE, node_port) as by_node_port,
          Loop(site.node, tcp_ask, service, 8080) as from_node):
        for stop in (site.fairlead_proxy.kill, site.fairlead_proxy.stop, site.fairlead_proxy.kill):
            stop()
            by_cluster_ip.more(100)
            site.fairlead_proxy.start()
            site.fairlead_proxy.wait_ready()
            by_cluster_ip.more(100)
        site.fairlead_proxy.kill()
        cluster.api("PATCH", f"{SLICES}/lasting", slice_of("lasting", one, two, three))
        by_cluster_ip.more(20)
        site.fairlead_proxy.start()
        settles_on_any(by_cluster_ip, [one, two, three])
    assert (by_cluster_ip.failures, by_node_port.failures, from_node.failures) == ([], [], [])
    assert kept.ask().address == pod
    kept.close()
    cluster.api("DELETE", f"{SERVICES}/lasting")


def test_while_the_api_server_is_away_nothing_changes_and_what_is_written_later_arrives(site, capsys):
    cluster, host = site.cluster, "away.example.com"
    service = create_service(cluster, "away", selector=False)
    cluster.api("POST", SLICES, slice_of("away", *pods(21, 22)))
    cluster.api("POST", INGRESSES, ingress("away", rule(host, ("/", "away"))))
    settles_on(site, service, pods(21, 22))
    wait_for("the Ingress is served", lambda: site.get(host).address in pods(21, 22))
    rules = site.rules()
    with (Loop(site.client, tcp_ask, service, 8080, pause_s=0.01) as tcp,
          Loop(site.client, http_get, site.NODE, 80, "/", host, pause_s=0.01) as http):
        cluster.stop_apiserver(signal.SIGKILL)
        time.sleep(60 if LONG else 20)
        assert site.rules() == rules
        assert site.fairlead_proxy.ready() and site.fairlead_ingress.ready()
        cluster.start_apiserver()
        back = time.monotonic()
        cluster.api("PATCH", f"{SLICES}/away", slice_of("away", *pods(22, 23)))
        cluster.api("PATCH", f"{INGRESSES}/away", {"spec": {"rules": [rule(host, ("/", "away"), ("/a", "alpaca"))]}})
        wait_for("the endpoints written later are served", lambda: {each.address for each in tcp.more(8)} == set(pods(22, 23)), 120)
        endpoints_s = time.monotonic() - back
        wait_for("the path written later is served", lambda: routed(site, host, "/a") == "alpaca", 120)
        routes_s = time.monotonic() - back
    with capsys.disabled():
        print(f"\nAPI server back and ready -> endpoints in force {endpoints_s:.1f} s, routes in force {routes_s:.1f} s")
    assert (tcp.failures, http.failures) == ([], [])
    cluster.api("DELETE", f"{INGRESSES}/away")
    cluster.api("DELETE", f"{SERVICES}/away")


def test_an_api_server_that_ends_in_good_order_and_comes_back_is_found_again(site):
    cluster = site.cluster
    service = create_service(cluster, "found", selector=False)
    cluster.api("POST", SLICES, slice_of("found", *pods(21)))
    settles_on(site, service, pods(21))
    with Loop(site.client, tcp_ask, service, 8080, pause_s=0.003) as tcp:
        cluster.stop_apiserver()
        tcp.more(50)
        cluster.start_apiserver()
        cluster.api("PATCH", f"{SLICES}/found", slice_of("found", *pods(22)))
        wait_for("the endpoint written later is served", lambda: tcp.more(2)[-1].address == pods(22)[0], 120)
    assert tcp.failures == []
    cluster.api("DELETE", f"{SERVICES}/found")


def test_both_halves_in_one_process_take_over_without_a_failed_connection_to_a_service(site):
    cluster = site.cluster
    service = create_service(cluster, "taken", selector=False)
    cluster.api("POST", SLICES, slice_of("taken", *pods(21, 22)))
    settles_on(site, service, pods(21, 22))
    with Loop(site.client, tcp_ask, service, 8080, pause_s=0.003) as tcp:
        site.fairlead_proxy.stop()
        site.fairlead_ingress.stop()
        with Fairlead(site.node, "run", f"--kubeconfig={cluster.kubeconfig()}", f"--hostname-override={NODE_NAME}",
                      "--ingress-class=nginx") as both:
            cluster.api("PATCH", f"{SLICES}/taken", slice_of("taken", *pods(22, 23)))
            settles_on_any(tcp, pods(22, 23))
            assert_served_by(site.get("my-host.io", "/api", sni="my-host.io"), pods(41, 42), 8080)
            assert routed(site, "bandicoot.example.com", "/a/") == "alpaca"
            assert both.stop() == 0
        for each in (site.fairlead_proxy, site.fairlead_ingress):
            each.start()
            each.wait_ready()
        settles_on_any(tcp, pods(22, 23))
    assert tcp.failures == []
    cluster.api("DELETE", f"{SERVICES}/taken")
