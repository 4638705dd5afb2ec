"""Small networks for tests: hosts that are network namespaces, links, servers, clients, and fairlead on one of the hosts.

    with Lab() as lab:
        client, node, pods = lab.host("client"), lab.host("node"), lab.host("pods")
        lab.link(client, node, ["192.0.2.100/24"], ["192.0.2.1/24"])
        lab.link(pods, node, ["10.0.0.1/24", "10.0.0.2/24"], ["10.0.0.254/24"])
        pods.serve(tcp=[80], udp=[53])
        with Fairlead(node, "run", f"--manifests={path}"):
            answer = client.call(tcp_ask, "10.96.0.1", 80)      # .verdict, .address (the pod's), .source

1. A host's namespace has no name: it ends with the Lab, and with this process however that ends. So do all processes.
2. A thread enters a namespace by itself (setns), so a Python function, or a thread or process started there, runs inside
   at no cost. Processes die with the thread that started them.
3. Nothing waits on time: every wait is for a condition, with a deadline.
"""

import asyncio
import contextlib
import ctypes
import dataclasses
import functools
import http.client
import ipaddress
import itertools
import json
import os
import pathlib
import re
import shlex
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parents[2]
CLONE_NEWNET = 0x40000000
IP_PKTINFO, IPV6_RECVPKTINFO, IPV6_PKTINFO = 8, 49, 50
PROTOCOLS = {"tcp": socket.IPPROTO_TCP, "sctp": socket.IPPROTO_SCTP}
ANSWER, REFUSED, TIMEOUT, UNREACHABLE, CLOSED = "answer", "refused", "timeout", "unreachable", "closed"


