"""The ingress's data path, byte by byte: what clients send, what endpoints see, and what each is told when the other fails."""
import json
import os
import re
import socket
import ssl
import subprocess
import threading
import time

import pytest

from ingresslab import (Backend, Driver, Ended, Refusal, Wire, answer_all, client_context, common_name, make_certificate, ok,
                        wait_until)

GET = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"


@pytest.fixture
def lab(tmp_path):
    """Makes backends and drivers; ends them, and holds them to have been clean."""
    made = Lab(tmp_path)
    yield made
    made.close()


class Lab:
    def __init__(self, folder):
        self.folder = folder
        self.backends = []
        self.drivers = []
        self.refusals = []

    def backend(self, serve=None) -> Backend:
        self.backends.append(Backend(serve))
        return self.backends[-1]

    def refusal(self) -> str:
        self.refusals.append(Refusal())
        return self.refusals[-1].addr

    def driver(self, spec: str, **options) -> Driver:
        self.drivers.append(Driver(self.folder, spec, **options))
        return self.drivers[-1]

    def one(self, serve=None, route: str = "", settings: str = "", **options):
        """One backend behind one host with one route."""
        backend = self.backend(serve)
        return backend, self.driver(simple(backend.addr, route=route, settings=settings), **options)

    def close(self):
        failures = [failure for backend in self.backends for failure in backend.failures]
        for backend in self.backends:
            backend.close()
        for driver in self.drivers:
            driver.stop()
        for refusal in self.refusals:
            refusal.close()
        assert not failures, failures


def simple(*addrs: str, route: str = "", settings: str = "", host: str = "a.test") -> str:
    return f"{settings}\nupstream 1 shop-web-80 {' '.join(addrs)}\nhost {host}\nroute / prefix 1 {route}\n"


# ---- what the endpoint sees ----


def test_the_endpoint_sees_the_head_rewritten(lab):
    backend, driver = lab.one()
    answer = driver.ask(b"GET /a/../b?x=1&y HTTP/1.1\r\nUser-Agent: t\r\nhOsT: a.test:8080\r\nX-Forwarded-For: 6.6.6.6\r\n"
                        b"X-Forwarded-For: 7.7.7.7\r\nX-Forwarded-Proto: https\r\nX-Real-IP: 6.6.6.6\r\nX_Real_IP: 6.6.6.6\r\n"
                        b"Forwarded: for=6.6.6.6\r\nProxy: evil\r\nssl-client-verify: SUCCESS\r\nX-Request-ID: mine\r\n"
                        b"Connection: keep-alive, X-Drop\r\nX-Drop: 1\r\nKeep-Alive: 5\r\nTE: trailers\r\nX-Keep: a  b\r\n\r\n")
    assert answer.status == 200
    head = backend.requests[0].raw_head
    assert head == (b"GET /a/../b?x=1&y HTTP/1.1\r\nHost: a.test:8080\r\nUser-Agent: t\r\nX-Keep: a  b\r\nX-Request-ID: mine\r\n"
                    b"X-Real-IP: 127.0.0.1\r\nX-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Host: a.test:8080\r\n"
                    b"X-Forwarded-Port: %d\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Scheme: http\r\nX-Scheme: http\r\n"
                    b"X-Original-Forwarded-For: 6.6.6.6, 7.7.7.7\r\n\r\n" % driver.http_port)


def test_a_request_without_id_gets_one_of_32_hexadecimal_digits(lab):
    backend, driver = lab.one()
    driver.get()
    driver.get()
    ids = [request.get("x-request-id") for request in backend.requests]
    assert all(re.fullmatch(rb"[0-9a-f]{32}", i) for i in ids) and ids[0] != ids[1]


def test_the_absolute_form_is_turned_into_the_origin_form(lab):
    backend, driver = lab.one()
    assert driver.ask(b"GET http://a.test/p?q HTTP/1.1\r\nHost: a.test\r\n\r\n").status == 200
    assert driver.ask(b"GET http://a.test HTTP/1.1\r\nHost: a.test\r\n\r\n").status == 200
    assert [request.target for request in backend.requests] == [b"/p?q", b"/"]


def test_a_trusted_proxy_says_who_the_client_is(lab):
    backend, driver = lab.one(settings="set trust_forwarded 1")
    driver.get(extra=b"X-Forwarded-For: 10.1.2.3, 10.9.9.9\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: shop.test\r\n"
               b"X-Forwarded-Prefix: /p\r\n")
    request = backend.requests[0]
    assert request.get("x-forwarded-for") == request.get("x-real-ip") == b"10.1.2.3"
    assert (request.get("host"), request.get("x-forwarded-proto"), request.get("x-forwarded-port")) == (b"shop.test", b"https",
                                                                                                       b"443")
    assert request.get("x-forwarded-prefix") == b"/p"
    assert driver.log(1)[0].startswith("10.1.2.3 - - [")


# ---- framing, connections, pipelines ----


def test_connections_are_kept_on_both_sides(lab):
    backend, driver = lab.one()
    with driver.connect() as wire:
        for i in range(5):
            wire.send(b"GET /%d HTTP/1.1\r\nHost: a.test\r\n\r\n" % i)
            assert wire.message().body == b"GET /%d HTTP/1.1\n" % i
    assert len(backend.wires) == 1


def test_a_pipeline_is_answered_in_order(lab):
    backend, driver = lab.one()
    with driver.connect() as wire:
        wire.send(b"".join(b"GET /%d HTTP/1.1\r\nHost: a.test\r\n\r\n" % i for i in range(20)) +
                  b"POST /p HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\nabcGET /last HTTP/1.1\r\nHost: a.test\r\n\r\n")
        for i in range(20):
            assert wire.message().body == b"GET /%d HTTP/1.1\n" % i
        assert wire.message().body == b"POST /p HTTP/1.1\nabc"
        assert wire.message().body == b"GET /last HTTP/1.1\n"
    assert len(backend.requests) == 22


