"""Whatever is written to the API server, in whatever order, while fairlead is killed and the server restarted: soon every
Service and route is what the objects say, with real traffic, and nothing was refused by the kernel on the way.

Each run takes FAIRLEAD_SEED if that is set, else the seeds below; FAIRLEAD_LONG=1 makes many rounds."""

import os
import random
import signal

import pytest

from fairlead_nodes import CLASSES, INGRESSES, NODE_NAME, SECRETS, SERVICES, SLICES, ClusterSite, create_service, ingress, rule, slice_of
from first_manifests import make_certificate, pods, subject_of, tls_secret
from netlab import REFUSED, Fairlead, Lab, require, wait_for

PODS = pods(21, 22, 23, 31, 32, 33, 34, 41, 42, 44, 51, 52, 53, 61, 62, 63)
SHARED = "shared.example.com"
NAMES = [f"s{number}" for number in range(8)]
ROUNDS = 100 if os.environ.get("FAIRLEAD_LONG") == "1" else 8


class Objects:
    """Services, each with a slice, an Ingress and at times a certificate, that change at random; and what they should come to."""

    def __init__(self, cluster, dice):
        self._cluster, self._dice = cluster, dice
        self._pairs = {name: make_certificate(f"{name}.example.com") for name in NAMES}
        self.addresses, self.endpoints = {}, {}
        self.node_ports, self.certificates = {}, {}     # of those that have one

    def edit(self):
        name = self._dice.choice(NAMES)
        if name not in self.addresses:
            return self._create(name)
        ways = {self._scale: 12, self._delete: 2, self._reroute: 3, self._retype: 3, self._certify: 2}
        return self._dice.choices(list(ways), list(ways.values()))[0](name)

    def delete_all(self):
        for name in list(self.addresses):
            self._delete(name)

    def _some_pods(self):
        return self._dice.sample(PODS, self._dice.randint(0, 4))

    def _create(self, name):
        self.addresses[name] = create_service(self._cluster, name, selector=False)
        self.endpoints[name] = self._some_pods()
        self._cluster.api("POST", SLICES, slice_of(name, *self.endpoints[name]))
        self._cluster.api("POST", INGRESSES, ingress(name, *rules(name, name),
                                                     tls=[{"hosts": [f"{name}.example.com"], "secretName": name}]))

    def _scale(self, name):
        self.endpoints[name] = self._some_pods()
        self._cluster.api("PATCH", f"{SLICES}/{name}", slice_of(name, *self.endpoints[name]))

    def _delete(self, name):
        for path in (SERVICES, SLICES, INGRESSES):
            self._cluster.api("DELETE", f"{path}/{name}")
        del self.addresses[name], self.endpoints[name]
        self.node_ports.pop(name, None)
        if self.certificates.pop(name, None):
            self._cluster.api("DELETE", f"{SECRETS}/{name}")

    def _retype(self, name):
        """Becomes a NodePort or none, and gets a port that no endpoint has or loses it."""
        ports = [{"name": "http", "port": 8080}, {"name": "extra", "port": 9090}][:self._dice.randint(1, 2)]
        kind = self._dice.choice(("ClusterIP", "NodePort"))
        spec = self._cluster.api("PATCH", f"{SERVICES}/{name}", {"spec": {"type": kind, "ports": ports}})["spec"]
        self.node_ports.pop(name, None)
        if kind == "NodePort":
            self.node_ports[name] = spec["ports"][0]["nodePort"]

    def _certify(self, name):
        """Its Secret is made, or goes."""
        if self.certificates.pop(name, None):
            self._cluster.api("DELETE", f"{SECRETS}/{name}")
        else:
            self.certificates[name] = self._pairs[name][0]
            self._cluster.api("POST", SECRETS, tls_secret("default", name, *self._pairs[name]))

    def _reroute(self, name):
        """Something else changes of the Ingress; what is asked for stays."""
        other = self._dice.choice(NAMES)
        self._cluster.api("PATCH", f"{INGRESSES}/{name}", {"spec": {"rules": rules(name, other)}})


def rules(name, other):
    """Of one Ingress: a path of a host that it shares, and a host of its own."""
    return [rule(SHARED, (f"/{name}", name)), rule(f"{name}.example.com", ("/", other))]


def wrong(site, objects):
    """What is not as the objects say, as text; empty if all is well."""
    fronts = [(name, address, 8080) for name, address in objects.addresses.items()]
    fronts += [(name, site.NODE, port) for name, port in objects.node_ports.items()]
    return [text for name, *front in fronts for text in wrong_service(site, *front, objects.endpoints[name])] + \
           [text for name in objects.addresses for text in
            (*wrong_route(site, name, objects.endpoints[name]), *wrong_certificate(site, name, objects.certificates.get(name)))]


def wrong_service(site, address, port, endpoints):
    answers = [site.probe(address, port) for _ in range(2 * len(endpoints) or 1)]
    if sorted(each.address for each in answers if each) != sorted(2 * endpoints) or \
            (not endpoints and answers[0].verdict != REFUSED):
        yield f"{address}:{port} with {endpoints}: {[each.address or each.verdict for each in answers]}"


def wrong_route(site, name, endpoints):
    # Workers go round on their own: each of them may begin with the same endpoint.
    answers = [site.get(SHARED, f"/{name}/x", sni=SHARED) for _ in range(4 * len(endpoints) or 1)]
    seen = {each.address or each.status for each in answers}
    if seen != set(endpoints or [503]):
        yield f"/{name} with {endpoints}: {seen}"


def wrong_certificate(site, name, expected):
    shown = site.get(f"{name}.example.com", sni=f"{name}.example.com").certificate
    if shown != expected and (expected or "Fake" not in subject_of(shown)):
        yield f"{name}.example.com shows {subject_of(shown)}, expected {'its own' if expected else 'the default'}"


def what_stays_wrong(site, objects):
    try:
        wait_for("all is as the objects say", lambda: not wrong(site, objects))
    except AssertionError:
        return wrong(site, objects)
    return []


@pytest.fixture(scope="module")
def site(programs):
    require("nftables", "fairlead")
    with Lab() as lab:
        site = ClusterSite(lab)
        with site.control.entered(), site.control_plane() as site.cluster:
            site.cluster.create_node(NODE_NAME, addresses=[site.NODE], pod_cidrs=["172.17.0.0/16"])
            site.cluster.api("POST", CLASSES, {"metadata": {"name": "fairlead"}, "spec": {"controller": "fairlead.dev/ingress"}})
            yield site


@pytest.mark.parametrize("seed", [int(os.environ["FAIRLEAD_SEED"])] if "FAIRLEAD_SEED" in os.environ else [1, 2])
def test_after_any_edits_in_any_order_everything_is_as_the_objects_say(site, seed):
    cluster, dice = site.cluster, random.Random(seed)
    objects = Objects(cluster, dice)
    with Fairlead(site.node, "run", f"--kubeconfig={cluster.kubeconfig()}", f"--hostname-override={NODE_NAME}") as fairlead:
        for _ in range(ROUNDS):
            for _ in range(dice.randint(1, 60)):
                objects.edit()
            if dice.random() < 0.25:
                fairlead.kill()
                objects.edit()
                fairlead.start()
                fairlead.wait_ready()
            if dice.random() < 0.2:
                cluster.stop_apiserver(signal.SIGKILL)
                cluster.start_apiserver()
                objects.edit()
            left = what_stays_wrong(site, objects)
            assert not left, "\n".join((*left, fairlead.log[-4000:]))
        assert "level=error" not in fairlead.log
    objects.delete_all()
