"""A real Kubernetes control plane for tests: etcd, kube-apiserver and
kube-controller-manager on a private port, with data that dies with it.

    with ControlPlane() as cluster:
        cluster.create_node("n1", addresses=["198.18.0.1"])
        cluster.create_pod("default", "a", labels={"app": "x"}, node="n1", ip="10.0.0.1")
        cluster.apply(service_yaml)

1. Only processes started here are ended, by process id. They die with the
   thread that started them, whatever ends it (PR_SET_PDEATHSIG).
2. Nothing waits on time: every wait is for a condition, with a deadline.
3. There is no kubelet, scheduler or workload controller. A Pod is what the
   test says it is; what follows from it (EndpointSlices, Endpoints, garbage
   collection) is done by the real controllers.
"""

import contextlib
import fcntl
import ipaddress
import itertools
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.parse

import authority
from apiclient import ApiClient, ApiError

HERE = pathlib.Path(__file__).resolve().parent
EXIT_SKIP = 77

SERVICE_CIDRS = ("10.96.0.0/16", "fd00:10:96::/112")
KUBERNETES_SERVICE = ("10.96.0.1", "fd00:10:96::1", "localhost", "kubernetes", "kubernetes.default",
                      "kubernetes.default.svc", "kubernetes.default.svc.cluster.local")

# The controllers whose work a proxy or an ingress sees. Node lifecycle is left out, so that Nodes stay as set.
CONTROLLERS = ("endpoints-controller", "endpointslice-controller", "endpointslice-mirroring-controller",
               "garbage-collector-controller", "namespace-controller", "service-cidr-controller",
               "serviceaccount-controller", "serviceaccount-token-controller")

# ServiceAccount would refuse Pods until the account exists, TaintNodesByCondition would taint every new Node.
ADMISSION_OFF = ("ServiceAccount", "TaintNodesByCondition")

# Requests of the harness itself and of the controllers are not recorded.
AUDIT_POLICY = """\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: None
  userGroups: ["system:masters"]
- level: Metadata
"""


class Unavailable(Exception):
    """This machine cannot run a control plane; the text says why."""


def pinned_version():
    """The Kubernetes release in go.mod, as 1.2.3."""
    return re.search(r"k8s\.io/kubernetes v([0-9.]+)", (HERE / "go.mod").read_text())[1]


def programs():
    """The directory of the pinned programs, building them first where needed (see ./build)."""
    for tool in ("openssl", "setpriv"):
        if not shutil.which(tool):
            raise Unavailable(f"tests/cluster: {tool} is not installed")
    build = subprocess.run([HERE / "build"], stdout=subprocess.PIPE, text=True)
    if build.returncode == EXIT_SKIP:
        raise Unavailable(f"tests/cluster: no Kubernetes {pinned_version()} and no Go to build it")
    build.check_returncode()
    return pathlib.Path(build.stdout.strip())