def test_requests_arrive_whole_when_sent_one_octet_at_a_time(lab):
    _, driver = lab.one()
    with driver.connect() as wire:
        wire.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for octet in (b"POST /x HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n"
                      b"5;ext=1\r\nhello\r\n6\r\n world\r\n0\r\nX-T: 1\r\n\r\n" + GET):
            wire.send(bytes([octet]))
        assert wire.message().body == b"POST /x HTTP/1.1\nhello world"
        assert wire.message().body == b"GET / HTTP/1.1\n"


@pytest.mark.parametrize("size", [0, 1, 4000, 16367, 16368, 16369, 100_000, 3_000_000])
def test_bodies_of_all_sizes_pass_both_ways(lab, size):
    payload = os.urandom(size)

    def echo(wire):
        while True:
            request = wire.backend.take(wire)
            if request.target == b"/length":
                wire.send(ok(request.body))
            elif request.target == b"/chunked":
                wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                for i in range(0, size, 1000):
                    part = request.body[i:i + 1000]
                    wire.send(b"%x\r\n%s\r\n" % (len(part), part))
                wire.send(b"0\r\n\r\n")
            else:
                wire.send(b"HTTP/1.1 200 OK\r\n\r\n" + request.body)
                return

    backend, driver = lab.one(echo)
    with driver.connect() as wire:
        for target in (b"/length", b"/chunked", b"/close"):
            sender = threading.Thread(target=wire.send, args=(
                b"POST %s HTTP/1.1\r\nHost: a.test\r\nContent-Length: %d\r\n\r\n" % (target, size) + payload,))
            sender.start()
            answer = wire.message()
            sender.join()
            assert answer.body == payload
            assert bool(answer.get("content-length")) == (target == b"/length")
        wire.send(b"POST /length HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n" +
                  b"".join(b"%X\r\n%s\r\n" % (len(payload[i:i + 7777]), payload[i:i + 7777]) for i in range(0, size, 7777)) +
                  b"0\r\n\r\n")
        assert wire.message().body == payload
    assert [r.get("transfer-encoding") for r in backend.requests] == [None, None, None, b"chunked"]


def test_trailers_pass_both_ways_without_those_that_could_do_harm(lab):

    def serve(wire):
        wire.backend.take(wire)
        wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 42\r\nSet-Cookie: a\r\n\r\n")

    backend, driver = lab.one(serve)
    answer = driver.ask(b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n"
                        b"1\r\nx\r\n0\r\nX-Check: 7\r\nHost: evil\r\nAuthorization: x\r\n\r\n")
    assert backend.requests[0].trailers == [(b"X-Check", b"7")]
    assert (answer.body, answer.trailers) == (b"ok", [(b"X-Sum", b"42")])


def test_answers_without_body_have_none(lab):
    lines = {
        b"/204": b"HTTP/1.1 204 No Content\r\n\r\n",
        b"/304": b"HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\nContent-Length: 77\r\n\r\n",
        b"/head": b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n",
    }

    def serve(wire):
        while True:
            wire.send(lines.get(wire.backend.take(wire).target, ok()))

    _, driver = lab.one(serve)
    with driver.connect() as wire:
        wire.send(b"GET /204 HTTP/1.1\r\nHost: a.test\r\n\r\n")
        assert (wire.message().status, wire.buffer) == (204, b"")
        wire.send(b"GET /304 HTTP/1.1\r\nHost: a.test\r\n\r\n")
        assert wire.message().status == 304
        wire.send(b"HEAD /head HTTP/1.1\r\nHost: a.test\r\n\r\n")
        answer = wire.message(to_head=True)
        assert (answer.status, answer.get("content-length")) == (200, b"1234")
        wire.send(GET)
        assert wire.message().body == b"hello"


