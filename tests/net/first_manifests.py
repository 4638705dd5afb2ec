"""tests/manifests/first: the hosts that its addresses belong to, fresh Secrets for it, and what Kubernetes would make of
each of its objects. A test file says where fairlead has the objects from: it inherits FirstManifests and gives it a `site`."""

import base64
import collections
import pathlib
import re
import ssl
import subprocess
import sys

import pytest

from netlab import CLOSED, REFUSED, ROOT, Fairlead, HttpConnection, http_get, tcp_ask, udp_ask

MANIFESTS = ROOT / "tests/manifests/first"
USER, PASSWORD = "admin", "wonderland"
TLS_SECRETS = {"alpaca.example.com": ("default", "tls-secret-name"), "my-host.io": ("journal", "journal-tls")}
POD_PORTS = (80, 8080, 8161, 61616, 27017)


def pods(*numbers):
    """The addresses 172.17.0.N, in the order of the text."""
    return sorted(f"172.17.0.{number}" for number in numbers)


ALPACA, BANDICOOT, BE_DEFAULT = pods(5, 6, 7), pods(2, 9, 10), pods(12, 13, 14)
FRONTEND, FILESERVER = pods(41, 42), pods(44)
WEBAPP, QUEUE = pods(51, 52), pods(53)


# ---- Secrets ----

def openssl(*args, input=None):
    return subprocess.run(["openssl", *args], input=input, capture_output=True, text=True, check=True).stdout


def make_certificate(*names):
    """A fresh self-signed certificate for these names, and its key; both PEM."""
    both = openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                   "-subj", f"/CN={names[0]}", "-addext", "subjectAltName=" + ",".join(f"DNS:{name}" for name in names),
                   "-keyout", "-", "-out", "-")
    key, certificate = both.split("-----BEGIN CERTIFICATE-----")
    certificate = "-----BEGIN CERTIFICATE-----" + certificate
    return ssl.DER_cert_to_PEM_cert(ssl.PEM_cert_to_DER_cert(certificate.strip())), key


def subject_of(certificate):
    return openssl("x509", "-noout", "-subject", input=certificate)


def tls_secret(namespace, name, certificate, key):
    data = {"tls.crt": certificate, "tls.key": key}
    return {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
            "metadata": {"name": name, "namespace": namespace},
            "data": {field: base64.b64encode(text.encode()).decode() for field, text in data.items()}}


def password_secret(namespace, name, user, password):
    line = f"{user}:{openssl('passwd', '-apr1', password)}"
    return {"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": {"name": name, "namespace": namespace},
            "data": {"auth": base64.b64encode(line.encode()).decode()}}


def make_secrets():
    """Fresh Secrets for the manifests, and the certificates in them by host."""
    certificates, secrets = {}, [password_secret("default", "mycredentials", USER, PASSWORD)]
    for host, (namespace, name) in TLS_SECRETS.items():
        certificates[host], key = make_certificate(host)
        secrets.append(tls_secret(namespace, name, certificates[host], key))
    return secrets, certificates


# ---- the hosts ----

