#!/usr/bin/env python3
"""A proxy in front of the API server that spoils answers, to test what its clients make of that.

    faults.py KUBECONFIG FOLDER     serves on a free port of 127.0.0.1 until it is killed

It writes FOLDER/kubeconfig, with which a client goes through it, and prints `ready`. FOLDER/rules.json says what to spoil, and is read anew for each
request: a list of rules, of which the first that fits counts.

    {"method": "GET", "path": "^/api/v1/pods", "status": 429, "retryAfter": 1, "times": 3}

`method` and `path` (a regular expression, searched in path and query) may be left out. What happens:

    "status": 409, 410, 429, 500 …   answered in the API server's place, as it would (`retryAfter` in seconds)
    "delay": 5                       passed on after so many seconds
    "cut": true                      the connection is closed without an answer
    "cutAfter": 1.5                  passed on, and closed in the middle after so many seconds: a watch that is dropped

`times` is how often; without it, always.
"""

import collections
import contextlib
import http.client
import http.server
import json
import os
import pathlib
import re
import select
import socket
import ssl
import sys
import threading
import time
import urllib.parse

REASONS = {400: "BadRequest", 403: "Forbidden", 404: "NotFound", 409: "Conflict", 410: "Expired", 429: "TooManyRequests", 500: "InternalError", 503: "ServiceUnavailable", 504: "Timeout"}
# A watch is silent for minutes; whoever waits longer than this is gone.
PATIENCE = 600
CHUNK = 1 << 16


class Rules:
    def __init__(self, path: pathlib.Path):
        self.path, self.lock, self.used, self.text = path, threading.Lock(), collections.Counter(), ""

    def match(self, method: str, path: str) -> dict:
        with self.lock:
            text = self.path.read_text() if self.path.exists() else "[]"
            if text != self.text:
                # Counting begins anew with each change.
                self.used.clear()
                self.text = text
            for index, rule in enumerate(json.loads(text)):
                fits = rule.get("method", method) == method and re.search(rule.get("path", ""), path)
                if fits and self.used[index] < rule.get("times", float("inf")):
                    self.used[index] += 1
                    return rule
        return {}


class Upstream:
    """The API server, by a kubeconfig whose certificates are files or inline data."""

    def __init__(self, kubeconfig: dict):
        url = urllib.parse.urlsplit(kubeconfig["clusters"][0]["cluster"]["server"])
        self.host, self.port = url.hostname, url.port or 443
        self.token = kubeconfig["users"][0]["user"]["token"]
        self.context = ssl.create_default_context(**authority(kubeconfig["clusters"][0]["cluster"]))

    def connect(self) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection(self.host, self.port, timeout=PATIENCE, context=self.context)


def authority(cluster: dict) -> dict:
    if "certificate-authority" in cluster:
        return {"cafile": cluster["certificate-authority"]}
    import base64

    return {"cadata": base64.b64decode(cluster["certificate-authority-data"]).decode()}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    rules: Rules
    upstream: Upstream

    def handle_one_request(self) -> None:
        with contextlib.suppress(ConnectionError):
            super().handle_one_request()

    def do(self) -> None:
        rule = self.rules.match(self.command, self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        time.sleep(rule.get("delay", 0))
        if rule.get("cut"):
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
        elif "status" in rule:
            self.refuse(rule)
        else:
            self.forward(body, rule.get("cutAfter"))

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do

    def refuse(self, rule: dict) -> None:
        code = rule["status"]
        status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": "spoiled by the test", "reason": REASONS.get(code, "Unknown"), "code": code}
        data = json.dumps(status).encode()
        self.send_response(code)
        if "retryAfter" in rule:
            self.send_header("Retry-After", str(rule["retryAfter"]))
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def forward(self, body: bytes, cut_after: float | None) -> None:
        """One request, one connection: where the answer ends is where the API server closes, so watches and upgrades need no special care."""
        end = time.monotonic() + (cut_after if cut_after is not None else PATIENCE)
        self.close_connection = True
        upstream = self.upstream.connect()
        upstream.connect()
        with contextlib.closing(upstream.sock) as server:
            upgrades = "upgrade" in self.headers.get("Connection", "").lower()
            head = [f"{self.command} {self.path} HTTP/1.1"]
            head += [f"{name}: {value}" for name, value in self.headers.items() if upgrades or name.lower() != "connection"]
            head += [] if upgrades else ["Connection: close"]
            if "Authorization" not in self.headers:
                head.append(f"Authorization: Bearer {self.upstream.token}")
            server.sendall("\r\n".join([*head, "", ""]).encode() + body)
            splice(self.connection, server, end)


def splice(client: socket.socket, server: ssl.SSLSocket, end: float) -> None:
    """Both ways, until the server closes or the time is over."""
    while (left := end - time.monotonic()) > 0:
        # TLS may hold decrypted bytes for which the socket is not readable.
        ready = [server] if server.pending() else select.select([client, server], [], [], left)[0]
        if server in ready:
            data = server.recv(CHUNK)
            if not data:
                return
            client.sendall(data)
        if client in ready:
            data = client.recv(CHUNK)
            if not data:
                return
            server.sendall(data)


def main(kubeconfig: pathlib.Path, folder: pathlib.Path) -> None:
    config = json.loads(kubeconfig.read_text())
    Handler.rules, Handler.upstream = Rules(folder / "rules.json"), Upstream(config)
    Handler.log_message = lambda *_: None
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    # Plain HTTP, on loopback. kubectl sends no token over it, so the proxy adds the kubeconfig's own where there is none.
    config["clusters"][0]["cluster"] = {"server": f"http://127.0.0.1:{server.server_port}"}
    new = folder / "kubeconfig.new"
    new.write_text(json.dumps(config))
    os.replace(new, folder / "kubeconfig")
    print("ready", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
