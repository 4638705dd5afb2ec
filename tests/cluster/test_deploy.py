"""What deploy/ gives a cluster: accepted by a real API server, and with exactly the rights that the program uses."""
import pathlib
import re

import pytest

from fairlead_nodes import NODE_NAME, ClusterSite
from netlab import Fairlead, Lab, require

DEPLOY = pathlib.Path(__file__).resolve().parents[2] / "deploy"
PROXY, BOTH = DEPLOY / "proxy.yaml", DEPLOY / "fairlead.yaml"


@pytest.fixture(scope="module")
def site(programs):
    require("nftables", "fairlead")
    with Lab() as lab:
        site = ClusterSite(lab)
        with site.control.entered(), site.control_plane() as site.cluster:
            site.cluster.create_node(NODE_NAME, addresses=["192.168.65.2"])
            site.cluster.apply(PROXY)
            site.cluster.apply(BOTH)
            yield site


def refused(site, account):
    return [each["requestURI"] for each in site.cluster.requests(f"system:serviceaccount:kube-system:{account}")
            if each.get("responseStatus", {}).get("code") in (401, 403)]


def test_the_proxy_runs_with_the_rights_and_settings_of_its_manifest(site, tmp_path):
    config = site.cluster.api("GET", "/api/v1/namespaces/kube-system/configmaps/fairlead-proxy")["data"]["config.conf"]
    kubeconfig = site.cluster.serviceaccount_kubeconfig("kube-system", "fairlead-proxy")
    (tmp_path / "config.conf").write_text(config.replace("/etc/fairlead/kubeconfig.conf", str(kubeconfig)))
    with Fairlead(site.node, "proxy", f"--config={tmp_path / 'config.conf'}", f"--hostname-override={NODE_NAME}") as fairlead:
        assert "unknown" not in fairlead.log and "has no effect" not in fairlead.log
    assert refused(site, "fairlead-proxy") == []


def test_the_daemon_set_asks_for_net_admin_only(site):
    pod = site.cluster.api("GET", "/apis/apps/v1/namespaces/kube-system/daemonsets/fairlead-proxy")["spec"]["template"]["spec"]
    security = pod["containers"][0]["securityContext"]
    assert security["capabilities"] == {"drop": ["ALL"], "add": ["NET_ADMIN"]}
    assert security["readOnlyRootFilesystem"] and not security["allowPrivilegeEscalation"] and pod["hostNetwork"]


def test_both_halves_run_with_the_rights_and_arguments_of_their_manifest(site):
    pod = site.cluster.api("GET", "/apis/apps/v1/namespaces/kube-system/daemonsets/fairlead")["spec"]["template"]["spec"]
    flags = {"--kubeconfig": site.cluster.serviceaccount_kubeconfig("kube-system", "fairlead"),
             "--hostname-override": NODE_NAME}
    command, *arguments = pod["containers"][0]["args"]
    arguments = [f"{name}={flags.get(name, value)}" for name, _, value in (each.partition("=") for each in arguments)]
    with Fairlead(site.node, command, *arguments) as fairlead:
        assert "unknown flag" not in fairlead.log
    assert refused(site, "fairlead") == []


@pytest.mark.parametrize("manifest", [PROXY, BOTH], ids=lambda path: path.name)
def test_the_program_and_the_manifest_name_one_version(manifest):
    version = (DEPLOY.parent / "VERSION").read_text().strip()
    assert set(re.findall(r"image: fairlead:(\S+)", manifest.read_text())) == {version}
