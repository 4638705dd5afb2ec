"""Plain HTTPS to a Kubernetes API server: one kept-open TLS connection per
thread, JSON in and out. Much faster than a kubectl process per request."""

import http.client
import json
import select
import ssl
import threading


class ApiError(Exception):
    """The API server answered with a failure; `status` is the HTTP code, `reason` the API's word for it."""

    def __init__(self, method, path, status, body):
        self.status = status
        try:
            answer = json.loads(body)
            self.reason, message = answer.get("reason", ""), answer.get("message", "")
        except ValueError:
            self.reason, message = "", body.decode(errors="replace")
        super().__init__(f"{method} {path}: {status} {self.reason}: {message}")


class ApiClient:
    def __init__(self, host, port, ca, certificate, key):
        self._address = (host, port)
        self._tls = ssl.create_default_context(cafile=ca)
        self._tls.load_cert_chain(certificate, key)
        self._kept = threading.local()

    def request(self, method, path, body=None, content_type=None, timeout_s=30):
        """Returns the decoded answer: JSON where the server says JSON, else text.
        A write is committed when this returns. Raises ApiError, or OSError and
        http.client.HTTPException where the server cannot be spoken to."""
        headers = {"Accept": "application/json"}
        if body is not None:
            body = json.dumps(body).encode()
            headers["Content-Type"] = content_type or _content_type(method)
        connection = self._connection(timeout_s)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            content = answer.read()
        except BaseException:
            self.drop()
            raise
        if answer.status >= 400:
            raise ApiError(method, path, answer.status, content)
        if answer.headers.get_content_type() == "application/json":
            return json.loads(content)
        return content.decode()

    def drop(self):
        """Closes this thread's connection; the next request opens another."""
        connection = self._kept.__dict__.pop("connection", None)
        if connection:
            connection.close()

    def _connection(self, timeout_s):
        kept = getattr(self._kept, "connection", None)
        if kept and (kept.sock is None or _readable(kept.sock)):
            self.drop()
            kept = None
        if kept is None:
            kept = http.client.HTTPSConnection(*self._address, timeout=timeout_s, context=self._tls)
            kept.connect()
            self._kept.connection = kept
        kept.sock.settimeout(timeout_s)
        return kept


def _readable(connection):
    """On an idle connection nobody speaks first: readable means that the server closed it."""
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    return bool(poll.poll(0))


def _content_type(method):
    return "application/merge-patch+json" if method == "PATCH" else "application/json"
