"""What the ingress's tests are made of: backends that do exactly what a test says, clients that send exact bytes, and the data
path itself, built with sanitizers (tests/net/ingress_driver.c)."""
import contextlib
import dataclasses
import os
import pathlib
import resource
import socket
import ssl
import struct
import subprocess
import tempfile
import threading
import time
from typing import Callable, Optional

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = pathlib.Path(os.environ.get("FAIRLEAD_BUILD", ROOT / "build"))
TIMEOUT_S = 10


def wait_until(condition: Callable, what: str, timeout_s: float = TIMEOUT_S):
    """Returns the first truthy value of condition()."""
    until = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < until, f"not within {timeout_s} s: {what}"
        time.sleep(0.01)


class Ended(Exception):
    """The peer closed before a message was complete."""


@dataclasses.dataclass
class Message:
    start: bytes
    fields: list
    body: bytes
    trailers: list
    raw_head: bytes

    @property
    def status(self) -> int:
        return int(self.start.split(b" ")[1])

    @property
    def target(self) -> bytes:
        return self.start.split(b" ")[1]

    def all(self, name: str) -> list:
        return [v for n, v in self.fields if n.lower() == name.lower().encode()]

    def get(self, name: str) -> Optional[bytes]:
        values = self.all(name)
        assert len(values) <= 1, f"{name} is there {len(values)} times"
        return values[0] if values else None


class Wire:
    """A socket that is read message by message."""

    def __init__(self, sock):
        self.sock = sock
        self.buffer = b""

    def send(self, data: bytes):
        self.sock.sendall(data)

    def fill(self):
        data = self.sock.recv(65536)
        if not data:
            raise Ended(self.buffer[-200:])
        self.buffer += data

    def until(self, mark: bytes) -> bytes:
        while mark not in self.buffer:
            self.fill()
        head, self.buffer = self.buffer.split(mark, 1)
        return head + mark

    def exactly(self, count: int) -> bytes:
        while len(self.buffer) < count:
            self.fill()
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data

    def rest(self) -> bytes:
        """Everything up to the peer's end; raises if that is a reset."""
        with contextlib.suppress(Ended):
            while True:
                self.fill()
        data, self.buffer = self.buffer, b""
        return data

    def head(self) -> Message:
        raw = self.until(b"\r\n\r\n")
        lines = raw[:-4].split(b"\r\n")
        return Message(lines[0], fields_of(lines[1:]), b"", [], raw)

    def chunked(self, message: Message):
        while True:
            size = int(self.until(b"\r\n")[:-2].split(b";")[0], 16)
            if size == 0:
                break
            message.body += self.exactly(size)
            assert self.exactly(2) == b"\r\n"
        while (line := self.until(b"\r\n")[:-2]):
            message.trailers += fields_of([line])

    def message(self, to_head: bool = False) -> Message:
        """A request, or an answer (to_head: to HEAD)."""
        message = self.head()
        is_answer = message.start.startswith(b"HTTP/")
        if is_answer and (message.status < 200 or message.status in (204, 304) or to_head):
            return message
        if message.get("transfer-encoding"):
            self.chunked(message)
        elif message.get("content-length"):
            message.body = self.exactly(int(message.get("content-length")))
        elif is_answer:
            message.body = self.rest()
        return message

    def is_closed(self) -> bool:
        """The peer ended: in order or by a reset."""
        try:
            return self.sock.recv(1) == b""
        except ConnectionResetError:
            return True

    def is_reset(self) -> bool:
        try:
            while self.sock.recv(65536):
                pass
            return False
        except ConnectionResetError:
            return True

    def reset(self):
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def fields_of(lines: list) -> list:
    return [(name, value.strip(b" ")) for name, value in (line.split(b":", 1) for line in lines)]


class Backend:
    """Runs `serve(wire)` for each connection, in a thread of its own. Keeps every byte that came."""

    def __init__(self, serve: Callable = None):
        self.serve = serve or answer_all
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = self.listener.getsockname()[1]
        self.addr = f"127.0.0.1:{self.port}"
        self.wires = []
        self.requests = []
        self.failures = []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            sock.settimeout(TIMEOUT_S * 3)
            wire = Wire(sock)
            wire.backend = self
            self.wires.append(wire)
            threading.Thread(target=self.handle, args=(wire,), daemon=True).start()

    def handle(self, wire: Wire):
        try:
            self.serve(wire)
        except (Ended, OSError):
            pass
        except Exception as failure:  # pylint: disable=broad-except
            self.failures.append(failure)
        finally:
            wire.close()

    def take(self, wire: Wire) -> Message:
        """The next request on the wire, remembered."""
        request = wire.message()
        self.requests.append(request)
        return request

    def close(self):
        # Without shutdown, a thread that waits in accept keeps the port open.
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for wire in self.wires:
            with contextlib.suppress(OSError):
                wire.sock.shutdown(socket.SHUT_RDWR)  # its thread may wait in recv, and closes it then


def ok(body: bytes = b"hello", extra: bytes = b"") -> bytes:
    return b"HTTP/1.1 200 OK\r\n%sContent-Length: %d\r\n\r\n%s" % (extra, len(body), body)


def answer_all(wire: Wire):
    """The usual backend: answers every request with its request line, and says which backend it is."""
    while True:
        request = wire.backend.take(wire)
        body = b"" if request.start.startswith(b"HEAD ") else request.start + b"\n" + request.body
        length = len(request.start) + 1 + len(request.body)
        wire.send(b"HTTP/1.1 200 OK\r\nX-Backend: %d\r\nContent-Length: %d\r\n\r\n%s" % (wire.backend.port, length, body))


