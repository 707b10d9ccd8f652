"""
A shop of two pages under gunicorn: one learns who the visitor is, the other asks a flag about it.

    /login?visitor=<code>      the visitor is a gold customer on a phone
    /cart?visitor=<code>       does he get free shipping?

Both answer with the process that did it. The visitors are in Redis, so it does not matter which.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from kameleoon import CustomData, Device, DeviceType, KameleoonClientConfig, KameleoonClientFactory
from kameleoon.stores import RedisStore

if TYPE_CHECKING:
    from collections.abc import Callable

client = KameleoonClientFactory.create(
    "demoshop01",
    KameleoonClientConfig(
        "id",
        "secret",
        base_url=os.environ["SHOP_BACKEND"],
        top_level_domain="localhost",
        visitor_store=RedisStore(os.environ["SHOP_REDIS"]),
    ),
)
client.wait_init()


def application(environ: dict[str, Any], start_response: Callable[..., object]) -> list[bytes]:
    """Answer as the module says."""
    visitor = parse_qs(environ["QUERY_STRING"])["visitor"][0]
    told = {"worker": os.getpid()}
    if environ["PATH_INFO"] == "/login":
        client.add_data(visitor, CustomData("plan", "gold"), Device(DeviceType.PHONE))
    else:
        told["free_shipping"] = client.is_feature_active(visitor, "free_shipping")
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(told).encode()]
