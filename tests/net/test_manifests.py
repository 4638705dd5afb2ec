"""fairlead run --manifests, with real traffic: the first manifests object by object, and files that change while clients ask."""

import contextlib
import json
import os
import re
import shutil

import pytest

from first_manifests import MANIFESTS, FirstManifests, Site, assert_evenly, make_secrets, pods
from netlab import REFUSED, Fairlead, Lab, Loop, http_get, require, tcp_ask, wait_for

NODEPORTS = "--nodeport-addresses=192.168.64.0/24"


def list_of(objects):
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})


class TestFirstManifests(FirstManifests):
    @pytest.fixture(scope="class")
    def site(self):
        require("nftables", "fairlead")
        with Lab() as lab:
            site = Site(lab)
            directory = lab.directory / "manifests"
            shutil.copytree(MANIFESTS, directory)
            secrets, site.certificates = make_secrets()
            (directory / "90-secrets.json").write_text(list_of(secrets))
            site.source_flags = [f"--manifests={directory}"]
            with Fairlead(site.node, "run", *site.source_flags, NODEPORTS):
                yield site


# ---- files that change ----

ADDRESS, PORT, HOST = "10.100.20.1", 8080, "web.example.com"

SERVICE = """\
apiVersion: v1
kind: Service
metadata: { name: web }
spec:
  clusterIP: 10.100.20.1
  ports: [{ port: 8080 }]
"""
INGRESS = """\
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: { name: web }
spec:
  rules:
  - host: web.example.com
    http: { paths: [{ path: /, pathType: Prefix, backend: { service: { name: web, port: { number: 8080 } } } }] }
"""


def endpoints(*numbers):
    addresses = "\n".join(f"  - ip: {address}" for address in pods(*numbers))
    return f"""\
apiVersion: v1
kind: Endpoints
metadata: {{ name: web }}
subsets:
- ports: [{{ port: 8080 }}]
  addresses:
{addresses}
"""


def web(*numbers):
    """The Service web, its Ingress and these endpoints: one manifest of three documents."""
    return "---\n".join((SERVICE, endpoints(*numbers), INGRESS))


class Files:
    """A site whose node has its manifests from `directory`, and clients of the service web that ask all the time."""

    def __init__(self, site, directory):
        self.site, self.directory = site, directory
        self.path = directory / "web.yaml"

    @contextlib.contextmanager
    def served(self, *paths):
        """fairlead reads `paths`, by default the directory; the clients ask until the end of the `with`."""
        manifests = [f"--manifests={path}" for path in paths or [self.directory]]
        with (Fairlead(self.site.node, "run", *manifests, NODEPORTS) as self.fairlead,
              Loop(self.site.client, tcp_ask, ADDRESS, PORT, pause_s=0.003) as self.tcp,
              Loop(self.site.client, http_get, self.site.NODE, 80, "/", HOST, pause_s=0.003) as self.http):
            yield

    def settles_on(self, *numbers):
        """Waits until exactly these pods answer both clients."""
        for loop in (self.tcp, self.http):
            wait_for(f"only {pods(*numbers)} answer",
                     lambda: {each.address for each in loop.more(4 * len(numbers))} == set(pods(*numbers)))

    def stays_on(self, *numbers):
        """These pods answered the clients' next questions, and no other."""
        for loop in (self.tcp, self.http):
            assert {each.address for each in loop.more(30)} == set(pods(*numbers))

    def nobody_noticed(self):
        assert (self.tcp.failures, self.http.failures) == ([], [])


@pytest.fixture
def files():
    require("nftables", "fairlead")
    with Lab() as lab:
        directory = lab.directory / "manifests"
        directory.mkdir()
        yield Files(Site(lab), directory)


def replace(path, text):
    """As editors and kubectl-like tools do: written aside, then renamed into place."""
    aside = path.with_name(f".{path.name}.new")
    aside.write_text(text)
    aside.rename(path)