def wait_for(what, condition, seconds=30):
    """Asks until `condition()` is true and returns its value; AssertionError after the deadline."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.02)
    return value


class ControlPlane:
    """`bind`: the address the API server listens on; nodes in other network
    namespaces need one they can reach, such as their bridge's.
    `addresses`: further addresses and names its certificate is good for.
    `etcd`: another etcd program than the pinned one.
    `controllers`, `apiserver_args`: added to what runs by default.

    An IPv4 address among these that is not loopback is also published as the endpoint of
    the Service default/kubernetes, as in a real cluster."""

    def __init__(self, bind="127.0.0.1", addresses=(), etcd=None, controllers=(), apiserver_args=()):
        self.version = pinned_version()
        self._bind = bind
        self._names = (bind, *addresses)
        self._programs = programs()
        self._etcd_program = etcd or self._programs / "etcd"
        self._controllers = (*CONTROLLERS, *controllers)
        self._apiserver_args = apiserver_args
        self._running = {}
        self._numbers = itertools.count()
        self._undo = contextlib.ExitStack()

    # Life

    def __enter__(self):
        try:
            self._prepare()
            self._start_etcd()
            self.start_apiserver()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        for name in reversed(list(self._running)):
            self._end(name, signal.SIGKILL)
        self._undo.close()

    def start_apiserver(self):
        """Starts the API server on the address and data it had, then the controllers.
        Returns when it is ready and the controllers work."""
        self._spawn("kube-apiserver", *self._apiserver_flags())
        self._wait_running("kube-apiserver", "/readyz is ok", self.ready)
        # The controllers ask for a whole API server once a second: give them one that is there.
        self._spawn("kube-controller-manager", *self._controller_manager_flags())
        self._wait_running("kube-controller-manager", "there is a default ServiceAccount",
                           lambda: self.exists("/api/v1/namespaces/default/serviceaccounts/default"))

    def stop_apiserver(self, sig=signal.SIGTERM):
        """Ends the API server: in good order, or with SIGKILL as in a crash. The
        controllers are ended too, for a client that failed waits up to 30 s before
        it tries again. The port stays ours: connections to it are refused."""
        self._end("kube-controller-manager", signal.SIGKILL)
        self._end("kube-apiserver", sig)
        self._api.drop()

    def ready(self):
        """True if the API server says on /readyz that it serves."""
        try:
            return self.api("GET", "/readyz") == "ok"
        except (ApiError, OSError):
            return False

    def pid(self, program):
        """The process id of `etcd`, `kube-apiserver` or `kube-controller-manager`."""
        return self._running[program].pid

    def log(self, program):
        """What `program` has written so far."""
        return (self.directory / f"{program}.log").read_text(errors="replace")

    # Requests

    def api(self, method, path, body=None, content_type=None, timeout_s=30):
        """One request as cluster administrator; returns the decoded answer. A write is
        committed when this returns. PATCH is a JSON merge patch unless `content_type`
        says another. Raises ApiError (with .status and .reason), or OSError where
        there is no server. Threads may call it at the same time."""
        return self._api.request(method, path, body, content_type, timeout_s)

    def exists(self, path):
        try:
            self.api("GET", path)
        except ApiError as error:
            if error.status != 404:
                raise
            return False
        return True

    def kubectl(self, *args, input=None):
        """Runs kubectl as cluster administrator; returns its stdout, raises with its stderr."""
        done = subprocess.run([self._programs / "kubectl", *map(str, args)], input=input, text=True,
                              capture_output=True, cwd=self.directory, env=self._environment())
        if done.returncode:
            raise RuntimeError(f"kubectl {' '.join(map(str, args))}: {done.stderr.strip()}")
        return done.stdout

    def apply(self, manifest):
        """kubectl apply of a manifest: a pathlib.Path, or the text itself."""
        if isinstance(manifest, pathlib.Path):
            return self.kubectl("apply", "-f", manifest.resolve())
        return self.kubectl("apply", "-f", "-", input=manifest)

    def requests(self, user):
        """What `user` asked of the API server so far, oldest first: audit events with
        verb, requestURI, userAgent, responseStatus. A watch shows when it begins
        (stage ResponseStarted) and again when it ends (ResponseComplete). The record may
        lag behind the answer: wait for what should be there."""
        whole_lines = (self.directory / "audit.log").read_text().split("\n")[:-1]
        return [event for event in map(json.loads, whole_lines) if event["user"]["username"] == user]

    # Credentials

    def server(self, address=None):
        """The API server's URL, as seen from where `address` leads to it."""
        return f"https://{_in_url(address or self._address)}:{self.port}"

    def kubeconfig(self, user="kubernetes-admin", groups=("system:masters",), address=None):
        """A kubeconfig file with a client certificate for `user`. What the user may do
        is RBAC's word: `kubeconfig("system:kube-proxy", groups=())` may do what kube-proxy may."""
        certificate, key = self._authority.client(self._fresh_name("client"), user, groups)
        return self._write_kubeconfig(address, {"client-certificate-data": authority.inline(certificate),
                                                "client-key-data": authority.inline(key)})

    def serviceaccount_token(self, namespace, name, expires_s=3600):
        """What `kubectl create token` gives."""
        answer = self.api("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token",
                          {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
                           "spec": {"expirationSeconds": expires_s}})
        return answer["status"]["token"]

    def serviceaccount_kubeconfig(self, namespace, name, address=None):
        return self._write_kubeconfig(address, {"token": self.serviceaccount_token(namespace, name)})

    def serviceaccount_directory(self, namespace, name):
        """A directory as Pods find it at /var/run/secrets/kubernetes.io/serviceaccount."""
        directory = self.directory / self._fresh_name("serviceaccount")
        directory.mkdir()
        (directory / "token").write_text(self.serviceaccount_token(namespace, name))
        (directory / "namespace").write_text(namespace)
        shutil.copy(self._authority.ca, directory / "ca.crt")
        return directory

    # Nodes and Pods, whose kubelet is the test

    def create_namespace(self, prefix="test"):
        """A namespace with a name of its own; returns the name."""
        made = self.api("POST", "/api/v1/namespaces", {"metadata": {"generateName": prefix + "-"}})
        return made["metadata"]["name"]

    def delete_namespace(self, name):
        """Begins to delete a namespace and all in it; its Pods are gone when this returns."""
        self.api("DELETE", f"/api/v1/namespaces/{name}/pods?gracePeriodSeconds=0")
        self.api("DELETE", f"/api/v1/namespaces/{name}")

    def create_node(self, name, addresses=(), pod_cidrs=(), zone=None, labels=None, ready=True):
        """A Node with these InternalIPs. `zone` becomes its topology.kubernetes.io/zone label."""
        labels = {"kubernetes.io/hostname": name, **(labels or {})}
        if zone:
            labels["topology.kubernetes.io/zone"] = zone
        spec = {"podCIDR": pod_cidrs[0], "podCIDRs": list(pod_cidrs)} if pod_cidrs else {}
        resources = {"cpu": "4", "memory": "8Gi", "pods": "110"}
        return self.api("POST", "/api/v1/nodes", {
            "metadata": {"name": name, "labels": labels},
            "spec": spec,
            "status": {"addresses": [{"type": "InternalIP", "address": each} for each in addresses],
                       "conditions": _conditions(Ready=ready),
                       "capacity": resources, "allocatable": resources}})

    def create_pod(self, namespace, name, labels=None, node=None, ip=None, ready=True, ports=None, **spec):
        """A Pod, bound to `node` if given, running with `ip` (one, or one of each family) if
        given. `ports` are container ports by name, `spec` any further field of its spec.
        The Node has to exist: Pods of unknown Nodes get no endpoint."""
        container = {"name": "main", "image": "none",
                     "ports": [{"name": each, "containerPort": port} for each, port in (ports or {}).items()]}
        self.api("POST", f"/api/v1/namespaces/{namespace}/pods", {
            "metadata": {"name": name, "labels": labels or {}},
            "spec": {"containers": [container], **({"nodeName": node} if node else {}), **spec}})
        if ip:
            self.set_pod_status(namespace, name, ip=ip, ready=ready)

    def set_pod_status(self, namespace, name, ip=None, ready=None, phase="Running", node=None):
        """What the kubelet would report; None leaves a field as it is. `node` binds an unbound Pod."""
        pod = f"/api/v1/namespaces/{namespace}/pods/{name}"
        if node:
            self.api("POST", pod + "/binding", {"metadata": {"name": name},
                                                "target": {"kind": "Node", "name": node}})
        status = {"phase": phase}
        if ip:
            ips = [ip] if isinstance(ip, str) else list(ip)
            status |= {"podIP": ips[0], "podIPs": [{"ip": each} for each in ips]}
        if ready is not None:
            status["conditions"] = _conditions(Ready=ready, ContainersReady=ready)
        return self.api("PATCH", pod + "/status", {"status": status})

    def delete_pod(self, namespace, name, grace_s=0):
        """Removes a Pod. With grace it is left terminating, until deleted again without:
        only a Pod bound to a node has one."""
        return self.api("DELETE", f"/api/v1/namespaces/{namespace}/pods/{name}?gracePeriodSeconds={grace_s}")

    def endpoint_slices(self, namespace, service):
        selector = urllib.parse.quote(f"kubernetes.io/service-name={service}")
        return self.api("GET", f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"
                               f"?labelSelector={selector}")["items"]

    def ready_addresses(self, namespace, service):
        """The addresses of all ready endpoints in a Service's slices, sorted."""
        return sorted(address for each in self.endpoint_slices(namespace, service)
                      for endpoint in each["endpoints"] or () if endpoint["conditions"].get("ready", True)
                      for address in endpoint["addresses"])

    # How it is built

    def _prepare(self):
        self.directory = self._undo.enter_context(_private_directory())
        self._reserved = self._undo.enter_context(_reserved_port(self._bind))
        self.port = self._reserved.getsockname()[1]
        self._address = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self._bind, self._bind)
        self._make_credentials()
        (self.directory / "audit-policy.yaml").write_text(AUDIT_POLICY)

    def _make_credentials(self):
        self._authority = authority.Authority(self.directory / "pki")
        self._serving = self._authority.server(
            "kube-apiserver", dict.fromkeys((*self._names, "127.0.0.1", "::1", *KUBERNETES_SERVICE)))
        self._token_key = self._authority.signing_key("serviceaccount")
        certificate, key = self._authority.client("admin", "kubernetes-admin", ["system:masters"])
        self._api = ApiClient(self._address, self.port, self._authority.ca, certificate, key)
        self._undo.callback(self._api.drop)
        self._admin_kubeconfig = self.kubeconfig()

    def _write_kubeconfig(self, address, credentials):
        path = self.directory / (self._fresh_name("kubeconfig") + ".yaml")
        path.write_text(authority.kubeconfig(self.server(address), self._authority.ca, credentials))
        return path

    def _fresh_name(self, stem):
        return f"{stem}-{next(self._numbers)}"

    def _start_etcd(self):
        # Unix sockets beside the data: no port to take. Etcd before 3.5 wants host:port as their name.
        client, peer = "unix://client:1", "unix://peer:1"
        self._spawn("etcd", "--data-dir=etcd", "--unsafe-no-fsync",
                    "--heartbeat-interval=20", "--election-timeout=200",
                    f"--listen-client-urls={client}", f"--advertise-client-urls={client}",
                    f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}",
                    f"--initial-cluster=default={peer}", program=self._etcd_program)

    def _apiserver_flags(self):
        certificate, key = self._serving
        return ("--etcd-servers=unix://client:1",
                f"--bind-address={self._bind}", f"--secure-port={self.port}", "--permit-port-sharing",
                *self._advertised(),
                f"--cert-dir={self.directory / 'pki'}",
                f"--tls-cert-file={certificate}", f"--tls-private-key-file={key}",
                f"--client-ca-file={self._authority.ca}",
                "--authorization-mode=RBAC", "--allow-privileged",
                f"--disable-admission-plugins={','.join(ADMISSION_OFF)}",
                f"--service-cluster-ip-range={','.join(SERVICE_CIDRS)}",
                "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
                f"--service-account-signing-key-file={self._token_key}",
                f"--service-account-key-file={self._token_key}",
                # Without it an open watch holds up the end of the server for a minute.
                "--shutdown-watch-termination-grace-period=1s",
                "--audit-policy-file=audit-policy.yaml", "--audit-log-path=audit.log",
                *self._apiserver_args)

    def _advertised(self):
        """Publishes an address of the family of the first Service CIDR; loopback is refused by the server."""
        public = [name for name in self._names if _is_public_ipv4(name)]
        if public:
            return (f"--advertise-address={public[0]}",)
        return ("--advertise-address=192.0.2.1", "--endpoint-reconciler-type=none")

    def _controller_manager_flags(self):
        return (f"--kubeconfig={self._admin_kubeconfig}", f"--controllers={','.join(self._controllers)}",
                f"--service-account-private-key-file={self._token_key}", f"--root-ca-file={self._authority.ca}",
                "--leader-elect=false", "--secure-port=0", "--kube-api-qps=1000", "--kube-api-burst=1000")

    # Processes

    def _spawn(self, name, *args, program=None):
        assert name not in self._running, f"{name} runs already"
        with open(self.directory / f"{name}.log", "ab") as log:
            self._running[name] = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", program or self._programs / name, *args],
                cwd=self.directory, env=self._environment(), stdin=subprocess.DEVNULL, stdout=log,
                stderr=subprocess.STDOUT, start_new_session=True)

    def _wait_running(self, name, what, condition):
        """Waits for a condition that `name` brings about, or fails with its last words."""
        def met_or_ended():
            return condition() or self._running[name].poll() is not None
        try:
            wait_for(what, met_or_ended, seconds=120)
            if self._running[name].poll() is not None:
                raise AssertionError(f"{name} ended with {self._running[name].returncode}")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{name}: {self.log(name)[-4000:]}") from None

    def _end(self, name, sig):
        process = self._running.pop(name, None)
        if process is None:
            return
        try:
            process.send_signal(sig)
            process.wait(timeout=90)
        finally:
            process.kill()
            process.wait()

    def _environment(self):
        return {"PATH": os.environ["PATH"], "HOME": str(self.directory),
                "KUBECONFIG": str(getattr(self, "_admin_kubeconfig", ""))}


