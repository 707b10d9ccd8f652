"""
This library beside the service's own Python SDK, which runs as a black box in an environment of its own.

Both run the same script (`beside_public_sdk_work.py`) in turns, each in a process of its own, against the same loopback service. Then
both answer for generated configurations and visitors (`beside_public_sdk_answers.py`), and the answers must be the same.

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

sys.path[:0] = [str(Path(__file__).parents[1] / "tests" / folder) for folder in ("", "engine")]
from generated_cases import Chance  # noqa: E402 - it is found only now

SITE_CODE = "benchmark1"
HOSTS = [f"{name}.kameleoon.test" for name in ("sdk-config", "events", "data", "api")]
TURNS = 3
PROJECTS, VISITORS = 200, 12
FOLDER = Path(__file__).parent
CONFIGURATION = json.dumps(
    {
        "dateModified": 1,
        "configuration": {"realTimeUpdate": False, "consentType": "OPTIONAL"},
        "featureFlags": [flag(n) for n in range(100)] + [flag(500, 7)],
        "segments": [SEGMENT],
        "customData": [{"id": n, "index": n, "localOnly": False, "scope": "VISITOR"} for n in range(3)],
    }
).encode()


CONFIGURATIONS = {SITE_CODE: CONFIGURATION}


class Service(http.server.BaseHTTPRequestHandler):
    """Gives the configuration and a token, and takes everything else."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object):
        """Say nothing."""

    def do_GET(self):
        """Give the configuration of the site."""
        found = [text for site_code, text in CONFIGURATIONS.items() if site_code in self.path]
        self._answer(200 if found else 404, found[0] if found else b"{}")

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


def generated():
    """Configurations by chance, put into the service, and what is asked of them."""
    cases = []
    for number in range(PROJECTS):
        chance, site_code = Chance(number, 4, 0.0, old_shape=False), f"generated{number:03d}"
        # What happened within a second is no question to ask of two processes.
        root = json.loads(json.dumps(chance.root()).replace('"countInMillis": 1000', '"countInMillis": 86400000'))
        CONFIGURATIONS[site_code] = json.dumps(root).encode()
        flags = [flag["featureKey"] for flag in root["featureFlags"]]
        cases.append({"site_code": site_code, "flags": flags, "visitors": [asked(chance) for _ in range(VISITORS)]})
    return cases


def asked(chance):
    """A visitor by chance, as far as an application can tell of him."""
    known, told = chance.known(), []
    code = f"{chance.code()}-{chance.random.randrange(10**9)}"
    if known is None:
        return {"code": code, "data": [], "consent": None}
    told += [["CustomData", index, *values] for index, values in known.custom.items()]
    told += [["Browser", *known.browser]] if known.browser else []
    told += [["Device", known.device]] if known.device else []
    told += [["OperatingSystem", known.os]] if known.os else []
    told += [["Geolocation", *known.place]] if known.place else []
    told += [["Cookie", known.cookies]] if known.cookies else []
    told += [["ApplicationVersion", known.app]] if known.app else []
    told += [["PageView", url, title] for url, title, _, _ in known.pages]
    told += [["Conversion", goal] for goal, _ in known.conversions]
    return {"code": code, "data": told, "consent": known.consent}


def compared(ours, theirs):
    """How many answers are the same, differ, and were none, as the public SDK raised an error of no kind of its own."""
    same = different = raised = 0
    for (ready, mine), (also_ready, others) in zip(ours, theirs, strict=True):
        assert (ready, also_ready) == (True, True)
        for one, other in zip(mine, others, strict=True):
            for answer, public in zip(one, other, strict=True):
                if isinstance(public, str) and not public.startswith("Feature"):
                    raised += 1
                elif answer == public:
                    same += 1
                else:
                    different += 1
    return same, different, raised


def run(python, script, port, certificate, *, is_ours, given=""):
    """What one process prints."""
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
            [python, "-u", str(FOLDER / f"beside_public_sdk_{script}.py"), str(port), SITE_CODE],
            env=environment,
            input=given,
            cwd=folder,
            stdout=subprocess.PIPE,
            # A traceback would show the source of what is to stay a black box.
            stderr=None if is_ours else subprocess.DEVNULL,
            text=True,
            timeout=600,
            check=False,
        )
    if done.returncode:
        sys.exit(f"{python} failed with {done.returncode}")
    return json.loads(done.stdout.splitlines()[-1])


def main():
    """Print each figure of both, how many times the other's ours is, and whether their answers are the same."""
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    pythons = [(sys.executable, True), (sys.argv[1], False)]
    with tempfile.TemporaryDirectory() as folder, service(Path(folder)) as (port, certificate):
        pairs = [
            [run(python, "work", port, certificate, is_ours=is_ours) for python, is_ours in pythons]
            for _ in range(TURNS)
        ]
        cases = json.dumps(generated())
        answers = [
            run(python, "answers", port, certificate, is_ours=is_ours, given=cases) for python, is_ours in pythons
        ]
    print(f"{'':32s} {'this library':>14s} {'public SDK':>14s} {'ratio':>8s}")
    for name in pairs[0][0]["figures"]:
        ours, theirs = (statistics.median(pair[which]["figures"][name] for pair in pairs) for which in (0, 1))
        print(f"{name:32s} {ours:14.2f} {theirs:14.2f} {theirs / ours:8.1f}")
    agree = len({result["answers"] for pair in pairs for result in pair}) == 1
    same, different, raised = compared(*answers)
    print(f"the answers of these are {'the same' if agree else 'NOT THE SAME'}")
    print(f"of generated projects: {same:,} the same, {different:,} different, {raised:,} where the public SDK failed")
    sys.exit(0 if agree and not different else 1)


if __name__ == "__main__":
    main()