def test_a_file_edited_in_place_is_in_force_and_no_request_fails(files):
    files.path.write_text(web(21, 22, 23))
    with files.served():
        files.settles_on(21, 22, 23)
        for numbers in ((22,), (22, 31), (21, 22, 23)):
            files.path.write_text(web(*numbers))
            files.settles_on(*numbers)
        files.nobody_noticed()


def test_a_file_replaced_by_rename_is_in_force_and_no_request_fails(files):
    files.path.write_text(web(21, 22, 23))
    with files.served():
        for numbers in ((22,), (22, 31), (21, 22, 23)):
            replace(files.path, web(*numbers))
            files.settles_on(*numbers)
        files.nobody_noticed()


def test_a_single_file_given_by_name_may_be_edited_and_replaced(files):
    files.path.write_text(web(21))
    (files.directory / "other.yaml").write_text("not: read\n")
    with files.served(files.path):
        files.path.write_text(web(22))
        files.settles_on(22)
        replace(files.path, web(23))
        files.settles_on(23)
        files.path.write_text(web(21))
        files.settles_on(21)
        files.nobody_noticed()


def mounted(directory, name, text):
    """A ConfigMap as the kubelet mounts it: the files are links through `..data`, which is exchanged."""
    revision = directory / f"..{name}"
    revision.mkdir()
    (revision / "web.yaml").write_text(text)
    (directory / "..data_tmp").symlink_to(revision.name)
    (directory / "..data_tmp").rename(directory / "..data")
    if not (directory / "web.yaml").is_symlink():
        (directory / "web.yaml").symlink_to("..data/web.yaml")


def test_a_mounted_configmap_that_is_exchanged_is_in_force_and_no_request_fails(files):
    mounted(files.directory, "first", web(21, 22, 23))
    with files.served():
        files.settles_on(21, 22, 23)
        mounted(files.directory, "second", web(22))
        shutil.rmtree(files.directory / "..first")
        files.settles_on(22)
        mounted(files.directory, "third", web(23, 31))
        shutil.rmtree(files.directory / "..second")
        files.settles_on(23, 31)
        files.nobody_noticed()


def test_a_directory_that_is_a_link_may_be_pointed_elsewhere(files):
    for name, numbers in (("blue", (21,)), ("green", (22,))):
        (files.directory / name).mkdir()
        (files.directory / name / "web.yaml").write_text(web(*numbers))
    current = files.directory / "current"
    current.symlink_to("blue")
    with files.served(current):
        files.settles_on(21)
        (files.directory / "next").symlink_to("green")
        os.replace(files.directory / "next", current)
        files.settles_on(22)
        (files.directory / "green/web.yaml").write_text(web(23))
        files.settles_on(23)
        files.nobody_noticed()


def test_a_file_half_written_keeps_what_was_in_force_until_it_is_whole(files):
    files.path.write_text(web(21, 22))
    text = "---\n".join((SERVICE, INGRESS, endpoints(23)))
    with files.served():
        with open(files.path, "w") as file:
            # Nothing yet; within documents; after a whole one; where the text is good YAML and says something else.
            for cut in (0, 20, text.index("paths:") + 12, text.index("subsets") + 4,
                        text.index("addresses:") + len("addresses:"), text.rindex("172.17.0.23") + len("172.17.0.2")):
                file.write(text[file.tell():cut])
                file.flush()
                files.stays_on(21, 22)
            file.write(text[file.tell():])
        files.settles_on(23)
        files.nobody_noticed()


def test_a_file_left_half_written_keeps_what_was_in_force_and_is_named_with_its_line(files):
    files.path.write_text(web(21, 22))
    with files.served():
        files.path.write_text(web(23)[:-30])
        wait_for("the log names the file", lambda: re.search(r"web\.yaml:\d+", files.fairlead.log))
        files.settles_on(23)     # the documents before the broken one are whole
        files.path.write_text(web(22))
        files.settles_on(22)
        files.nobody_noticed()


