"""
This library beside the service's own Python SDK, which runs as a black box in an environment of its own.

Both run the same script (`beside_public_sdk_work.py`) in turns, each in a process of its own, against the same loopback service, and must
give the same answers.

    python -m venv /tmp/public && /tmp/public/bin/pip install kameleoon-client-python
    python benchmarks/beside_public_sdk.py /tmp/public/bin/python
"""

# ruff: noqa: ANN001, ANN201, ANN202 - a script; it is not type-checked

from __future__ import annotations

import http.server
import json
import os
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path

from evaluation import SEGMENT, flag

SITE_CODE = "benchmark1"
HOSTS = [f"{name}.kameleoon.test" for name in ("sdk-config", "events", "data", "api")]
TURNS = 3
WORK = Path(__file__).with_name("beside_public_sdk_work.py")
CONFIGURATION = json.dumps(
    {
        "dateModified": 1,
        "configuration": {"realTimeUpdate": False, "consentType": "OPTIONAL"},
        "featureFlags": [flag(n) for n in range(100)] + [flag(500, 7)],
        "segments": [SEGMENT],
        "customData": [{"id": n, "index": n, "localOnly": False, "scope": "VISITOR"} for n in range(3)],
    }
).encode()


class Service(http.server.BaseHTTPRequestHandler):
    """Gives the configuration and a token, and takes everything else."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object):
        """Say nothing."""

    def do_GET(self):
        """Give the configuration."""
        self._answer(200, CONFIGURATION)

    def do_POST(self):
        """Take events, give tokens."""
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if "token" in self.path:
            self._answer(200, b'{"access_token": "token", "token_type": "bearer", "expires_in": 7200}')
        else:
            self._answer(204, b"")

    def _answer(self, status, body):
        self.send_response(status)
        if status != 204:
            self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def service(folder):
    """The service on a TLS port of this machine; gives its number and the file of its certificate."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    names = ",".join(f"DNS:{host}" for host in HOSTS)
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=kameleoon.test"]
    command += ["-addext", f"subjectAltName={names}", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Service)
    server.daemon_threads = True
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1], certificate
    finally:
        server.shutdown()
        server.server_close()


def run(python, port, certificate, *, is_ours):
    """Figures and answers of one process."""
    environment = {
        **os.environ,
        "NO_PROXY": "*",
        "no_proxy": "*",
        "SSL_CERT_FILE": str(certificate),
        "REQUESTS_CA_BUNDLE": str(certificate),
    }
    environment["PYTHONPATH"] = str(Path(__file__).parents[1]) if is_ours else ""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [python, "-u", str(WORK), str(port), SITE_CODE],
            env=environment,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
    if done.returncode:
        sys.exit(f"{python} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def main():
    """Print each figure of both, and how many times the other's ours is."""
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    with tempfile.TemporaryDirectory() as folder, service(Path(folder)) as (port, certificate):
        pairs = [
            (
                run(sys.executable, port, certificate, is_ours=True),
                run(sys.argv[1], port, certificate, is_ours=False),
            )
            for _ in range(TURNS)
        ]
    same = len({result["answers"] for pair in pairs for result in pair}) == 1
    print(f"{'':32s} {'this library':>14s} {'public SDK':>14s} {'ratio':>8s}")
    for name in pairs[0][0]["figures"]:
        ours, theirs = (statistics.median(pair[which]["figures"][name] for pair in pairs) for which in (0, 1))
        print(f"{name:32s} {ours:14.2f} {theirs:14.2f} {theirs / ours:8.1f}")
    print("the answers are the same" if same else "THE ANSWERS DIFFER")
    sys.exit(0 if same else 1)


if __name__ == "__main__":
    main()
