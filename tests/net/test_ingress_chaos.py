"""Clients and endpoints that do anything at all to the ingress's data path, under sanitizers, while its routes change: it must
neither crash nor leak, and every request that began must have ended, each for one reason."""
import contextlib
import random
import socket
import ssl
import threading
import time

import pytest

from ingresslab import Backend, Driver, Ended, Refusal, Wire, make_certificate, wait_until

SECONDS = 6
HOST = b"Host: a.test\r\n"
REQUESTS = [
    b"GET / HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n" + HOST + b"\r\n",
    b"HEAD / HTTP/1.1\r\n" + HOST + b"\r\n",
    b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\nhello",
    b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\n" + HOST + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
    b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 300000\r\n\r\n" + b"z" * 300_000,
    b"POST /small HTTP/1.1\r\n" + HOST + b"Content-Length: 100\r\n\r\n" + b"q" * 100,
    b"GET / HTTP/1.1\r\n" + HOST + b"Connection: upgrade\r\nUpgrade: websocket\r\n\r\nearly",
    b"GET /secret HTTP/1.1\r\n" + HOST + b"Authorization: Basic am9lOnRlc3Q=\r\n\r\n",
    b"GET /secret HTTP/1.1\r\n" + HOST + b"Authorization: Basic am9lOm5v\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: nobody.test\r\n\r\n",
    b"TRACE / HTTP/1.1\r\n" + HOST + b"\r\n",
]
ANSWERS = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2000\r\n" + b"y" * 8192 + b"\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n" + b"x" * 200_000,
    b"HTTP/1.0 200 OK\r\n\r\nuntil the end",
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nxyz",
    b"HTTP/1.1 413 No\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx",
    b"junk\r\n\r\n",
]


def mutated(dice: random.Random, data: bytes) -> bytes:
    """Most of the time the same; sometimes a few octets are changed, lost or put in."""
    if dice.random() > 0.25 or len(data) > 5000:
        return data
    changed = bytearray(data)
    for _ in range(dice.randint(1, 3)):
        at = dice.randrange(len(changed) + 1)
        what = dice.random()
        if what < 0.4:
            changed[at:at + 1] = bytes([dice.randrange(256)])
        elif what < 0.7:
            del changed[at:at + dice.randint(1, 6)]
        else:
            changed[at:at] = bytes(dice.randrange(256) for _ in range(dice.randint(1, 4)))
    return bytes(changed)


def send_in_pieces(dice: random.Random, wire: Wire, data: bytes):
    while data:
        size = dice.choice([1, 2, 7, 50, 500, 5000, 100_000])
        wire.send(data[:size])
        data = data[size:]
        if dice.random() < 0.1:
            time.sleep(dice.random() * 0.004)


def endpoint(seed: int):
    """An endpoint of one's nightmares."""
    dice = random.Random(seed)

    def serve(wire: Wire):
        wire.sock.settimeout(1)
        while True:
            with contextlib.suppress(ValueError, AssertionError):
                wire.message()
            if dice.random() < 0.05:
                time.sleep(dice.random() * 0.6)
            answer = mutated(dice, dice.choice(ANSWERS))
            if dice.random() < 0.15:
                answer = answer[:dice.randrange(len(answer) + 1)]
            if dice.random() < 0.05:
                wire.reset()
                return
            send_in_pieces(dice, wire, answer)
            if answer.startswith(b"HTTP/1.1 101"):
                while data := wire.sock.recv(1000):
                    wire.send(data)
                return
            if dice.random() < 0.2:
                return

    return serve


def client(driver: Driver, seed: int, until: float):
    """One connection after the other; some over TLS, half closed, reset, or never read from."""
    dice = random.Random(seed)
    while time.monotonic() < until:
        with contextlib.suppress(OSError, Ended):
            wire = driver.connect_tls("a.test") if dice.random() < 0.3 else driver.connect()
            wire.sock.settimeout(0.8)
            data = b"".join(mutated(dice, dice.choice(REQUESTS)) for _ in range(dice.randint(1, 4)))
            sender = threading.Thread(target=send_and_perhaps_end, args=(random.Random(dice.random()), wire, data))
            sender.start()
            with contextlib.suppress(OSError):
                for _ in range(dice.randint(0, 30)):
                    if not wire.sock.recv(dice.choice([10, 1000, 100_000])):
                        break
            if dice.random() < 0.3 and not isinstance(wire.sock, ssl.SSLSocket):
                wire.reset()
            else:
                wire.close()
            sender.join()


def send_and_perhaps_end(dice: random.Random, wire: Wire, data: bytes):
    with contextlib.suppress(OSError, ValueError):
        send_in_pieces(dice, wire, data)
        if dice.random() < 0.2:
            wire.sock.shutdown(socket.SHUT_WR)


@pytest.mark.parametrize("seed", [1])
def test_anything_at_all_is_survived_and_accounted_for(tmp_path, seed):
    backends = [Backend(endpoint(seed * 100 + i)) for i in range(3)]
    refusal = Refusal()
    certificate = make_certificate(tmp_path, "a.test")

    def spec(count: int) -> str:
        addrs = [backend.addr for backend in backends[:count]] + [refusal.addr] * (count % 2)
        return f"""
set head_timeout_s 0.5
set body_idle_timeout_s 0.6
set idle_timeout_s 1
set requests_per_connection_max 7
htpasswd joe:{{SHA}}qUqP5cyxm6YcTAhz05Hph5gvu9M=
default-certificate {certificate}
upstream 1 shop-web-80 {' '.join(addrs)}
host a.test
route / prefix 1 read=0.3 connect=0.3
route /secret prefix 1 auth
route /small prefix 1 body_max=50
"""

    driver = Driver(tmp_path, spec(3), workers=2, log_format="json", files_max=400)
    until = time.monotonic() + SECONDS
    clients = [threading.Thread(target=client, args=(driver, seed * 1000 + i, until)) for i in range(24)]
    for thread in clients:
        thread.start()
    dice = random.Random(seed)
    while time.monotonic() < until:
        time.sleep(0.05)
        driver.publish(spec(dice.randint(1, 3)))
        driver.metrics()
    for thread in clients:
        thread.join()
    active = 'nginx_ingress_controller_nginx_process_connections{state="active"}'
    wait_until(lambda: driver.metrics()[active] == 0, "all connections to end")
    metrics = driver.metrics()
    begun = metrics["nginx_ingress_controller_nginx_process_requests_total"]
    assert begun > 100
    assert begun == sum(value for name, value in metrics.items() if "exchange_ends_total" in name)
    assert metrics['fairlead_ingress_exchange_ends_total{reason="ok"}'] > 20
    assert len(driver.log(int(begun))) == begun
    driver.stop()
    for backend in backends:
        backend.close()
    refusal.close()