class Refusal:
    """An address that refuses connections: bound, so that nobody else gets it, but not listening."""

    def __init__(self):
        self.sock = socket.socket()
        self.sock.bind(("127.0.0.1", 0))
        self.addr = f"127.0.0.1:{self.sock.getsockname()[1]}"

    def close(self):
        self.sock.close()


class Driver:
    """The data path under test."""

    binary = None

    def __init__(self, folder: pathlib.Path, spec: str, workers: int = 1, connections_max: int = 10000,
                 log_format: str = "nginx", log_path: str = None, files_max: int = None):
        self.folder = folder
        self.log_path = log_path or str(folder / "access.log")
        self.count = 0
        self.stderr = tempfile.TemporaryFile(mode="w+", errors="replace")
        command = [self.build(), self.write(spec), str(workers), str(connections_max), self.log_path, log_format]

        def limit():
            if files_max:
                resource.setrlimit(resource.RLIMIT_NOFILE, (files_max, files_max))

        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.stderr, text=True,
                                        preexec_fn=limit, env=dict(os.environ, TZ="UTC", ASAN_OPTIONS="detect_leaks=1"))
        line = self.process.stdout.readline().split()
        assert line and line[0] == "ports", self.complaint()
        self.http_port, self.https_port = int(line[1]), int(line[2])

    @classmethod
    def build(cls) -> str:
        if not cls.binary:
            target = os.path.relpath(BUILD, ROOT) + "/net/ingress_driver"
            subprocess.run(["make", "-s", f"BUILD={os.path.relpath(BUILD, ROOT)}", target], cwd=ROOT, check=True)
            cls.binary = str(ROOT / target)
        return cls.binary

    def write(self, spec: str) -> str:
        self.count += 1
        path = self.folder / f"spec{self.count}"
        path.write_text(spec)
        return str(path)

    def complaint(self) -> str:
        self.stderr.seek(0)
        return self.stderr.read()[-6000:]

    def command(self, line: str) -> str:
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        answer = ""
        while (got := self.process.stdout.readline()) != "done\n":
            assert got, self.complaint()
            answer += got
        return answer

    def publish(self, spec: str):
        self.command("publish " + self.write(spec))

    def metrics(self) -> dict:
        lines = [line for line in self.command("metrics").splitlines() if not line.startswith("#")]
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}

    def ends(self, reason: str) -> int:
        return int(self.metrics()[f'fairlead_ingress_exchange_ends_total{{reason="{reason}"}}'])

    def wait_end(self, reason: str, count: int = 1):
        wait_until(lambda: self.ends(reason) >= count, f"{count} exchanges ended by {reason}: {self.metrics()}")

    def log(self, count: int) -> list:
        """The lines of the access log, once there are `count`."""


        def lines():
            complete = pathlib.Path(self.log_path).read_text().split("\n")[:-1]
            return complete if len(complete) >= count else None

        return wait_until(lines, f"{count} lines in the access log")

    def resident_kib(self) -> int:
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))

    def cpu_s(self) -> float:
        with open(f"/proc/{self.process.pid}/stat", encoding="ascii") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def begin_stop(self, grace_s: float):
        self.process.stdin.write(f"stop {grace_s}\n")
        self.process.stdin.flush()

    def stop(self, grace_s: float = 1):
        """Ends it, and holds it to have been clean."""
        if self.process.poll() is None:
            with contextlib.suppress(BrokenPipeError):
                self.begin_stop(grace_s)
        code = self.process.wait(timeout=TIMEOUT_S + grace_s)
        for stream in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(BrokenPipeError):
                stream.close()
        assert code == 0, self.complaint()

    # ---- clients ----

    def connect(self, receive_buffer: int = None) -> Wire:
        sock = socket.socket()
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.settimeout(TIMEOUT_S)
        sock.connect(("127.0.0.1", self.http_port))
        return Wire(sock)

    def connect_tls(self, name: str = None, session=None, context: ssl.SSLContext = None, alpn: list = None) -> Wire:
        context = context or client_context()
        if alpn:
            context.set_alpn_protocols(alpn)
        sock = socket.create_connection(("127.0.0.1", self.https_port), timeout=TIMEOUT_S)
        return Wire(context.wrap_socket(sock, server_hostname=name, session=session))

    def ask(self, data: bytes, to_head: bool = False) -> Message:
        """One request on a connection of its own."""
        with self.connect() as wire:
            wire.send(data)
            return wire.message(to_head)

    def get(self, path: str = "/", host: str = "a.test", extra: bytes = b"") -> Message:
        return self.ask(b"GET %s HTTP/1.1\r\nHost: %s\r\n%s\r\n" % (path.encode(), host.encode(), extra))


def client_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def make_certificate(folder: pathlib.Path, name: str) -> str:
    """A self-signed certificate and its key in one file."""
    path = folder / f"{name}.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
                    "-keyout", f"{path}.key", "-out", f"{path}.crt", "-subj", f"/CN={name}", "-addext",
                    f"subjectAltName=DNS:{name}"], check=True, capture_output=True)
    path.write_bytes(pathlib.Path(f"{path}.crt").read_bytes() + pathlib.Path(f"{path}.key").read_bytes())
    return str(path)


def common_name(wire: Wire) -> str:
    der = wire.sock.getpeercert(binary_form=True)
    text = subprocess.run(["openssl", "x509", "-inform", "der", "-noout", "-subject", "-nameopt", "multiline"], input=der,
                          capture_output=True, check=True).stdout.decode()
    return text.rsplit("= ", 1)[1].strip()
