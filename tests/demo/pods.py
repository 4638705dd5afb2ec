#!/usr/bin/env python3
"""The demo's pods: an HTTP server on each port given, on all addresses of its network namespace. Each answer names the pod
(the address that was reached), the caller's address as the pod saw it, and what a proxy in front of it said."""
import http.server
import socketserver
import sys
import threading


class Pod(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self):
        pod, port = self.connection.getsockname()[:2]
        body = f"pod {pod}:{port} answers {self.path} to {self.client_address[0]}"
        if "X-Forwarded-For" in self.headers:
            body += f", a client at {self.headers['X-Forwarded-For']} by {self.headers['X-Forwarded-Proto']}"
        body = (body + "\n").encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """Not http.server's: that one asks the name service for its own name, and in here nobody answers."""
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128


def main():
    for port in map(int, sys.argv[1:]):
        threading.Thread(target=Server(("0.0.0.0", port), Pod).serve_forever).start()
    print("ready", flush=True)


if __name__ == "__main__":
    main()
