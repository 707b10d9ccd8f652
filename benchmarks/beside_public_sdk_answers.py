"""
The questions of `beside_public_sdk.py`, asked of either library: generated configurations and visitors, all answers printed.

    python beside_public_sdk_answers.py <port of the service> < cases.json
"""

# ruff: noqa: ANN001, ANN002, ANN003, ANN201, ANN202 - a script; it is not type-checked

import json
import socket
import sys
import warnings

PORT = int(sys.argv[1])
DOMAIN = "kameleoon.test"

_getaddrinfo = socket.getaddrinfo


def _to_this_machine(host, port, *arguments, **named):
    if isinstance(host, bytes):
        host = host.decode()
    if host is not None and host.endswith(DOMAIN):
        return _getaddrinfo("127.0.0.1", PORT, *arguments, **named)
    return _getaddrinfo(host, port, *arguments, **named)


socket.getaddrinfo = _to_this_machine

from kameleoon import KameleoonClientConfig, KameleoonClientFactory  # noqa: E402 - after names lead here
from kameleoon import data as kinds  # noqa: E402
from kameleoon.logging.kameleoon_logger import KameleoonLogger  # noqa: E402
from kameleoon.logging.log_level import LogLevel  # noqa: E402

KameleoonLogger.set_log_level(LogLevel.NONE)
warnings.simplefilter("ignore")


def told(kind, *values):
    """A data object from its name and arguments, of which those of enumerations are names."""
    make = getattr(kinds, kind)
    if kind in ("Browser", "Device", "OperatingSystem"):
        members = getattr(kinds, f"{kind}Type")
        return make(members[values[0]], *values[1:])
    return make(*values)


def answer(client, visitor, flag_keys):
    """All that is asked about one visitor."""
    code = visitor["code"]
    client.add_data(code, *(told(*item) for item in visitor["data"]))
    if visitor["consent"] is not None:
        client.set_legal_consent(code, visitor["consent"])
    said = []
    for key in flag_keys:
        try:
            variation = client.get_variation(code, key)
            variables = {name: [found.type, found.value] for name, found in variation.variables.items()}
            said.append([variation.key, variation.name, variation.id_, variation.experiment_id, variables])
        except Exception as error:
            said.append(type(error).__name__)
    try:
        said.append(sorted(client.get_variations(code, only_active=True)))
    except Exception as error:
        said.append(type(error).__name__)
    return said


def main():
    """Print the answers to the cases on standard input."""
    answers = []
    for case in json.load(sys.stdin):
        config = KameleoonClientConfig("id", "secret", network_domain=DOMAIN, top_level_domain="shop.example")
        client = KameleoonClientFactory.create(case["site_code"], config)
        ready = client.wait_init(20_000)
        answers.append([ready, [answer(client, visitor, case["flags"]) for visitor in case["visitors"]]])
        KameleoonClientFactory.forget(case["site_code"])
    print(json.dumps(answers), flush=True)


main()