class Site:
    """A client, a node, the pods (one host with all their addresses), a pod that only asks, and the world outside, to which
    the node's default route leads.

        client 192.168.64.100 ── 192.168.64.2 node 172.17.0.1 ── 172.17.0.0/16 pods
                                                   172.18.0.1 ── 172.18.0.2 visitor
                                                   24.1.2.1   ── 24.1.2.3 world
    """
    NODE, CLIENT, POD_GATEWAY = "192.168.64.2", "192.168.64.100", "172.17.0.1"

    def __init__(self, lab):
        self.lab = lab
        self.client, self.node, self.pods, self.visitor, self.world = map(
            lab.host, ("client", "node", "pods", "visitor", "world"))
        lab.link(self.client, self.node, [f"{self.CLIENT}/24"], [f"{self.NODE}/24"])
        lab.link(self.pods, self.node, [f"{each}/16" for each in pod_addresses()], [f"{self.POD_GATEWAY}/16"])
        lab.link(self.visitor, self.node, ["172.18.0.2/24"], ["172.18.0.1/24"])
        lab.link(self.world, self.node, ["24.1.2.3/24"], ["24.1.2.1/24"])
        self.node.forward()
        self.node.route("default", "24.1.2.3")
        self.client.route("default", self.NODE)
        self.client.route("192.168.64.7/32", self.NODE)
        self.pods.route("default", self.POD_GATEWAY)
        self.visitor.route("default", "172.18.0.1")
        self.world.route("default", "24.1.2.1")
        self.pods.serve(tcp=POD_PORTS)
        self.world.serve(tcp=[3306])
        self.certificates = {}
        self.source_flags = []

    def ask(self, address, port, count=1):
        """Asks a TCP port from the client `count` times; the answers in order."""
        return [self.client.call(tcp_ask, address, port) for _ in range(count)]

    def probe(self, address, port):
        """Asks from the visitor, to wait for rules. Before they are in force the kernel remembers a connection as one to no
        service, and a client that comes by with the same port again within two minutes meets that memory."""
        return self.visitor.call(tcp_ask, address, port, timeout_s=1)

    def get(self, host, path="/", sni=None, http_port=80, https_port=443, **request):
        """One HTTP request from the client to the node's ingress; by TLS if `sni` is given."""
        port = http_port if sni is None else https_port
        return self.client.call(http_get, self.NODE, port, path, host, sni, **request)

    def rules(self):
        """All that fairlead has in the node's kernel, as text."""
        return self.node.run("nft list table ip fairlead") + self.node.run("nft list table ip6 fairlead")


def pod_addresses():
    return sorted(set(re.findall(r"172\.17\.0\.\d+", "".join(map(pathlib.Path.read_text, manifest_files())))))


def manifest_files():
    return sorted(MANIFESTS.glob("*.yaml"))


def manifest_objects():
    """All objects in the files, as "Kind namespace/name", or "Kind name" where there is no namespace to be in."""
    objects = []
    for document in "\n---\n".join(map(pathlib.Path.read_text, manifest_files())).split("\n---\n"):
        if kind := re.search(r"^kind: (\w+)", document, re.M):
            name = re.search(r"^metadata:.*?\bname: ([\w-]+)", document, re.M | re.S)[1]
            namespace = re.search(r"\bnamespace: ([\w-]+)", document)
            where = "" if kind[1] == "IngressClass" else f"{namespace[1] if namespace else 'default'}/"
            objects.append(f"{kind[1]} {where}{name}")
    return objects


# ---- what is expected ----

def about(*objects):
    return pytest.mark.about(*objects)


def assert_evenly(answers, addresses, port):
    """Each endpoint in turn: the same order again and again, so exactly the same share for each."""
    addresses = sorted(addresses)
    assert all(answers), [answer.verdict for answer in answers]
    assert {answer.port for answer in answers} == {port}
    order = [answer.address for answer in answers]
    assert sorted(order[:len(addresses)]) == addresses
    assert order == (order[:len(addresses)] * len(order))[:len(order)]


def assert_served_by(answer, addresses, port):
    assert answer.status == 200
    assert answer.address in addresses and answer.port == port


