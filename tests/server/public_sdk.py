"""
The public SDK as a black box against the local server: configuration, stream, tracking, visitor data.

Run by `test_public_sdk.py` with the interpreter of an environment that has the SDK; it knows nothing of this library. The SDK only speaks
HTTPS to hosts of fixed names, so names lead to this machine here and a certificate made for the occasion is trusted.

    python public_sdk.py <port of the TLS entrance> <site code>
"""

import json
import socket
import sys
import time

PORT, SITE_CODE = int(sys.argv[1]), sys.argv[2]
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
from kameleoon.data import CustomData, Device, DeviceType  # noqa: E402
from kameleoon.types.remote_visitor_data_filter import RemoteVisitorDataFilter  # noqa: E402


def wait_for(condition, seconds=15):
    """Whether *condition* comes true in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return False


config = KameleoonClientConfig("id", "secret", network_domain=DOMAIN, top_level_domain="shop.example")
client = KameleoonClientFactory.create(SITE_CODE, config)
said = {"ready": client.wait_init(10_000)}
said["variations"] = {}
for number in range(40):
    code = f"visitor{number}"
    said["variations"][code] = client.get_variation(code, "checkout").key
    if number % 2:
        client.track_conversion(code, 1001, revenue=2.5)
client.add_data("visitor0", CustomData(1, "gold"), Device(DeviceType.PHONE))
said["gift"] = client.is_feature_active("visitor0", "gift")
client.flush()
print(json.dumps(said), flush=True)

# The test turns the flag on now; the stream brings it.
sys.stdin.readline()
print(json.dumps({"streamed": wait_for(lambda: client.is_feature_active("visitor1", "later"))}), flush=True)

# The test has seen the lines arrive; another process would ask for the visitor like this.
sys.stdin.readline()
wanted = RemoteVisitorDataFilter(previous_visit_amount=1, device=True, conversions=True, experiments=True)
data = client.get_remote_visitor_data("visitor0", add_data=False, data_filter=wanted) or []
print(json.dumps({"remote": sorted(type(item).__name__ for item in data)}), flush=True)