def wait_for(what, condition, seconds=20):
    """Asks until `condition()` is true and returns its value; AssertionError after the deadline."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.01)
    return value


# ---- what a machine must have ----

def missing(feature):
    """Why this machine cannot do `feature` (namespaces, nftables, sctp, fairlead), or None."""
    return _MISSING[feature]()


def require(*features):
    """Skips the test, saying why, unless the machine has all of them."""
    import pytest
    for feature in features:
        if reason := missing(feature):
            pytest.skip(reason)


@functools.cache
def _missing_namespaces():
    try:
        os.close(_new_namespace())
    except OSError as error:
        return f"no network namespace can be made ({error.strerror}): run the tests as root"
    return None


@functools.cache
def _missing_nftables():
    if reason := missing("namespaces"):
        return reason
    with Lab() as lab:
        try:
            lab.host("probe").run("nft add table ip probe")
        except (OSError, RuntimeError) as error:
            return f"no nftables here: {error}"
    return None


@functools.cache
def _missing_sctp():
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_SCTP).close()
    except OSError as error:
        return f"the kernel has no SCTP sockets: {error.strerror}"
    return None


def _missing_fairlead():
    return None if Fairlead.program().exists() else f"{Fairlead.program()} is not built"


_MISSING = {"namespaces": _missing_namespaces, "nftables": _missing_nftables, "sctp": _missing_sctp,
            "fairlead": _missing_fairlead}


# ---- namespaces ----

_libc = ctypes.CDLL(None, use_errno=True)


def _must(result):
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _this_namespace():
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def _new_namespace():
    """A descriptor of a new network namespace; this thread stays where it is."""
    home = _this_namespace()
    try:
        _must(_libc.unshare(CLONE_NEWNET))
        try:
            return _this_namespace()
        finally:
            _must(_libc.setns(home, CLONE_NEWNET))
    finally:
        os.close(home)


class Lab:
    """Hosts and links. Everything made here is gone when the `with` ends; `directory` too."""

    def __init__(self):
        self._undo = contextlib.ExitStack()
        self._processes = []
        self.hosts = {}

    def __enter__(self):
        self.directory = pathlib.Path(self._undo.enter_context(
            tempfile.TemporaryDirectory(prefix=f"fairlead-lab-{os.getpid()}-", ignore_cleanup_errors=True)))
        return self

    def __exit__(self, *_):
        for process in reversed(self._processes):
            end(process)
        self._undo.close()

    def host(self, name):
        """A new host. It forwards nothing until told to."""
        assert name not in self.hosts, f"there is a host {name} already"
        fd = _new_namespace()
        self._undo.callback(os.close, fd)
        self.hosts[name] = Host(self, name, fd)
        return self.hosts[name]

    def link(self, a, b, a_addresses=(), b_addresses=()):
        """A cable between two hosts; each one's interface carries the other's name. Addresses have prefix lengths."""
        assert len(a.name) < 16 and len(b.name) < 16, "interface names have at most 15 characters"
        a.run(f"ip link add {b.name} type veth peer name {a.name} netns {b.path}")
        for host, peer, addresses in ((a, b, a_addresses), (b, a, b_addresses)):
            host.address(peer.name, *addresses)
            host.run(f"ip link set {peer.name} up")
        for host, peer in ((a, b), (b, a)):
            wait_for(f"{host.name} has its link to {peer.name}", lambda: host.has_link(peer.name))

    def started(self, process):
        """Has `process` ended with the lab at the latest."""
        self._processes.append(process)
        return process


class Host:
    def __init__(self, lab, name, fd):
        self.lab, self.name, self._fd = lab, name, fd
        self.path = f"/proc/{os.getpid()}/fd/{fd}"
        # Duplicate address detection would hold back IPv6 addresses for seconds.
        self.sysctl("net.ipv6.conf.all.accept_dad", 0)
        self.sysctl("net.ipv6.conf.default.accept_dad", 0)
        self.run("ip link set lo up")

    @contextlib.contextmanager
    def entered(self):
        """This thread is on the host within the `with`; so is what it starts there."""
        home = _this_namespace()
        try:
            _must(_libc.setns(self._fd, CLONE_NEWNET))
            try:
                yield self
            finally:
                _must(_libc.setns(home, CLONE_NEWNET))
        finally:
            os.close(home)

    def call(self, function, *args, **kwargs):
        """The value of a Python function that runs on this host."""
        with self.entered():
            return function(*args, **kwargs)

    def run(self, command, input=None):
        """Runs a command (text or a list) to its end and returns its stdout; RuntimeError with its stderr if it fails."""
        words = shlex.split(command) if isinstance(command, str) else list(map(str, command))
        with self.entered():
            done = subprocess.run(words, input=input, text=True, capture_output=True)
        if done.returncode:
            raise RuntimeError(f"{self.name}: {shlex.join(words)}: {(done.stderr or done.stdout).strip()}")
        return done.stdout

    def popen(self, command, **kwargs):
        """Starts a process that ends with the lab, or with this thread, at the latest."""
        words = shlex.split(command) if isinstance(command, str) else list(map(str, command))
        kwargs.setdefault("stdin", subprocess.DEVNULL)
        with self.entered():
            return self.lab.started(subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "--", *words], **kwargs))

    def sysctl(self, name, value):
        with self.entered(), open("/proc/sys/" + name.replace(".", "/"), "w") as file:
            file.write(str(value))

    def forward(self):
        """Makes a router of this host."""
        self.sysctl("net.ipv4.ip_forward", 1)
        self.sysctl("net.ipv6.conf.all.forwarding", 1)

    def address(self, interface, *addresses):
        """Adds addresses, each with its prefix length."""
        if addresses:
            self.run("ip -batch -", input="".join(f"addr add {each} dev {interface}\n" for each in addresses))

    def has_link(self, interface):
        """True once the kernel has noticed that the interface is up and lets all its addresses be used."""
        return "state UP" in self.run(f"ip link show {interface}") and not self.run(f"ip -6 addr show dev {interface} tentative")

    def route(self, destination, via):
        """A route; `via` is an address, or the name of an interface."""
        family = "-6" if ":" in destination + via else "-4"
        self.run(f"ip {family} route add {destination} {'via' if _is_address(via) else 'dev'} {via}")

    def bridge(self, name, *addresses):
        self.run(f"ip link add {name} type bridge")
        self.address(name, *addresses)
        self.run(f"ip link set {name} up")

    def attach(self, interface, bridge):
        self.run(f"ip link set {interface} master {bridge}")

    def serve(self, tcp=(), udp=(), sctp=()):
        """Starts one process that answers on these ports of all addresses, both families, and returns it when it does.
        TCP speaks HTTP/1.1 too. Every answer says who was asked, where, and by whom (see Conversation)."""
        ports = [f"{protocol}:{port}" for protocol, each in (("tcp", tcp), ("udp", udp), ("sctp", sctp)) for port in each]
        process = self.popen([sys.executable, "-I", __file__, self.name, *ports], stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "ready\n", f"{self.name}: the servers did not start"
        return process


def _is_address(text):
    with contextlib.suppress(ValueError):
        return bool(ipaddress.ip_address(text))
    return False


def end(process, sig=signal.SIGKILL, seconds=30):
    """Ends a process and returns its status; one that does not heed the signal is killed."""
    if process.poll() is None:
        process.send_signal(sig)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
    for stream in (process.stdout, process.stderr):
        if stream:
            stream.close()
    return process.wait()


# ---- clients ----

@dataclasses.dataclass(frozen=True)
class Answer:
    """What came of asking. True if there was an answer."""
    verdict: str        # ANSWER, REFUSED, TIMEOUT, UNREACHABLE; CLOSED: connected, then closed or reset without an answer
    host: str = ""      # the name of the host that answered,
    address: str = ""   # the address at which it was reached,
    port: int = 0
    source: str = ""    # and the caller's address as it saw it

    def __bool__(self):
        return self.verdict == ANSWER


@dataclasses.dataclass(frozen=True)
class HttpAnswer(Answer):
    """True if the status is 200. Host, address and `seen` are empty if a proxy answered by itself."""
    status: int = 0
    headers: dict = dataclasses.field(default_factory=dict)     # of the answer, names in lower case
    body: bytes = b""
    seen: dict = dataclasses.field(default_factory=dict)        # the request as the host saw it: method, target, headers
    certificate: str = ""                                       # the server's, as PEM

    def __bool__(self):
        return self.status == 200


def tcp_ask(address, port, timeout_s=3, source=None, protocol="tcp"):
    """Connects, asks who is there, closes. `source` is the (address, port) to bind to; `protocol` may be sctp."""
    def ask():
        with _connected(address, port, timeout_s, source, protocol) as connection:
            return TcpConnection(connection).ask()
    return _asked(Answer, ask)


class TcpConnection:
    """One connection, asked again and again. Raises OSError where there is none, or none any more."""

    def __init__(self, connection):
        self.socket = connection
        self._lines = connection.makefile("rb")

    @classmethod
    def to(cls, address, port, timeout_s=3, source=None):
        return cls(_connected(address, port, timeout_s, source))

    def ask(self):
        self.socket.sendall(b"who\n")
        return _answer(self._lines.readline())

    def close(self):
        self._lines.close()
        self.socket.close()


def udp_ask(address, port, timeout_s=1, source=None):
    """Sends one datagram and waits for its answer. With the same `source` (address, port) it is the same flow."""
    def ask():
        with socket.socket(_family(address), socket.SOCK_DGRAM) as client:
            if source:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                client.bind(source)
            client.settimeout(timeout_s)
            client.connect((address, port))
            client.send(b"who\n")
            return _answer(client.recv(2048))
    return _asked(Answer, ask)


def http_get(address, port, path="/", host=None, sni=None, timeout_s=5, source=None, **request):
    """One request on a connection of its own, by TLS if `sni` is given; `request` as in HttpConnection.ask."""
    def ask():
        connection = HttpConnection(address, port, sni, timeout_s, source)
        try:
            return connection.ask(path, host or sni, **request)
        finally:
            connection.close()
    return _asked(HttpAnswer, ask)


class HttpConnection:
    """A kept HTTP/1.1 connection. Requests are sent as given: no header is added but Host. Raises OSError (among them
    ssl.SSLError) and http.client.HTTPException."""

    def __init__(self, address, port, sni=None, timeout_s=5, source=None, tls=None):
        """`sni`: the server name to ask for, by TLS; "" for none. `tls`: an ssl.SSLContext, else nothing is verified."""
        self._authority = f"[{address}]" if ":" in address else address
        self.certificate = ""
        connection = _connected(address, port, timeout_s, source)
        if sni is not None:
            try:
                connection = (tls or _any_certificate()).wrap_socket(connection, server_hostname=sni or None)
            except BaseException:
                connection.close()
                raise
            self.certificate = ssl.DER_cert_to_PEM_cert(connection.getpeercert(binary_form=True))
        self.socket = connection
        self._http = http.client.HTTPConnection(address, port)
        self._http.auto_open = 0
        self._http.sock = connection

    def ask(self, path="/", host=None, method="GET", headers=None, body=None):
        self._http.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in {"Host": host or self._authority, **(headers or {})}.items():
            self._http.putheader(name, value)
        if body is not None:
            self._http.putheader("Content-Length", str(len(body)))
        self._http.endheaders(body)
        answer = self._http.getresponse()
        content = answer.read()
        headers = {name.lower(): value for name, value in answer.getheaders()}
        said = json.loads(content) if "x-netlab" in headers and content else {}
        return HttpAnswer(ANSWER, *(said.get(field, kind()) for field, kind in _SAID), status=answer.status,
                          headers=headers, body=content, seen=said.get("seen", {}), certificate=self.certificate)

    def close(self):
        self._http.close()


_SAID = (("host", str), ("address", str), ("port", int), ("source", str))


def _asked(kind, ask):
    """The answer, or what came instead of one."""
    try:
        return ask()
    except ConnectionRefusedError:
        return kind(REFUSED)
    except TimeoutError:
        return kind(TIMEOUT)
    except (ConnectionError, ssl.SSLError, http.client.HTTPException):
        return kind(CLOSED)
    except OSError:
        return kind(UNREACHABLE)


def _answer(line):
    if not line:
        raise ConnectionResetError("closed without an answer")
    said = json.loads(line)
    return Answer(ANSWER, *(said[field] for field, _ in _SAID))


def _family(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _connected(address, port, timeout_s, source=None, protocol="tcp"):
    connection = socket.socket(_family(address), socket.SOCK_STREAM, PROTOCOLS[protocol])
    try:
        connection.settimeout(timeout_s)
        if source:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            connection.bind(source)
        connection.connect((address, port))
        if protocol == "tcp":
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        connection.close()
        raise
    return connection


@functools.cache
def _any_certificate():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    return context


class Loop:
    """A client that asks without pause, in a thread of its own, while the `with` lasts. `answers` are kept in order."""

    def __init__(self, host, ask, *args, pause_s=0.001, **kwargs):
        self.answers = []
        self._host, self._ask, self._pause_s = host, functools.partial(ask, *args, **kwargs), pause_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._thread.start()
        self.more(1)
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()

    def more(self, count=20, seconds=20):
        """Waits for `count` questions that are asked and answered from now on, and returns the answers."""
        begin = len(self.answers) + 1   # one may be under way
        wait_for(f"{count} more answers", lambda: len(self.answers) >= begin + count or not self._thread.is_alive(), seconds)
        assert self._thread.is_alive(), "the client loop ended"
        return self.answers[begin:begin + count]

    @property
    def failures(self):
        """What was no answer (for HTTP: not 200)."""
        return [each for each in self.answers if not each]

    def _run(self):
        with self._host.entered():
            while not self._over.wait(self._pause_s):
                self.answers.append(self._ask())


# ---- fairlead ----

_numbers = itertools.count()
HEALTH_PORTS = {"run": 10254, "ingress": 10254, "proxy": 10256}


class Fairlead:
    """fairlead on a host: ready when the `with` begins, and asked to stop when it ends, which it must do in good order. If it
    ended before, and nobody stopped or killed it, the test fails. stdout (the access log) and stderr are kept in files."""

    def __init__(self, host, subcommand, *flags, health_port=None, env=None, prefix=()):
        """`prefix`: words before the command, of a program that becomes it by exec."""
        self.host = host
        self._command = [*prefix, self.program(), subcommand, *map(str, flags)]
        self._health_port = health_port or HEALTH_PORTS[subcommand]
        self._environment = {**os.environ, **(env or {})}
        self._log = host.lab.directory / f"fairlead-{host.name}-{next(_numbers)}.log"
        self._access_log = self._log.with_suffix(".access")
        self.process = None
        self._ended = True

    @staticmethod
    def program():
        return (ROOT / os.environ.get("FAIRLEAD_BUILD", "build") / "fairlead").resolve()

    def __enter__(self):
        self.start()
        self.wait_ready()
        return self

    def __exit__(self, failure, *_):
        try:
            if failure is None and not self._ended:
                assert self.process.poll() is None, f"fairlead ended with {self.process.returncode}\n{self.log[-6000:]}"
                assert self.stop() == 0, f"fairlead did not stop in good order: {self.process.returncode}\n{self.log[-6000:]}"
        finally:
            self.kill()

    def start(self):
        """Starts it, again if it has ended, without waiting; logs are appended."""
        self._ended = False
        with open(self._log, "ab") as log, open(self._access_log, "ab") as access_log:
            self.process = self.host.popen(self._command, stdout=access_log, stderr=log, env=self._environment)

    def wait_ready(self, seconds=20):
        """Waits for /readyz; AssertionError with the log if it ends or does not become ready."""
        try:
            wait_for("fairlead is ready", lambda: self.process.poll() is not None or self.ready(), seconds)
            assert self.process.poll() is None, f"fairlead ended with {self.process.returncode}"
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log[-6000:]}") from None

    def ready(self):
        return bool(self._health("/readyz"))

    def metrics(self):
        """The samples of /metrics: 'name{labels}' -> value."""
        samples = re.findall(r"^([a-zA-Z_:][\w:]*(?:\{.*\})?) (\S+)$", self._health("/metrics").body.decode(), re.M)
        return {name: float(value) for name, value in samples}

    def stop(self, seconds=30):
        """SIGTERM; returns the exit status."""
        self._ended = True
        return end(self.process, signal.SIGTERM, seconds)

    def kill(self):
        self._ended = True
        return end(self.process, signal.SIGKILL)

    def wait_ended(self, seconds=20):
        """Waits until it ends by itself; returns the exit status."""
        status = self.process.wait(seconds)
        self._ended = True
        return status

    def signal(self, sig):
        self.process.send_signal(sig)

    @property
    def pid(self):
        return self.process.pid

    @property
    def log(self):
        return self._log.read_text(errors="replace")

    @property
    def access_log(self):
        return self._access_log.read_text(errors="replace")

    @property
    def rss_bytes(self):
        status = pathlib.Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s*(\d+) kB", status)[1]) * 1024

    def _health(self, path):
        return self.host.call(http_get, "127.0.0.1", self._health_port, path)


# ---- servers: this file run as a program, `netlab.py NAME tcp:80 udp:53 ...` ----

class Conversation:
    """One TCP connection. A line `who` is answered by a line of JSON, any number of times. Anything else is HTTP/1.1: the
    body is the same JSON with the request as seen. Query parameters: status=N, wait=SECONDS, and bytes=N for a body of N
    bytes instead. A request to upgrade is granted; then every byte is echoed."""

    def __init__(self, name, reader, writer):
        self._reader, self._writer = reader, writer
        address, port = writer.get_extra_info("sockname")[:2]
        self._said = {"host": name, "address": address, "port": port, "source": writer.get_extra_info("peername")[0]}

    async def run(self):
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while line := await self._reader.readline():
                if line == b"who\n":
                    self._writer.write(json.dumps(self._said).encode() + b"\n")
                elif line.strip():
                    await self._request(line)
                await self._writer.drain()
        self._writer.close()

    async def _request(self, line):
        method, target, _ = line.decode("latin-1").split(" ", 2)
        head = await self._reader.readuntil(b"\r\n\r\n")
        headers = {name.strip().lower(): value.strip() for name, _, value in
                   (each.partition(":") for each in head.decode("latin-1").strip().split("\r\n"))}
        if "upgrade" in headers:
            return await self._echo(headers["upgrade"])
        body = await self._body(headers)
        query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(target).query))
        await asyncio.sleep(float(query.get("wait", 0)))
        seen = {"method": method, "target": target, "headers": headers, "body_bytes": len(body)}
        self._reply(method, query, json.dumps({**self._said, "seen": seen}).encode())

    def _reply(self, method, query, said):
        content = bytes(int(query["bytes"])) if "bytes" in query else said
        kind = "" if "bytes" in query else "X-Netlab: said\r\nContent-Type: application/json\r\n"
        head = f"HTTP/1.1 {query.get('status', 200)} Said\r\n{kind}Content-Length: {len(content)}\r\n\r\n".encode()
        self._writer.write(head if method == "HEAD" else head + content)

    async def _body(self, headers):
        if "chunked" not in headers.get("transfer-encoding", ""):
            return await self._reader.readexactly(int(headers.get("content-length", 0)))
        parts = []
        while size := int((await self._reader.readline()).split(b";")[0], 16):
            parts.append(await self._reader.readexactly(size))
            await self._reader.readline()
        while (await self._reader.readline()).strip():
            pass
        return b"".join(parts)

    async def _echo(self, protocol):
        self._writer.write(f"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\n\r\n".encode())
        while part := await self._reader.read(65536):
            self._writer.write(part)
            await self._writer.drain()


class Datagrams:
    """Answers each datagram from the address that it was sent to."""

    def __init__(self, name, family, port):
        self._name, self._port = name, port
        self._level, self._kind = (socket.IPPROTO_IP, IP_PKTINFO) if family == socket.AF_INET else (socket.IPPROTO_IPV6, IPV6_PKTINFO)
        self._socket = _bound(family, socket.SOCK_DGRAM, port, socket.IPPROTO_UDP)
        self._socket.setsockopt(self._level, IP_PKTINFO if family == socket.AF_INET else IPV6_RECVPKTINFO, 1)
        self._socket.setblocking(False)
        asyncio.get_running_loop().add_reader(self._socket, self._receive)

    def _receive(self):
        with contextlib.suppress(OSError):
            _, ancillary, _, peer = self._socket.recvmsg(2048, 256)
            info = next(data for level, kind, data in ancillary if (level, kind) == (self._level, self._kind))
            address, source = self._addresses(info)
            said = {"host": self._name, "address": address, "port": self._port, "source": peer[0]}
            self._socket.sendmsg([json.dumps(said).encode()], [(self._level, self._kind, source)], 0, peer)

    def _addresses(self, info):
        """The address that was reached, and the control message that answers from it."""
        if self._level == socket.IPPROTO_IP:
            _, _, reached = struct.unpack("=i4s4s", info)
            return socket.inet_ntop(socket.AF_INET, reached), struct.pack("=i4s4s", 0, reached, bytes(4))
        reached, _ = struct.unpack("=16si", info)
        return socket.inet_ntop(socket.AF_INET6, reached), struct.pack("=16si", reached, 0)


def _bound(family, kind, port, protocol):
    server = socket.socket(family, kind, protocol)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    server.bind(("::" if family == socket.AF_INET6 else "0.0.0.0", port))
    return server


async def _serve(name, ports):
    def converse(reader, writer):
        return Conversation(name, reader, writer).run()
    for protocol, port in ports:
        for family in (socket.AF_INET, socket.AF_INET6):
            if protocol == "udp":
                Datagrams(name, family, port)
                continue
            listener = _bound(family, socket.SOCK_STREAM, port, PROTOCOLS[protocol])
            await asyncio.start_server(converse, sock=listener, backlog=1024)
    print("ready", flush=True)
    await asyncio.Event().wait()


def _main():
    name, *ports = sys.argv[1:]
    asyncio.run(_serve(name, [(protocol, int(port)) for protocol, port in (each.split(":") for each in ports)]))


if __name__ == "__main__":
    _main()
