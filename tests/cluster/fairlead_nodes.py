"""fairlead nodes of a real control plane, for tests: the hosts of the first manifests with an API server in reach, the
manifests as that server accepts them, and a clock for changes of the node's rules."""

import json
import re
import select
import socket
import statistics
import struct
import threading
import time

import controlplane
from first_manifests import Site, make_secrets, manifest_files
from netlab import Fairlead

SERVICE_CIDRS = "10.96.0.0/12,fd00:10:96::/112"     # wide enough for the addresses in the manifests
NODE_NAME = "n1"
SERVICE_ACCOUNT_DIRECTORY = "/run/secrets/kubernetes.io/serviceaccount"


class ClusterSite(Site):
    """A Site whose node reaches the API server that runs on `control`:

        control 192.168.65.1 ── 192.168.65.2 node
    """
    CONTROL = "192.168.65.1"

    def __init__(self, lab):
        super().__init__(lab)
        self.control = lab.host("control")
        lab.link(self.control, self.node, [f"{self.CONTROL}/24"], ["192.168.65.2/24"])

    def control_plane(self):
        """To be started, and asked, by a thread that is on `control`."""
        return controlplane.ControlPlane(bind=self.CONTROL, apiserver_args=[f"--service-cluster-ip-range={SERVICE_CIDRS}"])

    def proxy(self, cluster):
        """fairlead proxy with kube-proxy's rights and no others."""
        return Fairlead(self.node, "proxy", f"--kubeconfig={cluster.kubeconfig('system:kube-proxy', groups=())}",
                        f"--hostname-override={NODE_NAME}")

    def ingress(self, cluster, *flags, **kwargs):
        """fairlead ingress as in a Pod of the ServiceAccount fairlead/ingress. It serves the old class annotation nginx, and
        the IngressClass fairlead."""
        return Fairlead(self.node, "ingress", *(flags or ["--ingress-class=nginx"]), **kwargs,
                        env={"KUBERNETES_SERVICE_HOST": self.CONTROL, "KUBERNETES_SERVICE_PORT": str(cluster.port)},
                        prefix=in_pod(cluster.serviceaccount_directory("fairlead", "ingress")))


def in_pod(serviceaccount_directory):
    """Words before a command that let it see the directory where Pods do."""
    script = f'mount -t tmpfs none /run && mkdir -p {SERVICE_ACCOUNT_DIRECTORY} && ' \
             f'mount --bind "$0" {SERVICE_ACCOUNT_DIRECTORY} && exec "$@"'
    return ["unshare", "--mount", "--propagation=private", "sh", "-c", script, serviceaccount_directory]


def accepted_manifests():
    """The texts of the first manifests with old Ingresses in the shape that is served today."""
    return [_today(path.read_text()) for path in manifest_files()]


def _today(text):
    return "\n---\n".join(_ingress_today(document) if re.search(r"^apiVersion: .*v1beta1$", document, re.M) else document
                          for document in text.split("\n---\n"))


def _ingress_today(document):
    document = re.sub(r"^apiVersion: .*$", "apiVersion: networking.k8s.io/v1", document, flags=re.M)
    document = re.sub(r"\{ serviceName: (\S+), servicePort: (\d+) \}",
                      r"{ service: { name: \1, port: { number: \2 } } }", document)
    document = re.sub(r"^  backend:", "  defaultBackend:", document, flags=re.M)
    return re.sub(r"^( *)- (path: .*|backend: .*)$", r"\1- pathType: ImplementationSpecific\n\1  \2", document, flags=re.M)


def apply_first_manifests(cluster):
    """Everything in the order a person would: class before Ingresses. Returns the certificates in force by host."""
    secrets, certificates = make_secrets()
    cluster.kubectl("create", "namespace", "journal")
    texts = accepted_manifests()
    cluster.apply(next(each for text in texts for each in text.split("\n---\n") if "kind: IngressClass" in each))
    for text in texts:
        _apply(cluster, text)
    cluster.apply(json.dumps({"apiVersion": "v1", "kind": "List", "items": secrets}))
    return certificates


def _apply(cluster, text):
    try:
        cluster.apply(text)
    except RuntimeError as error:
        # The Endpoints of a Service with a selector: its controller may be quicker than kubectl.
        if "AlreadyExists" not in str(error):
            raise
        cluster.apply(text)


# ---- objects, in the namespace default ----

SERVICES, SECRETS = "/api/v1/namespaces/default/services", "/api/v1/namespaces/default/secrets"
SLICES = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
INGRESSES = "/apis/networking.k8s.io/v1/namespaces/default/ingresses"
CLASSES = "/apis/networking.k8s.io/v1/ingressclasses"


def create_service(cluster, name, selector=True):
    """A Service with port 8080; returns its cluster IP."""
    spec = {"ports": [{"name": "http", "port": 8080}], **({"selector": {"app": name}} if selector else {})}
    return cluster.api("POST", SERVICES, {"metadata": {"name": name}, "spec": spec})["spec"]["clusterIP"]


def slice_of(name, *addresses):
    return {"metadata": {"name": name, "labels": {"kubernetes.io/service-name": name}}, "addressType": "IPv4",
            "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
            "endpoints": [{"addresses": [address]} for address in addresses]}


def rule(host, *paths):
    """A rule of an Ingress; paths are (path, service) pairs, each service's port being 8080."""
    return {"host": host, "http": {"paths": [
        {"path": path, "pathType": "Prefix", "backend": {"service": {"name": service, "port": {"number": 8080}}}}
        for path, service in paths]}}


def ingress(name, *rules, **spec):
    return {"metadata": {"name": name}, "spec": {"ingressClassName": "fairlead", "rules": list(rules), **spec}}


# ---- clocks ----

NETLINK_NETFILTER, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, NFNLGRP_NFTABLES = 12, 270, 1, 7
NFT_MSG_NEWGEN = 10 << 8 | 15


class RuleClock:
    """Hears when nf_tables transactions are committed on a host: `times` grows by one each while the `with` lasts."""

    def __init__(self, host):
        self.times = []
        with host.entered():
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
        self._socket.bind((0, 0))
        self._socket.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, NFNLGRP_NFTABLES)
        self._stop_read, self._stop = socket.socketpair()
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.close()
        self._thread.join()
        self._stop_read.close()
        self._socket.close()

    def _listen(self):
        while self._stop_read not in select.select([self._socket, self._stop_read], [], [])[0]:
            heard = time.monotonic()
            if NFT_MSG_NEWGEN in _message_types(self._socket.recv(1 << 20)):
                self.times.append(heard)


def _message_types(datagram):
    while len(datagram) >= 16:
        length, kind = struct.unpack_from("=IH", datagram)
        yield kind
        datagram = datagram[(length + 3) & ~3:]


def latency_text(what, seconds):
    """One line of figures, in milliseconds."""
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    return (f"{what}: p50 {cuts[49] * 1e3:.1f} ms, p99 {cuts[98] * 1e3:.1f} ms, "
            f"largest {max(seconds) * 1e3:.1f} ms ({len(seconds)} changes)")