@contextlib.contextmanager
def _private_directory():
    """A directory in memory where there is one, and removed at the end. Those of runs
    that were killed are removed here too: an owner holds the lock on its file."""
    base = pathlib.Path("/dev/shm" if os.access("/dev/shm", os.W_OK) else tempfile.gettempdir())
    for left in base.glob("fairlead-cluster-*/owner"):
        with contextlib.suppress(OSError), open(left) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(left.parent)
    with tempfile.TemporaryDirectory(prefix="fairlead-cluster-", dir=base, ignore_cleanup_errors=True) as name:
        directory = pathlib.Path(name)
        with open(directory / "owner.new", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            (directory / "owner.new").rename(directory / "owner")
            yield directory


def _reserved_port(host):
    """A socket that holds a free port without listening, so that the API server can
    share it, give it up and take it again, and nobody else can."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    holder = socket.socket(family, socket.SOCK_STREAM)
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    holder.bind((host, 0))
    return holder


def _conditions(**states):
    return [{"type": kind, "status": str(state)} for kind, state in states.items()]


def _is_public_ipv4(name):
    with contextlib.suppress(ValueError):
        address = ipaddress.IPv4Address(name)
        return not (address.is_loopback or address.is_unspecified)
    return False


def _in_url(host):
    return f"[{host}]" if ":" in host else host