def test_interim_answers_pass_but_for_100_which_is_ours_to_say(lab):

    def serve(wire):
        wire.backend.take(wire)
        wire.send(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n" + ok())

    _, driver = lab.one(serve)
    with driver.connect() as wire:
        wire.send(GET)
        hints = wire.message()
        assert (hints.status, hints.get("link")) == (103, b"</a.css>")
        assert wire.message().body == b"hello"
    with driver.connect() as wire:
        wire.send(b"GET / HTTP/1.0\r\nHost: a.test\r\n\r\n")
        assert wire.message().status == 200


def test_who_expects_100_continue_is_told_once_an_endpoint_is_there(lab):
    backend, driver = lab.one(route="body_max=10")
    request = b"POST / HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n"
    with driver.connect() as wire:
        wire.send(request % 5)
        assert wire.message().start == b"HTTP/1.1 100 Continue"
        wire.send(b"hello")
        assert wire.message().body == b"POST / HTTP/1.1\nhello"
        wire.send(request % 5 + b"hello")
        assert wire.message().status == 200  # it did not wait
        wire.send(request % 11)
        assert wire.message().status == 413
        assert wire.is_closed()
    assert backend.requests[0].get("expect") is None
    backend.close()
    with driver.connect() as wire:
        wire.send(request % 5)
        assert wire.message().status == 502


def test_http_1_0_clients_are_served_as_they_understand(lab):

    def serve(wire):
        while True:
            wire.backend.take(wire)
            wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")

    backend, driver = lab.one(serve)
    with driver.connect() as wire:
        wire.send(b"GET / HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive\r\n\r\n")
        answer = wire.message()
        assert (answer.get("transfer-encoding"), answer.get("connection"), answer.body) == (None, b"close", b"abc")
    with driver.connect() as wire:
        wire.send(b"HEAD / HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive\r\n\r\n")
        assert wire.message(to_head=True).get("connection") == b"keep-alive"
    assert backend.requests[0].start == b"GET / HTTP/1.1"
    lab.drivers[0].publish(simple(backend.addr, host="_"))
    assert wait_until(lambda: driver.ask(b"GET / HTTP/1.0\r\n\r\n").status == 200, "a request without Host to be served")
    assert backend.requests[-1].get("host") == b"127.0.0.1:%d" % driver.http_port


def test_a_client_that_half_closes_gets_its_answer(lab):
    release = threading.Event()

    def serve(wire):
        wire.backend.take(wire)
        release.wait(5)
        wire.send(ok())

    backend, driver = lab.one(serve)
    with driver.connect() as wire:
        wire.send(GET)
        wire.sock.shutdown(socket.SHUT_WR)
        wait_until(lambda: backend.requests, "the request to arrive")
        release.set()
        assert wire.message().body == b"hello"
        assert wire.is_closed()


def test_a_connection_ends_after_the_requests_it_may_carry(lab):
    _, driver = lab.one(settings="set requests_per_connection_max 2")
    with driver.connect() as wire:
        wire.send(GET)
        assert wire.message().get("connection") is None
        wire.send(GET)
        assert wire.message().get("connection") == b"close"
        assert wire.is_closed()


# ---- early answers ----


def test_an_answer_before_the_end_of_the_body_reaches_the_client(lab):

    def serve(wire):
        wire.head()
        wire.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")

    _, driver = lab.one(serve)
    with driver.connect() as wire:
        wire.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 50000000\r\n\r\n")
        sender = threading.Thread(target=send_quietly, args=(wire, b"x" * 50_000_000))
        sender.start()
        answer = wire.message()
        assert (answer.status, answer.get("connection"), answer.body) == (403, b"close", b"no")
        wire.sock.shutdown(socket.SHUT_RDWR)
        sender.join()
    driver.wait_end("ok", 1)


def send_quietly(wire: Wire, data: bytes):
    try:
        wire.send(data)
    except OSError:
        pass


def test_answer_and_request_may_go_on_at_the_same_time(lab):

    def serve(wire):
        wire.head()
        wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(3):
            part = wire.exactly(5)
            wire.send(b"5\r\n%s\r\n" % part)
        wire.send(b"0\r\n\r\n")

    _, driver = lab.one(serve)
    with driver.connect() as wire:
        wire.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 15\r\n\r\n")
        assert wire.head().status == 200
        for part in (b"one..", b"two..", b"three"):
            wire.send(part)
            assert wire.until(b"\r\n") == b"5\r\n"
            assert wire.exactly(7) == part + b"\r\n"
        assert wire.until(b"\r\n\r\n") == b"0\r\n\r\n"


@pytest.mark.parametrize("framing", [b"Content-Length: 11\r\n\r\nhello world", b"Transfer-Encoding: chunked\r\n\r\n"
                                     b"B\r\nhello world\r\n0\r\n\r\n"])
def test_a_body_over_the_limit_is_413(lab, framing):
    backend, driver = lab.one(route="body_max=10")
    with driver.connect() as wire:
        wire.send(b"POST / HTTP/1.1\r\nHost: a.test\r\n" + framing)
        assert wire.message().status == 413
    assert driver.ask(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\n0123456789").status == 200
    driver.wait_end("body_too_large", 1)
    assert [request.body for request in backend.requests] == [b"0123456789"]


def test_a_small_body_of_a_refused_request_costs_no_connection(lab):
    _, driver = lab.one(route="body_max=10")
    with driver.connect() as wire:
        wire.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 11\r\n\r\nhello world" + GET)
        assert wire.message().status == 413
        assert wire.message().status == 200


# ---- upgrades ----

UPGRADE = b"GET /ws HTTP/1.1\r\nHost: a.test\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n"


def echo_upgraded(wire):
    request = wire.head()
    wire.backend.requests.append(request)
    wire.send(SWITCH)
    while True:
        if wire.buffer:
            data, wire.buffer = wire.buffer, b""
        else:
            data = wire.sock.recv(65536)
        if not data:
            wire.send(b"bye")
            return
        wire.send(data)


def test_an_upgraded_connection_carries_bytes_both_ways_until_both_ended(lab):
    backend, driver = lab.one(echo_upgraded)
    with driver.connect() as wire:
        wire.send(UPGRADE + b"early")
        answer = wire.message()
        assert (answer.status, answer.get("upgrade"), answer.get("connection")) == (101, b"websocket", b"upgrade")
        assert answer.get("sec-websocket-accept") == b"x"
        assert wire.exactly(5) == b"early"
        blob = os.urandom(2_000_000)
        sender = threading.Thread(target=wire.send, args=(blob,))
        sender.start()
        assert wire.exactly(len(blob)) == blob
        sender.join()
        wire.sock.shutdown(socket.SHUT_WR)  # half closed: the endpoint still has something to say
        assert wire.rest() == b"bye"
    assert (backend.requests[0].get("connection"), backend.requests[0].get("upgrade")) == (b"upgrade", b"websocket")
    driver.wait_end("ok")
    assert " 101 " in driver.log(1)[0]


def test_bytes_after_a_refused_upgrade_are_the_next_request(lab):
    backend, driver = lab.one()
    with driver.connect() as wire:
        wire.send(UPGRADE + b"GET /next HTTP/1.1\r\nHost: a.test\r\n\r\n")
        assert wire.message().body == b"GET /ws HTTP/1.1\n"
        assert wire.message().body == b"GET /next HTTP/1.1\n"
    assert backend.requests[1].get("x-real-ip") == b"127.0.0.1"  # it passed our rules


@pytest.mark.parametrize("upgrade", [b"h2c", b"HTTP/2.0", b"TLS/1.2", b"websocket, h2c"])
def test_upgrades_that_would_hide_requests_are_not_passed_on(lab, upgrade):
    backend, driver = lab.one()
    assert driver.get(extra=b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: %s\r\nHTTP2-Settings: AAMAAABk\r\n" % upgrade).status == 200
    request = backend.requests[0]
    assert (request.get("upgrade"), request.get("connection"), request.get("http2-settings")) == (None, None, None)


def test_an_upgrade_nobody_asked_for_is_a_bad_answer(lab):

    def serve(wire):
        wire.backend.take(wire)
        wire.send(SWITCH + b"secrets")

    _, driver = lab.one(serve)
    assert driver.get().status == 502
    driver.wait_end("upstream_bad", 1)


def test_an_idle_upgraded_connection_ends_with_the_read_timeout(lab):
    _, driver = lab.one(echo_upgraded, route="read=0.5")
    with driver.connect() as wire:
        wire.send(UPGRADE)
        assert wire.message().status == 101
        for _ in range(4):
            time.sleep(0.2)  # traffic keeps it alive
            wire.send(b"x")
            assert wire.exactly(1) == b"x"
        begun = time.monotonic()
        assert wire.is_closed()
        assert 0.4 < time.monotonic() - begun < 2


# ---- endpoints that fail ----


def test_a_refused_connection_is_tried_elsewhere(lab):
    backend = lab.backend()
    driver = lab.driver(simple(lab.refusal(), backend.addr))
    assert [driver.get().status for _ in range(10)] == [200] * 10
    assert driver.ask(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\nabc").body == b"POST / HTTP/1.1\nabc"
    assert driver.metrics()["fairlead_ingress_retries_total"] >= 5


def test_no_endpoint_that_can_be_connected_to_is_502(lab):
    driver = lab.driver(simple(lab.refusal(), lab.refusal()))
    assert driver.get().status == 502
    driver.wait_end("upstream_refused", 1)
    assert re.search(r"127\.0\.0\.1:\d+, 127\.0\.0\.1:\d+ 0, 0 [\d.]+, [\d.]+ 502, 502 ", driver.log(1)[0])


def test_tries_limits_the_endpoints_asked(lab):
    backend = lab.backend()
    addrs = sorted([lab.refusal() for _ in range(3)] + [backend.addr])
    driver = lab.driver(simple(*addrs, route="tries=1"))
    assert sorted(driver.get().status for _ in range(4)) == [200, 502, 502, 502]


def test_connecting_takes_no_longer_than_the_connect_timeout(lab):
    full = socket.socket()
    full.bind(("127.0.0.1", 0))
    full.listen(0)
    addr = full.getsockname()
    fillers = []
    for _ in range(4):  # a backlog that is full drops what else comes
        filler = socket.socket()
        filler.setblocking(False)
        filler.connect_ex(addr)
        fillers.append(filler)
    driver = lab.driver(simple(f"127.0.0.1:{addr[1]}", route="connect=0.5"))
    begun = time.monotonic()
    assert driver.get().status == 504
    assert 0.4 < time.monotonic() - begun < 2
    driver.wait_end("upstream_timeout", 1)
    for sock in fillers + [full]:
        sock.close()


def test_a_kept_connection_that_died_is_replaced_without_the_client_noticing(lab):

    def once(wire):
        wire.backend.take(wire)
        wire.send(ok())
        wire.head()  # the second request is taken and never answered
        wire.backend.seconds = getattr(wire.backend, "seconds", 0) + 1
        wire.reset()

    backend, driver = lab.one(once)
    assert driver.get().status == 200
    assert driver.get().status == 200
    assert backend.seconds == 1 and len(backend.wires) == 2


def test_a_request_that_is_not_idempotent_is_never_sent_twice(lab):

    def once(wire):
        wire.backend.take(wire)
        wire.send(ok())
        wire.backend.requests.append(wire.message())
        wire.reset()

    backend, driver = lab.one(once)
    assert driver.get().status == 200
    assert driver.ask(b"POST /pay HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\nabc").status == 502
    assert [request.target for request in backend.requests] == [b"/", b"/pay"]
    driver.wait_end("upstream_reset", 1)


def test_a_request_that_is_not_idempotent_avoids_a_connection_already_closed(lab):

    def once(wire):
        wire.backend.take(wire)
        wire.send(ok())

    backend, driver = lab.one(once)
    for i in range(30):
        assert driver.ask(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\nabc").status == 200
        wait_until(lambda: backend.wires[i].sock.fileno() == -1, "the endpoint to close")


def test_an_endpoint_that_closes_without_answer_is_502_after_another_was_asked(lab):

    def never(wire):
        wire.backend.take(wire)

    first, second = lab.backend(never), lab.backend(never)
    driver = lab.driver(simple(first.addr, second.addr))
    assert driver.get().status == 502
    assert len(first.requests) == len(second.requests) == 1


def test_an_endpoint_that_never_answers_is_504(lab):
    release = threading.Event()

    def serve(wire):
        wire.backend.take(wire)
        release.wait(10)

    backend, driver = lab.one(serve, route="read=0.4")
    begun = time.monotonic()
    assert driver.get().status == 504
    assert 0.3 < time.monotonic() - begun < 2
    assert len(backend.requests) == 1
    release.set()


@pytest.mark.parametrize("begun", [
    b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\nonly this",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nonly this\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nonly this\r\n0\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nonly thisXX5\r\nworse\r\n0\r\n\r\n",
])
@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
def test_an_answer_cut_short_never_looks_complete(lab, begun, version):

    def serve(wire):
        wire.backend.take(wire)
        wire.send(begun)

    _, driver = lab.one(serve)
    with driver.connect() as wire:
        wire.send(b"GET / HTTP/%s\r\nHost: a.test\r\n\r\n" % version)
        try:
            assert wire.message().status == 502  # nothing had left yet
        except (Ended, ConnectionResetError):
            pass
    wait_until(lambda: driver.ends("upstream_reset") + driver.ends("upstream_bad") == 1, "its end to be counted")
    assert driver.ends("ok") == 0


@pytest.mark.parametrize("answer,body", [
    (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", b"hello"),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x\r\nhello\r\n1\r\n!\r\n0\r\nX: y\r\n\r\n", b"hello!"),
    (b"HTTP/1.0 200 OK\r\n\r\nhello", b"hello"),
])
def test_answers_arrive_whole_when_they_come_one_octet_at_a_time(lab, answer, body):

    def serve(wire):
        wire.backend.take(wire)
        wire.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for octet in answer:
            wire.send(bytes([octet]))
            time.sleep(0.001)

    _, driver = lab.one(serve)
    assert driver.get().body == body


@pytest.mark.parametrize("answer", [
    b"garbage\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
    b"HTTP/1.1 200 OK\r\nX: " + b"a" * 40000 + b"\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX : a\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n" + b"X: a\r\n" * 101 + b"\r\n",
    b"HTTP/1.1 102 Processing\r\n\r\n" * 100,
    b"HTTP/2.0 200 OK\r\n\r\n",
])
def test_answers_that_are_no_valid_http_are_502(lab, answer):

    def serve(wire):
        wire.backend.take(wire)
        wire.send(answer)

    _, driver = lab.one(serve)
    with driver.connect() as wire:
        wire.send(GET)
        while (got := wire.message()).status < 200:
            pass
        assert got.status == 502
        wire.send(GET)
        while (got := wire.message()).status < 200:
            pass
        assert got.status == 502  # the client's connection is none the worse for it
    driver.wait_end("upstream_bad", 2)


def test_a_connection_with_bytes_left_over_is_never_used_again(lab):

    def serve(wire):
        while True:
            wire.backend.take(wire)
            wire.send(ok() + b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")

    backend, driver = lab.one(serve)
    assert [driver.get().body for _ in range(5)] == [b"hello"] * 5
    assert len(backend.wires) == 5


# ---- clients that fail ----


def test_an_endpoint_learns_when_the_client_is_gone(lab):
    gone = threading.Event()

    def serve(wire):
        wire.backend.take(wire)
        assert wire.is_closed()
        gone.set()

    backend, driver = lab.one(serve)
    wire = driver.connect()
    wire.send(GET)
    wait_until(lambda: backend.requests, "the request to arrive")
    wire.reset()
    assert gone.wait(5)
    driver.wait_end("client_closed")
    assert '" 499 0 ' in driver.log(1)[0]


def test_a_body_that_stops_half_way_never_reaches_the_endpoint_as_complete(lab):
    cut = threading.Event()

    def serve(wire):
        try:
            wire.message()
        except (Ended, ConnectionResetError):
            cut.set()

    _, driver = lab.one(serve)
    with driver.connect() as wire:
        wire.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
    assert cut.wait(5)


def test_slow_heads_are_408_and_silence_is_closed(lab):
    _, driver = lab.one(settings="set head_timeout_s 0.6\nset idle_timeout_s 1.2")
    silent, slow = driver.connect(), driver.connect()
    begun = time.monotonic()
    with silent, slow:
        slow.send(b"GET / HTTP/1.1\r\n")
        for _ in range(3):  # bytes do not buy time
            time.sleep(0.15)
            slow.send(b"X: y\r\n")
        assert slow.message().status == 408
        assert 0.5 < time.monotonic() - begun < 1.5
        assert silent.is_closed()
        assert 1.1 < time.monotonic() - begun < 3
    driver.wait_end("client_timeout", 1)


def test_a_body_that_does_not_come_is_408(lab):
    _, driver = lab.one(settings="set body_idle_timeout_s 0.5")
    with driver.connect() as wire:
        wire.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\n123")
        assert wire.message().status == 408
        assert wire.is_closed()


def test_a_client_that_does_not_read_is_cut_off_and_costs_little_memory(lab):
    total = 200_000_000

    def serve(wire):
        wire.backend.take(wire)
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % total)
        block = b"x" * 1_000_000
        for _ in range(total // len(block)):
            wire.send(block)

    backend, driver = lab.one(serve, settings="set body_idle_timeout_s 1")
    before = driver.resident_kib()
    stuck = [driver.connect(receive_buffer=4096) for _ in range(8)]
    for wire in stuck:
        wire.send(GET)
    driver.wait_end("client_timeout", count=8)
    assert driver.resident_kib() - before < 4096
    for wire in stuck:
        wire.close()
    assert len(backend.wires) == 8


def test_a_slow_reader_gets_everything_in_constant_memory(lab):
    total = 100_000_000

    def serve(wire):
        request = wire.backend.take(wire)
        chunked = request.target == b"/chunked"
        wire.send(b"HTTP/1.1 200 OK\r\n" + (b"Transfer-Encoding: chunked\r\n\r\n" if chunked else
                                             b"Content-Length: %d\r\n\r\n" % total))
        block = b"x" * 1_000_000
        for _ in range(total // len(block)):
            wire.send(b"%x\r\n%s\r\n" % (len(block), block) if chunked else block)
        if chunked:
            wire.send(b"0\r\n\r\n")

    _, driver = lab.one(serve)
    for target in (b"/length", b"/chunked"):
        with driver.connect(receive_buffer=65536) as wire:
            wire.send(b"GET %s HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n" % target)
            got = 0
            peak = before = driver.resident_kib()
            while data := wire.sock.recv(262144):
                got += len(data)
                peak = max(peak, driver.resident_kib()) if got % 17 == 0 else peak
            assert total < got < total * 1.02
            assert max(peak, driver.resident_kib()) - before < 4096


# ---- hostile requests ----

HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: a.test\r\n\r\n"


@pytest.mark.parametrize("status,data", [
    (400, b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + HIDDEN),
    (400, b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello" + HIDDEN),
    (400, b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: +5\r\n\r\nhello" + HIDDEN),
    (400, b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length : 5\r\n\r\nhello" + HIDDEN),
    (400, b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + HIDDEN),
    (400, b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + HIDDEN),
    (501, b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" + HIDDEN),
    (400, b"POST / HTTP/1.0\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + HIDDEN),
    (400, b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n\r\n" + HIDDEN),
    (400, b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n" + HIDDEN),
    (400, b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloX\r\n0\r\n\r\n" + HIDDEN),
    (400, b"GET / HTTP/1.1\nHost: a.test\n\n" + HIDDEN),
    (400, b"GET / HTTP/1.1\r\nHost: a.test\r\n X: folded\r\n\r\n" + HIDDEN),
    (400, b"GET / HTTP/1.1\r\n\r\n" + HIDDEN),
    (400, b"GET / HTTP/1.1\r\nHost: a.test\r\nHost: b.test\r\n\r\n" + HIDDEN),
    (400, b"GET /a\x00b HTTP/1.1\r\nHost: a.test\r\n\r\n" + HIDDEN),
    (400, b"GET /%2e%2e/x HTTP/1.1\r\nHost: a.test\r\n\r\n" + b""),
    (414, b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    (431, b"GET / HTTP/1.1\r\nHost: a.test\r\nX: " + b"a" * 40000 + b"\r\n\r\n"),
    (431, b"GET / HTTP/1.1\r\nHost: a.test\r\n" + b"X: a\r\n" * 101 + b"\r\n"),
    (505, b"GET / HTTP/2.0\r\nHost: a.test\r\n\r\n"),
    (405, b"CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n"),
    (405, b"TRACE / HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    (400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
    (505, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
])
@pytest.mark.parametrize("octets", [False, True])
def test_hostile_requests_are_refused_and_hide_nothing(lab, status, data, octets):
    backend, driver = lab.one(lambda wire: answer_all(wire))
    with driver.connect() as wire:
        wire.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for i in range(0, len(data), 1 if octets and len(data) < 2000 else len(data)):
            send_quietly(wire, data[i:i + 1] if octets and len(data) < 2000 else data)
        answer = wire.message()
        assert answer.status == status
        if status != 405 and b"%2e" not in data:
            assert answer.get("connection") == b"close"
            wire.sock.shutdown(socket.SHUT_WR)
            assert wire.is_closed()
    assert driver.get("/after").status == 200
    assert not any(request.target == b"/hidden" for request in backend.requests)
    assert not any(b"/hidden" in wire.buffer for wire in backend.wires)


# ---- answers of our own ----


def test_the_plan_of_a_request(lab):
    backend = lab.backend()
    driver = lab.driver(f"""
htpasswd joe:{{SHA}}qUqP5cyxm6YcTAhz05Hph5gvu9M=
upstream 1 shop-web-80 {backend.addr}
upstream 2 shop-none-80
host a.test tls
route / prefix 1
route /plain prefix 1 redirect
route /none prefix 2
route /denied prefix 1 denied auth
route /secret prefix 1 auth realm=the"realm
route /secret-none prefix 2 auth
route /nowhere prefix 0
""")
    assert driver.get("/plain/x/?q=1", host="a.test:8080").get("location") == b"https://a.test/plain/x/?q=1"
    assert driver.get("/plain/").get("location") == b"https://a.test/plain"
    assert driver.get("/plain/").status == 308
    assert driver.get("/none").status == 503
    assert driver.get("/denied").status == 503
    missing = driver.get("/nowhere")
    assert missing.status == 404 and b"404 Not Found" in missing.body and not missing.all("server")
    assert driver.get("/", host="other.test").status == 404
    assert driver.get("/healthz", host="other.test").status == 200
    refused = driver.get("/secret")
    assert (refused.status, refused.get("www-authenticate")) == (401, b'Basic realm="the\\"realm"')
    assert driver.get("/secret-none").status == 401
    credentials = b"Authorization: Basic am9lOnRlc3Q=\r\n"
    assert driver.get("/secret-none", extra=credentials).status == 503
    for _ in range(3):
        assert driver.get("/secret", extra=credentials).status == 200
    assert driver.get("/secret", extra=b"Authorization: Bearer am9lOnRlc3Q=\r\n").status == 401
    assert driver.get("/secret", extra=b"Authorization: Basic am9lOndyb25n\r\n").status == 401
    assert all(request.get("authorization") is None for request in backend.requests)
    assert driver.get("/", extra=credentials).status == 200
    assert backend.requests[-1].get("authorization") == b"Basic am9lOnRlc3Q="
    assert any(re.match(r'127\.0\.0\.1 - joe \[.*"GET /secret HTTP/1\.1" 200 ', line) for line in driver.log(17))
    for reason, count in (("redirected", 3), ("unauthorized", 4), ("denied", 1)):
        driver.wait_end(reason, count)


def test_the_backends_server_field_is_dropped_and_a_date_added(lab):

    def serve(wire):
        wire.backend.take(wire)
        wire.send(ok(extra=b"Server: secret/1.0\r\nConnection: X-Hop\r\nX-Hop: 1\r\nX-Keep: 1\r\n"))

    _, driver = lab.one(serve)
    answer = driver.get()
    assert [name for name, _ in answer.fields] == [b"X-Keep", b"Date", b"Content-Length"]
    assert re.fullmatch(rb"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", answer.get("date"))


def test_the_access_log_is_ingress_nginxs_field_for_field(lab):
    backend, driver = lab.one()
    driver.ask(b'GET /p?q="x HTTP/1.1\r\nHost: a.test\r\nReferer: r\xe9f\r\nUser-Agent: u\\"a\r\nX-Request-ID: id7\r\n\r\n')
    assert re.fullmatch(
        r'127\.0\.0\.1 - - \[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d \+0000\] "GET /p\?q=\\x22x HTTP/1\.1" 200 21 "r\\xE9f" "u\\x5C\\x22a" '
        rf'\d+ 0\.\d{{3}} \[shop-web-80\] \[\] 127\.0\.0\.1:{backend.port} 21 0\.\d{{3}} 200 id7', driver.log(1)[0])


def test_the_access_log_as_json_says_why_a_request_ended(lab):
    _, driver = lab.one(log_format="json")
    driver.get("/ok")
    driver.get("/x", host="nobody.test")
    driver.ask(b"GET / HTTP/1.1\r\nBad Header: 1\r\n\r\n")
    lines = [json.loads(line) for line in driver.log(3)]
    assert [(line["end"], line["status"]) for line in lines] == [("ok", 200), ("no_route", 404), ("bad_request", 400)]
    assert (lines[0]["target"], lines[0]["service"], lines[0]["upstream"][0]["status"]) == ("/ok", "web", 200)
    assert lines[2]["request"] == "GET / HTTP/1.1"


def test_metrics_count_by_route_method_and_status(lab):
    _, driver = lab.one()
    for _ in range(3):
        driver.get("/x")
    driver.ask(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n")
    wait_until(lambda: driver.ends("ok") == 4, "all to be counted")
    metrics = driver.metrics()
    labels = 'host="a.test",namespace="shop",ingress="web",service="web",path="/"'
    assert metrics[f'nginx_ingress_controller_requests{{{labels},method="GET",status="200"}}'] == 3
    assert metrics[f'nginx_ingress_controller_requests{{{labels},method="POST",status="200"}}'] == 1
    assert metrics['nginx_ingress_controller_request_duration_seconds_count{namespace="shop",ingress="web"}'] == 4
    assert metrics['nginx_ingress_controller_request_duration_seconds_bucket{namespace="shop",ingress="web",le="+Inf"}'] == 4
    assert metrics['nginx_ingress_controller_nginx_process_requests_total'] == 4
    with driver.connect():
        wait_until(lambda: driver.metrics()['nginx_ingress_controller_nginx_process_connections{state="active"}'] == 1,
                   "one connection")


# ---- new snapshots ----


def test_endpoints_take_turns(lab):
    backends = [lab.backend() for _ in range(3)]
    driver = lab.driver(simple(*[backend.addr for backend in backends]))
    ports = [driver.get().get("x-backend") for _ in range(9)]
    assert len(set(ports[:3])) == 3 and ports[:3] == ports[3:6] == ports[6:]


def test_a_departed_endpoints_idle_connections_close_and_busy_ones_finish(lab):
    release = threading.Event()
    closed = []

    def serve(wire):
        while True:
            request = wire.backend.take(wire)
            if request.target == b"/slow":
                release.wait(10)
            wire.send(ok())
            if request.target == b"/slow":
                closed.append(("slow", wire.is_closed()))
                return
            if len(wire.backend.requests) >= 2:
                continue

    old, new = lab.backend(serve), lab.backend()
    driver = lab.driver(simple(old.addr))
    slow = driver.connect()
    slow.send(b"GET /slow HTTP/1.1\r\nHost: a.test\r\n\r\n")
    wait_until(lambda: len(old.requests) == 1, "the slow request to arrive")
    assert driver.get().status == 200  # a second connection to it, idle now
    idle = old.wires[1]
    driver.publish(simple(new.addr))
    wait_until(lambda: idle.sock.fileno() == -1, "the idle connection to be closed")
    assert driver.get().get("x-backend") == str(new.port).encode()
    release.set()
    assert slow.message().body == b"hello"
    wait_until(lambda: closed == [("slow", True)], "the busy connection to be closed after its answer")
    slow.send(GET)  # the client's connection goes on
    assert slow.message().get("x-backend") == str(new.port).encode()
    slow.close()


def test_a_new_snapshot_disturbs_no_websocket_and_no_idle_client(lab):
    backend, driver = lab.one(lambda wire: echo_upgraded(wire))
    plain = lab.backend()
    with driver.connect() as socket_, driver.connect() as idle:
        socket_.send(UPGRADE)
        assert socket_.message().status == 101
        for _ in range(50):
            driver.publish(simple(plain.addr))
            socket_.send(b"ping")
            assert socket_.exactly(4) == b"ping"
        idle.send(GET)
        assert idle.message().get("x-backend") == str(plain.port).encode()
    assert backend.requests


def test_a_rolling_update_loses_no_request(lab):
    current = [lab.backend() for _ in range(3)]
    driver = lab.driver(simple(*[backend.addr for backend in current]), workers=2)
    stop = threading.Event()
    wrong = []
    served = [0]

    def ask():
        with driver.connect() as wire:
            while not stop.is_set():
                wire.send(GET)
                answer = wire.message()
                served[0] += 1
                if answer.status != 200:
                    wrong.append(answer)

    clients = [threading.Thread(target=ask) for _ in range(4)]
    for client in clients:
        client.start()
    for i in range(20):
        leaving = current.pop(0)
        current.append(lab.backend())
        leaving.close()  # the pod is gone before its departure is known
        time.sleep(0.02)
        driver.publish(simple(*[backend.addr for backend in current]))
        before = served[0]
        wait_until(lambda: served[0] > before + 20, f"traffic after change {i}")
    stop.set()
    for client in clients:
        client.join()
    assert not wrong
    assert served[0] > 400


def test_retries_use_the_endpoints_of_now(lab):
    seen = threading.Event()
    release = threading.Event()

    def serve(wire):
        wire.backend.take(wire)
        seen.set()
        release.wait(10)
        wire.reset()

    dying, alive = lab.backend(serve), lab.backend()
    driver = lab.driver(simple(dying.addr, lab.refusal()))
    with driver.connect() as wire:
        wire.send(GET)
        assert seen.wait(5)
        driver.publish(simple(dying.addr, alive.addr) + "host probe.test\nroute / prefix 0")
        wait_until(lambda: driver.get("/healthz", host="probe.test").status == 404, "the new snapshot")
        release.set()
        assert wire.message().get("x-backend") == str(alive.port).encode()


# ---- TLS ----


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    folder = tmp_path_factory.mktemp("certificates")
    return {name: make_certificate(folder, name) for name in ("default.test", "a.test", "b.test", "new.test")}


def tls_spec(backend: Backend, certificates: dict, a: str = "a.test", settings: str = "") -> str:
    return f"""{settings}
default-certificate {certificates['default.test']}
certificate a.test {certificates[a]}
certificate b.test {certificates['b.test']}
upstream 1 shop-web-80 {backend.addr}
host a.test tls
route / prefix 1
host b.test tls
route / prefix 1
"""


@pytest.fixture
def tls(lab, certificates):
    backend = lab.backend()
    return backend, lab.driver(tls_spec(backend, certificates))


def test_the_certificate_is_chosen_by_server_name(tls):
    backend, driver = tls
    for name, expected in (("a.test", "a.test"), ("B.TEST", "b.test"), ("c.test", "default.test"), (None, "default.test")):
        with driver.connect_tls(name) as wire:
            assert common_name(wire) == expected
            wire.send(GET)
            answer = wire.message()
            assert (answer.status, answer.get("strict-transport-security")) == (200, b"max-age=31536000; includeSubDomains")
    assert backend.requests[0].get("x-forwarded-proto") == b"https"
    assert backend.requests[0].get("x-forwarded-port") == str(driver.https_port).encode()


def test_http_1_1_is_agreed_on_by_alpn(tls):
    _, driver = tls
    with driver.connect_tls("a.test", alpn=["h2", "http/1.1"]) as wire:
        assert wire.sock.selected_alpn_protocol() == "http/1.1"
    with pytest.raises(ssl.SSLError):
        driver.connect_tls("a.test", alpn=["spdy/3"])


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_sessions_resume_for_the_same_name_only(tls, version):
    _, driver = tls
    context = client_context()
    context.minimum_version = context.maximum_version = version

    def visit(name, session=None):
        with driver.connect_tls(name, session=session, context=context) as wire:
            wire.send(GET)
            assert wire.message().status == 200
            return wire.sock.session, wire.sock.session_reused

    session, _ = visit("a.test")
    for _ in range(3):
        session, reused = visit("a.test", session)  # each visit brings a new ticket where they are good for one only
        assert reused
    assert not visit("b.test", session)[1]
    assert not visit(None, session)[1]


def test_old_versions_of_tls_are_refused(tls):
    _, driver = tls
    for version, accepted in (("-tls1_1", False), ("-tls1_2", True)):
        said = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{driver.https_port}", version, "-cipher",
                               "DEFAULT:@SECLEVEL=0"], stdin=subprocess.DEVNULL, capture_output=True, check=False)
        assert (b"alert protocol version" in said.stderr) != accepted
        assert (said.returncode == 0) == accepted


def test_a_new_certificate_is_in_force_at_once_and_closes_nothing(lab, certificates):
    backend = lab.backend()
    driver = lab.driver(tls_spec(backend, certificates))
    with driver.connect_tls("a.test") as old:
        old.send(GET)
        assert old.message().status == 200
        driver.publish(tls_spec(backend, certificates, a="new.test"))

        def is_new():
            with driver.connect_tls("a.test") as wire:
                return common_name(wire) == "new.test"

        wait_until(is_new, "the new certificate")
        old.send(GET)
        assert old.message().status == 200


def test_large_bodies_pass_over_tls(lab, certificates):
    payload = os.urandom(3_000_000)

    def serve(wire):
        while True:
            wire.send(ok(wire.backend.take(wire).body))

    backend = lab.backend(serve)
    driver = lab.driver(tls_spec(backend, certificates))
    with driver.connect_tls("a.test") as wire:
        wire.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: %d\r\n\r\n" % len(payload) + payload)
        assert wire.message().body == payload
        wire.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" %
                  (len(payload), payload))
        assert wire.message().body == payload


def test_plain_http_on_the_tls_port_is_told_so(tls):
    _, driver = tls
    wire = Wire(socket.create_connection(("127.0.0.1", driver.https_port), timeout=5))
    with wire:
        wire.send(GET)
        answer = wire.message()
        assert answer.status == 400 and b"The plain HTTP request was sent to HTTPS port" in answer.body


def test_handshakes_that_never_come_end(lab, certificates):
    backend = lab.backend()
    driver = lab.driver(tls_spec(backend, certificates, settings="set head_timeout_s 0.5"))
    wire = Wire(socket.create_connection(("127.0.0.1", driver.https_port), timeout=5))
    with wire:
        wire.send(b"\x16\x03\x01")
        assert wire.is_closed()


# ---- limits ----


def test_connections_beyond_the_limit_are_turned_away(lab):
    _, driver = lab.one(connections_max=3)
    wires = [driver.connect() for _ in range(3)]
    for wire in wires:
        wire.send(GET)
        assert wire.message().status == 200
    with driver.connect() as extra:
        assert extra.is_closed()
    wires.pop().close()
    wait_until(lambda: driver.metrics()['nginx_ingress_controller_nginx_process_connections{state="active"}'] == 2, "room")
    assert driver.get().status == 200
    for wire in wires:
        wire.close()


def test_running_out_of_descriptors_neither_spins_nor_lasts(lab):
    backend, driver = lab.one(files_max=64)
    wires = [driver.connect() for _ in range(100)]
    turned_away = 'nginx_ingress_controller_nginx_process_connections_total{state="accepted"}'
    wait_until(lambda: driver.metrics()[turned_away] >= 100, "all to be accepted")
    before = driver.cpu_s()
    time.sleep(0.5)
    assert driver.cpu_s() - before < 0.1
    for wire in wires:
        wire.close()
    wait_until(lambda: driver.metrics()['nginx_ingress_controller_nginx_process_connections{state="active"}'] == 0, "all to close")
    assert driver.get().status == 200
    assert backend.requests


def test_a_log_nobody_reads_holds_up_nobody(lab):
    path = str(lab.folder / "fifo")
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    _, driver = lab.one(log_path=path)
    line = b"GET /%s HTTP/1.1\r\nHost: a.test\r\n\r\n" % (b"x" * 4000)
    with driver.connect() as wire:
        for _ in range(300):
            wire.send(line * 10)
            for _ in range(10):
                assert wire.message().status == 200
    os.close(reader)  # the writer's pending write fails, so that it can end


# ---- stopping ----


def test_a_graceful_stop_finishes_what_runs_and_closes_what_idles(lab):
    release = threading.Event()

    def serve(wire):
        while True:
            request = wire.backend.take(wire)
            if request.target == b"/slow":
                release.wait(10)
            wire.send(ok())

    backend, driver = lab.one(serve, workers=2)
    idle, slow = driver.connect(), driver.connect()
    idle.send(GET)
    assert idle.message().status == 200
    slow.send(b"GET /slow HTTP/1.1\r\nHost: a.test\r\n\r\n")
    wait_until(lambda: len(backend.requests) == 2, "the slow request to arrive")
    driver.begin_stop(10)
    assert idle.is_closed()
    with pytest.raises(ConnectionRefusedError):
        wait_until(lambda: driver.connect().close(), "the listener to close")
    release.set()
    answer = slow.message()
    assert (answer.body, answer.get("connection")) == (b"hello", b"close")
    assert slow.is_closed()
    begun = time.monotonic()
    driver.process.wait(5)
    assert time.monotonic() - begun < 2


def test_the_grace_period_is_the_limit(lab):
    _, driver = lab.one(echo_upgraded, log_format="json")
    with driver.connect() as wire:
        wire.send(UPGRADE)
        assert wire.message().status == 101
        begun = time.monotonic()
        driver.begin_stop(1)
        wire.send(b"still here")
        assert wire.exactly(10) == b"still here"
        assert wire.is_closed()
        assert 0.8 < time.monotonic() - begun < 3
    driver.process.wait(5)
    assert json.loads(driver.log(1)[0])["end"] == "shutdown"