class FirstManifests:
    """One test per object. `site` is a Site whose node runs fairlead with all of them."""

    # 10-hello-nodeport.yaml

    @about("Service default/hello")
    def test_hello_answers_on_its_cluster_ip_and_on_the_node_port_31001(self, site):
        assert_evenly(site.ask("10.100.20.1", 8080, 6), pods(21, 22, 23), 8080)
        assert_evenly(site.ask(site.NODE, 31001, 6), pods(21, 22, 23), 8080)

    @about("Service default/hello")
    def test_pods_see_the_client_through_a_cluster_ip_and_the_node_through_a_node_port(self, site):
        assert site.ask("10.100.20.1", 8080)[0].source == site.CLIENT
        assert site.ask(site.NODE, 31001)[0].source == site.POD_GATEWAY

    @about("Service default/hello")
    def test_hello_answers_the_node_itself_and_other_pods(self, site):
        for host in (site.node, site.visitor):
            assert_evenly([host.call(tcp_ask, "10.100.20.1", 8080) for _ in range(6)], pods(21, 22, 23), 8080)

    @about("Service default/hello")
    def test_another_port_or_protocol_of_hellos_cluster_ip_is_refused(self, site):
        assert site.ask("10.100.20.1", 8081)[0].verdict == REFUSED
        assert site.client.call(udp_ask, "10.100.20.1", 8080).verdict == REFUSED

    @about("Endpoints default/hello")
    def test_each_of_hellos_three_endpoints_gets_exactly_a_third(self, site):
        answers = site.ask("10.100.20.1", 8080, 300)
        assert collections.Counter(answer.address for answer in answers) == dict.fromkeys(pods(21, 22, 23), 100)

    @about("Service default/nginx-one")
    def test_nginx_one_answers_on_its_cluster_ip_and_on_the_node_port_31111(self, site):
        assert_evenly(site.ask("10.100.20.2", 80, 3), pods(31), 80)
        assert_evenly(site.ask(site.NODE, 31111, 3), pods(31), 80)

    @about("Endpoints default/nginx-one")
    def test_nginx_ones_only_endpoint_gets_every_connection(self, site):
        assert_evenly(site.ask("10.100.20.2", 80, 10), pods(31), 80)

    @about("Service default/nginx-two")
    def test_nginx_two_with_a_named_target_port_answers_on_its_cluster_ip_and_on_the_node_port_31112(self, site):
        assert_evenly(site.ask("10.100.20.3", 80, 6), pods(32, 33, 34), 80)
        assert_evenly(site.ask(site.NODE, 31112, 6), pods(32, 33, 34), 80)

    @about("Endpoints default/nginx-two")
    def test_the_endpoints_say_which_port_nginx_twos_target_port_is(self, site):
        assert_evenly(site.ask("10.100.20.3", 80, 9), pods(32, 33, 34), 80)

    # 20-alpaca-bandicoot.yaml

    @about("Service default/alpaca")
    def test_alpaca_answers_on_its_cluster_ip(self, site):
        assert all(site.ask("10.109.108.131", 8080, 3))

    @about("Endpoints default/alpaca")
    def test_alpacas_three_endpoints_take_turns(self, site):
        assert_evenly(site.ask("10.109.108.131", 8080, 9), ALPACA, 8080)

    @about("Service default/bandicoot")
    def test_bandicoot_answers_on_its_cluster_ip(self, site):
        assert all(site.ask("10.111.63.119", 8080, 3))

    @about("Endpoints default/bandicoot")
    def test_bandicoots_three_endpoints_take_turns(self, site):
        assert_evenly(site.ask("10.111.63.119", 8080, 9), BANDICOOT, 8080)

    @about("Service default/be-default")
    def test_be_default_answers_on_its_cluster_ip(self, site):
        assert all(site.ask("10.103.30.58", 8080, 3))

    @about("Endpoints default/be-default")
    def test_be_defaults_three_endpoints_take_turns_while_other_services_are_asked_in_between(self, site):
        answers = []
        for _ in range(9):
            answers += site.ask("10.103.30.58", 8080)
            assert site.ask("10.109.108.131", 8080)[0].address in ALPACA
        assert_evenly(answers, BE_DEFAULT, 8080)

    # 21-ingress-legacy.yaml: extensions/v1beta1

    @about("Ingress default/simple-ingress")
    def test_a_backend_without_rules_answers_for_every_host_that_nobody_else_claims(self, site):
        for host in ("nobody.example.com", "example.com", site.NODE):
            assert_served_by(site.get(host, "/any/path"), BE_DEFAULT, 8080)

    @about("Ingress default/simple-ingress")
    def test_requests_on_one_connection_go_round_the_default_backends_endpoints(self, site):
        with site.client.entered():
            connection = HttpConnection(site.NODE, 80)
            answers = [connection.ask("/", "nobody.example.com") for _ in range(9)]
            connection.close()
        assert_evenly(answers, BE_DEFAULT, 8080)

    @about("Ingress default/host-ingress")
    def test_each_host_leads_to_its_own_service(self, site):
        assert_served_by(site.get("bandicoot.example.com"), BANDICOOT, 8080)
        assert_served_by(site.get("alpaca.example.com", sni="alpaca.example.com"), ALPACA, 8080)

    @about("Ingress default/host-ingress")
    def test_a_host_is_known_in_any_case_with_port_and_trailing_dot(self, site):
        for host in ("BANDICOOT.example.com", "bandicoot.example.com:80", "bandicoot.example.com."):
            assert_served_by(site.get(host), BANDICOOT, 8080)

    @about("Ingress default/path-ingress")
    def test_paths_below_a_lead_to_alpaca_and_all_others_to_bandicoot(self, site):
        for path in ("/a/", "/a/b", "/a/b/c?d=/e", "/x/../a/b"):
            assert_served_by(site.get("bandicoot.example.com", path), ALPACA, 8080)
        for path in ("/", "/b/a/", "/abc", "/A/", "/a/../b"):
            assert_served_by(site.get("bandicoot.example.com", path), BANDICOOT, 8080)

    @about("Ingress default/path-ingress")
    def test_the_pod_sees_the_request_target_as_the_client_sent_it(self, site):
        assert site.get("bandicoot.example.com", "/x/../a//b%20c?d=%2f").seen["target"] == "/x/../a//b%20c?d=%2f"

    @about("Ingress default/tls-ingress")
    def test_alpacas_certificate_is_shown_to_who_asks_for_alpaca_and_verifies(self, site):
        assert site.get("alpaca.example.com", sni="alpaca.example.com").certificate == site.certificates["alpaca.example.com"]
        context = ssl.create_default_context(cadata=site.certificates["alpaca.example.com"])
        with site.client.entered():
            HttpConnection(site.NODE, 443, "alpaca.example.com", tls=context).close()

    @about("Ingress default/tls-ingress")
    def test_plain_http_to_a_tls_host_is_sent_to_https_with_308(self, site):
        answer = site.get("alpaca.example.com", "/b/c?d=e")
        assert (answer.status, answer.headers["location"]) == (308, "https://alpaca.example.com/b/c?d=e")

    @about("Ingress default/tls-ingress")
    def test_names_without_a_certificate_are_shown_the_self_signed_default(self, site):
        for sni in ("bandicoot.example.com", "nobody.example.com", ""):
            answer = site.get("bandicoot.example.com", sni=sni)
            assert_served_by(answer, BANDICOOT, 8080)
            assert "Kubernetes Ingress Controller Fake Certificate" in subject_of(answer.certificate)

    # 22-ingress-v1.yaml

    @about("Service journal/frontend")
    def test_frontend_answers_on_its_cluster_ip(self, site):
        assert all(site.ask("10.100.30.1", 8080, 4))

    @about("EndpointSlice journal/frontend-x7k2p")
    def test_the_two_ready_endpoints_of_the_slice_take_turns_and_the_third_gets_nothing(self, site):
        assert_evenly(site.ask("10.100.30.1", 8080, 10), FRONTEND, 8080)

    @about("Service journal/fileserver")
    def test_fileserver_answers_on_its_cluster_ip(self, site):
        assert all(site.ask("10.100.30.2", 80, 4))

    @about("Endpoints journal/fileserver")
    def test_the_address_that_is_not_ready_gets_nothing(self, site):
        assert_evenly(site.ask("10.100.30.2", 80, 6), FILESERVER, 80)

    @about("IngressClass fairlead")
    def test_the_class_named_by_an_ingress_is_served_by_its_controller_alone(self, site):
        ports = {"http_port": 8081, "https_port": 8444}
        flags = [*site.source_flags, "--http-port=8081", "--https-port=8444", "--healthz-port=10354"]
        with Fairlead(site.node, "ingress", *flags, "--ingress-class=other", health_port=10354):
            assert_served_by(site.get("my-host.io", "/", sni="my-host.io", **ports), FILESERVER, 80)
            assert site.get("fleetmangmt.com", **ports).address not in WEBAPP
        with Fairlead(site.node, "ingress", *flags, "--controller-class=example.com/other", health_port=10354):
            assert site.get("my-host.io", "/", sni="my-host.io", **ports).address == ""

    @about("Ingress journal/journal")
    def test_the_journals_api_goes_to_the_named_port_of_frontend_and_the_rest_to_fileserver(self, site):
        for path in ("/api", "/api/", "/api/articles?page=2"):
            assert_served_by(site.get("my-host.io", path, sni="my-host.io"), FRONTEND, 8080)
        for path in ("/", "/apis", "/index.html", "/files/api"):
            assert_served_by(site.get("my-host.io", path, sni="my-host.io"), FILESERVER, 80)

    @about("Ingress journal/journal")
    def test_the_journal_has_its_own_certificate_and_is_only_served_by_https(self, site):
        assert site.get("my-host.io", sni="my-host.io").certificate == site.certificates["my-host.io"]
        answer = site.get("my-host.io", "/api")
        assert (answer.status, answer.headers["location"]) == (308, "https://my-host.io/api")

    # 30-fleetman.yaml

    @about("Service default/fleetman-webapp")
    def test_the_webapp_answers_on_cluster_ip_node_port_and_external_address(self, site):
        for address, port in (("10.103.151.47", 80), (site.NODE, 30080), ("192.168.64.7", 80)):
            assert_evenly(site.ask(address, port, 4), WEBAPP, 80)

    @about("Service default/fleetman-webapp")
    def test_the_external_address_answers_the_node_itself(self, site):
        assert_evenly([site.node.call(tcp_ask, "192.168.64.7", 80) for _ in range(4)], WEBAPP, 80)

    @about("Endpoints default/fleetman-webapp")
    def test_cluster_ip_node_port_and_external_address_share_one_turn_of_the_webapps_two_endpoints(self, site):
        answers = []
        for _ in range(3):
            for address, port in (("10.103.151.47", 80), (site.NODE, 30080), ("192.168.64.7", 80)):
                answers += site.ask(address, port)
        assert_evenly(answers, WEBAPP, 80)

    @about("Service default/fleetman-queue")
    def test_the_queues_ports_lead_to_their_own_target_ports(self, site):
        assert_evenly(site.ask("10.103.151.48", 80, 3), QUEUE, 8161)
        assert_evenly(site.ask(site.NODE, 30010, 3), QUEUE, 8161)
        assert_evenly(site.ask("10.103.151.48", 61616, 3), QUEUE, 61616)

    @about("Endpoints default/fleetman-queue")
    def test_the_queues_endpoint_ports_are_matched_by_name(self, site):
        assert [site.ask("10.103.151.48", port)[0].port for port in (80, 61616)] == [8161, 61616]
        assert site.ask("10.103.151.48", 8161)[0].verdict == REFUSED

    @about("Ingress default/basic-routing")
    def test_fleetmangmt_com_leads_to_the_webapp(self, site):
        assert_served_by(site.get("fleetmangmt.com", "/any"), WEBAPP, 80)

    @about("Ingress default/secure-routing")
    def test_the_queues_host_asks_for_a_password(self, site):
        answer = site.get("queue.fleetmangmt.com")
        assert (answer.status, answer.address) == (401, "")
        assert answer.headers["www-authenticate"] == 'Basic realm="Authentication Required"'

    @about("Ingress default/secure-routing")
    def test_the_queues_host_lets_in_who_knows_the_password(self, site):
        assert_served_by(site.get("queue.fleetmangmt.com", headers=credentials(USER, PASSWORD)), QUEUE, 8161)
        for user, password in ((USER, "looking-glass"), ("alice", PASSWORD), (USER, "")):
            assert site.get("queue.fleetmangmt.com", headers=credentials(user, password)).status == 401

    # 40-external.yaml

    @about("Service default/my-external-database")
    def test_the_database_answers_on_its_cluster_ip(self, site):
        assert all(site.ask("10.100.40.1", 3306, 3))

    @about("Endpoints default/my-external-database")
    def test_the_database_is_the_host_24_1_2_3_in_the_world_outside(self, site):
        answers = site.ask("10.100.40.1", 3306, 3)
        assert_evenly(answers, ["24.1.2.3"], 3306)
        assert {answer.host for answer in answers} == {"world"}

    @about("Service default/external-database")
    def test_a_service_that_is_only_a_name_gets_no_rules(self, site):
        assert "external-database" not in site.rules().replace("my-external-database", "")

    @about("Service default/mongo")
    def test_a_headless_service_gets_no_rules(self, site):
        assert "mongo" not in site.rules()

    @about("Endpoints default/mongo")
    def test_the_pods_of_a_headless_service_are_reached_directly(self, site):
        for address in pods(61, 62, 63):
            answer = site.ask(address, 27017)[0]
            assert (answer.address, answer.source) == (address, site.CLIENT)
            assert address not in site.rules()

    # all of them

    def test_there_is_a_test_for_each_object(self):
        tested = {each for function in vars(FirstManifests).values() for mark in getattr(function, "pytestmark", ())
                  for each in mark.args}
        assert tested == set(manifest_objects())


def credentials(user, password):
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}
