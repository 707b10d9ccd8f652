"""
The public SDK as a black box against the local server: configuration, stream, tracking, visitor data.

Run by `test_public_sdk.py` with the interpreter of an environment that has the SDK, 3.4.0 or 3.22.2; it knows nothing of this library. The
SDK only speaks HTTPS to hosts of fixed names, so names lead to this machine here and a certificate made for the occasion is trusted.

    python public_sdk.py <port of the TLS entrance> <site code>

It prints a line of JSON for each of its steps, and waits for a line before it goes on to the next.
"""

import json
import socket
import sys
import time

PORT, SITE_CODE = int(sys.argv[1]), sys.argv[2]
DOMAIN = "kameleoon.test"
DOMAINS = (DOMAIN, "kameleoon.eu", "kameleoon.com", "kameleoon.io")

_getaddrinfo = socket.getaddrinfo


def _to_this_machine(host, port, *arguments, **named):
    if isinstance(host, bytes):
        host = host.decode()
    if host is not None and host.endswith(DOMAINS):
        return _getaddrinfo("127.0.0.1", PORT, *arguments, **named)
    return _getaddrinfo(host, port, *arguments, **named)


socket.getaddrinfo = _to_this_machine

from kameleoon import KameleoonClientConfig, KameleoonClientFactory, data  # noqa: E402 - after names lead here
from kameleoon.sdk_version import SdkVersion  # noqa: E402
from kameleoon.types.remote_visitor_data_filter import RemoteVisitorDataFilter  # noqa: E402

IS_OLD = SdkVersion.VERSION.startswith("3.4.")
ASKED = {
    "CustomData": ("values",),
    "Device": ("device_type",),
    "Browser": ("browser_type", "version"),
    "OperatingSystem": ("os_type",),
    "PageView": ("url", "title"),
    "Geolocation": ("country", "region", "city"),
    "Conversion": ("goal_id", "revenue", "negative"),
}


def make(environment=None):
    """A client."""
    more = {} if IS_OLD else {"network_domain": DOMAIN}
    config = KameleoonClientConfig("id", "secret", environment=environment, top_level_domain="shop.example", **more)
    return KameleoonClientFactory.create(SITE_CODE, config)


def tell(**said):
    """Say what a step found, and wait for the next."""
    print(json.dumps(said), flush=True)
    sys.stdin.readline()


def shown(thing):
    """What a data object says, for JSON."""
    name = type(thing).__name__
    values = [getattr(thing, attribute) for attribute in ASKED[name]]
    return [name, *(value.name if hasattr(value, "name") else value for value in values)]


client = make()
ready = client.wait_init()
variations = {}
for number in range(40):
    code = f"visitor{number}"
    variations[code] = client.get_feature_variation_key(code, "checkout")
    if number % 2:
        client.track_conversion(code, 1001, revenue=2.5)
client.add_data("visitor1", data.Conversion(1001, 1.5, True))
client.add_data(
    "visitor0",
    data.CustomData(1, "gold", "old friend & = é"),
    data.Device(data.DeviceType.PHONE),
    data.Browser(data.BrowserType.CHROME, 120.5),
    data.OperatingSystem(data.OperatingSystemType.ANDROID),
    data.PageView("https://shop.example/cart?a=1&b=2", "Cart é"),
    data.Geolocation("France", "Bretagne", "Brest"),
    data.UserAgent("Shop/1.0 (tests)"),
    data.Conversion(1002, 49.9),
)
gift = [client.is_feature_active(code, "gift") for code in ("visitor0", "visitor2")]
client.flush()
tell(
    version=SdkVersion.VERSION,
    ready=ready,
    variations=variations,
    gift=gift,
    flags=sorted(client.get_feature_list()),
    values={key: client.get_feature_variation_variables("values", key) for key in ("off", "on")},
)

# The test turns the flag on, off, on and off now; the stream brings it.
for is_on in (True, False, True, False):
    deadline = time.monotonic() + 15
    while (now_on := client.is_feature_active("visitor1", "later")) is not is_on and time.monotonic() < deadline:
        time.sleep(0.01)
    tell(is_on=now_on, seen_s=time.time())

# The test has seen the lines arrive; another process would ask for the visitor like this.
wanted = RemoteVisitorDataFilter(
    previous_visit_amount=1,
    page_views=True,
    geolocation=True,
    device=True,
    browser=True,
    operating_system=True,
    conversions=True,
    experiments=True,
)
found = client.get_remote_visitor_data("visitor0", add_data=False, data_filter=wanted) or []
audience = client.get_visitor_warehouse_audience("visitor0", 2)
tell(
    remote=sorted(shown(thing) for thing in found),
    map=client.get_remote_data("settings"),
    audience=sorted(audience.values) if audience else None,
)

# Of a site code the SDK keeps one client, whatever its environment.
KameleoonClientFactory.forget(SITE_CODE)
client = make("staging")
tell(ready=client.wait_init(), later=client.is_feature_active("visitor1", "later"))
