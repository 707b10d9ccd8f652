"""
Product events, counters and attributes.

Source:
    data-api.md, section 10.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from aiohttp import web

from kameleoon.server.answers import (
    check_strictly,
    check_token,
    is_true,
    json_answer,
    listed,
    read_text,
    refusal,
    site_code_of,
)
from kameleoon.server.http_data import MAX_BODY_BYTES, MAX_LISTED
from kameleoon.server.lines import NONCE, RefusedLine
from kameleoon.server.service import SERVICE

if TYPE_CHECKING:
    from collections.abc import Iterator

_COUNTED = {"PRODUCTPAGE": "views", "PRODUCTADDTOCART": "addToCart", "PRODUCTBUY": "transactions"}
_MAX_EAN = 100
_MAX_VALUE = 10_000
_MAX_QUANTITY = 10**6
_END_MS = 2**62

ProductEvent = tuple[str, str, str, int, dict[str, Any]]


async def take_product_events(request: web.Request) -> web.Response:
    """``POST /product/events``: 204; what makes no sense is refused line by line, as with visitors' events."""
    service = request.app[SERVICE]
    site_code = site_code_of(request)
    check_token(request, service)
    check_strictly(request, service, site_code)
    text = await read_text(request, MAX_BODY_BYTES)
    common = request.query.get("ean")
    events: list[ProductEvent] = []
    for number, parameters in enumerate(_members(text) if is_true(request, "json") else _lines(text), start=1):
        try:
            events.append(_event(parameters, common))
        except ValueError as error:
            service.refusals.append(RefusedLine(number, str(error)))
    await service.with_storage(lambda: service.storage.add_products(site_code, events))
    return web.Response(status=204)


async def give_product_counters(request: web.Request) -> web.Response:
    """``GET /product/productCounters``: views, carts and purchases of products."""
    service = request.app[SERVICE]
    site_code = site_code_of(request)
    check_token(request, service)
    check_strictly(request, service, site_code)
    eans = listed(request, "eans", MAX_LISTED)
    begin_ms, end_ms = _moment(request, "begin", 0), _moment(request, "end", _END_MS)
    storage = service.storage

    def read() -> dict[str, dict[str, int]]:
        found: dict[str, dict[str, int]] = {}
        for ean in eans:
            counts = storage.product_counts(site_code, ean, begin_ms, end_ms)
            found[ean] = {shown: counts.get(kind, 0) for kind, shown in _COUNTED.items()}
        return found

    return json_answer(await service.with_storage(read), pretty=is_true(request, "prettyPrint"))


async def give_product_data(request: web.Request) -> web.Response:
    """``GET /product/productData``: the latest attributes of products; unknown ones are left out."""
    service = request.app[SERVICE]
    site_code = site_code_of(request)
    check_token(request, service)
    check_strictly(request, service, site_code)
    eans = listed(request, "eans", MAX_LISTED)
    storage = service.storage
    found = await service.with_storage(lambda: {ean: storage.product(site_code, ean) for ean in eans})
    known = {ean: attributes for ean, attributes in found.items() if attributes is not None}
    return json_answer(known, pretty=is_true(request, "prettyPrint"))


def _lines(text: str) -> Iterator[dict[str, Any]]:
    for line in text.splitlines():
        if line:
            pairs = (pair.partition("=") for pair in line.split("&"))
            yield {name: unquote(value) for name, _, value in pairs}


def _members(text: str) -> Iterator[Any]:
    try:
        members = json.loads(text)
    except (ValueError, RecursionError):
        members = None
    yield from members if isinstance(members, list) else [None]


def _event(parameters: Any, common: str | None) -> ProductEvent:
    if not isinstance(parameters, dict):
        raise ValueError("not an object with parameters")  # noqa: TRY004 - a nonsensical line like any other
    ean = common or parameters.get("ean")
    nonce, kind = parameters.get("nonce"), str(parameters.get("eventType", "")).upper()
    if not isinstance(ean, str) or not 0 < len(ean) <= _MAX_EAN:
        raise ValueError(f"ean must have 1 to {_MAX_EAN} characters")
    if not isinstance(nonce, str) or not NONCE.fullmatch(nonce):
        raise ValueError("nonce is not 16 hexadecimal digits")
    if kind not in _COUNTED:
        raise ValueError("eventType is no product event")
    quantity = 1
    if kind != "PRODUCTPAGE":
        quantity = int(str(parameters.get("quantity", 1))[:10])
        if not 0 <= quantity <= _MAX_QUANTITY:
            raise ValueError(f"quantity must be 0 to {_MAX_QUANTITY}")
    attributes = {
        str(name): value
        for name, value in parameters.items()
        if name not in {"ean", "nonce", "eventType"} and len(str(value)) <= _MAX_VALUE
    }
    return ean, nonce.upper(), kind, quantity, attributes if kind == "PRODUCTPAGE" else {}


def _moment(request: web.Request, name: str, default: int) -> int:
    text = request.query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise refusal(400, "bad_number", f"{name} must be a time in ms since 1970")
    return int(text)