def test_a_wrong_object_keeps_its_last_good_version_while_the_others_go_on(files):
    files.path.write_text(web(21, 22))
    with files.served():
        wrong_port = web(23).replace("port: 8080 }]\n---", "port: 80800 }]\n---", 1)
        files.path.write_text(wrong_port)
        files.settles_on(23)
        assert re.search(r"web\.yaml:\d+.*Service.*default/web.*port.*80800", files.fairlead.log)
        files.nobody_noticed()


def test_a_deleted_file_takes_its_objects_with_it_and_no_others(files):
    files.path.write_text(web(21, 22))
    other = files.directory / "other.yaml"
    other.write_text(web(23).replace("name: web", "name: other").replace(ADDRESS, "10.100.20.2").replace(HOST, "other.example.com"))
    with files.served(), Loop(files.site.client, tcp_ask, "10.100.20.2", PORT, pause_s=0.003) as untouched:
        files.settles_on(21, 22)
        files.path.unlink()
        wait_for("web has no rules any more", lambda: "web" not in files.site.rules())
        wait_for("web has no route any more", lambda: files.http.more(1)[0].status == 404)
        files.path.write_text(web(22))
        files.settles_on(22)
        other.unlink()
        wait_for("other has no rules any more", lambda: "other" not in files.site.rules())
        files.stays_on(22)
    assert all(untouched.answers[:20])


def test_a_new_file_in_the_directory_is_read(files):
    files.path.write_text(web(21))
    with files.served():
        (files.directory / "more.yaml").write_text(endpoints(22).replace("name: web", "name: more") + "---\n" +
                                                   SERVICE.replace("name: web", "name: more").replace(ADDRESS, "10.100.20.2"))
        wait_for("the new service answers", lambda: files.site.ask("10.100.20.2", PORT)[0])
        files.nobody_noticed()


def test_scaled_by_its_file_to_none_and_back_a_service_refuses_only_while_it_has_no_endpoint(files):
    files.path.write_text(web(21, 22, 23))
    with files.served():
        files.settles_on(21, 22, 23)
        files.nobody_noticed()
        files.path.write_text("---\n".join((SERVICE, INGRESS)))
        wait_for("connections are refused", lambda: files.tcp.more(1)[0].verdict == REFUSED)
        wait_for("requests are answered 503", lambda: files.http.more(1)[0].status == 503)
        files.path.write_text(web(22))
        files.settles_on(22)
        files.path.write_text(web(21, 22, 23))
        files.settles_on(21, 22, 23)
        assert {each.verdict for each in files.tcp.failures} == {REFUSED}
        assert {each.status for each in files.http.failures} == {503}
    # in turn again, with nobody else asking
    with Fairlead(files.site.node, "run", f"--manifests={files.directory}", NODEPORTS):
        assert_evenly(files.site.ask(ADDRESS, PORT, 9), pods(21, 22, 23), PORT)


# ---- who wins ----

def claim(name, number, created=None):
    """An Ingress that claims web.example.com/ for its own Service, whose endpoint is the pod `number`."""
    renamed = web(number).replace("name: web", f"name: {name}").replace(ADDRESS, f"10.100.20.{number}")
    if created:
        renamed = renamed.replace("kind: Ingress\nmetadata: {", f'kind: Ingress\nmetadata: {{ creationTimestamp: "{created}",')
    return renamed


@pytest.mark.parametrize("claims, winner", [
    ([("a", 21, "2024-05-01T10:00:00Z"), ("b", 22, "2024-05-01T09:59:59Z"), ("c", 23, "2024-05-02T00:00:00Z")], 22),
    ([("a", 21, "2024-05-01T10:00:00Z"), ("b", 22, "2024-05-01T10:00:00Z")], 22),
    ([("b", 22, None), ("a", 21, None)], 22),
], ids=["the oldest", "of the same age the last by name", "without age the last by name"])
def test_of_ingresses_that_claim_the_same_path_one_wins(files, claims, winner):
    files.path.write_text("---\n".join(claim(*each) for each in claims))
    with Fairlead(files.site.node, "run", f"--manifests={files.directory}", NODEPORTS):
        assert {files.site.get(HOST).address for _ in range(10)} == set(pods(winner))
