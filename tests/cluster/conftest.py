"""One control plane for all tests of this folder. Where there can be none they are skipped, and it is said why."""

import pytest

import controlplane


@pytest.fixture(scope="session")
def programs(request):
    """The directory of the pinned programs. A first build takes minutes and is seen on the terminal."""
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        try:
            return controlplane.programs()
        except controlplane.Unavailable as reason:
            print(f"\nSKIP {reason}")
            pytest.skip(str(reason))


@pytest.fixture(scope="session")
def cluster(programs):
    """A control plane with two Nodes, n1 and n2."""
    with controlplane.ControlPlane() as running:
        for name, address in (("n1", "198.18.0.1"), ("n2", "198.18.0.2")):
            running.create_node(name, addresses=[address])
        yield running


@pytest.fixture
def namespace(cluster):
    name = cluster.create_namespace()
    yield name
    cluster.delete_namespace(name)
