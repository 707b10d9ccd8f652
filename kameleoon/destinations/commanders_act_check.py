"""
What Commanders Act takes. It answers 200 to nearly everything and drops what it does not like in silence, so events are checked here.

Source:
    docs/destinations.md, "Commanders Act".
"""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeGuard

from kameleoon.destinations.protocol import EventRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MAX_EVENT_BYTES = 32_000
"""32 KB, whichever way KB is read."""

_MAX_DEPTH = 20
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_CURRENCY = re.compile(r"[A-Z]{3}")
_HASHES = {"_md5": re.compile(r"[0-9a-f]{32}"), "_sha256": re.compile(r"[0-9a-f]{64}")}
_V1_OBJECTS = ("properties", "page", "device", "app")

_TEXTS = frozenset(
    {"page_type", "search_term", "currency", "payment_method", "id", "type", "status", "medium", "source"}
)
_REQUIRED: Final = {
    "page_view": "page_type",
    "login": "",
    "sign_up": "",
    "search": "search_term",
    "select_content": "",
    "generate_lead": "",
    "view_item": "revenue currency items",
    "view_item_list": "items",
    "select_item": "items",
    "add_to_cart": "value currency items",
    "remove_from_cart": "items",
    "view_cart": "items",
    "add_to_wishlist": "items",
    "begin_checkout": "revenue value currency items",
    "add_payment_info": "payment_method",
    "add_shipping_info": "value currency items",
    "purchase": "id type value revenue currency payment_method status items",
    "refund": "id type value revenue currency",
    "ad_view": "medium source",
    "ad_click": "medium source",
}
STANDARD_NAMES = frozenset(_REQUIRED)
"""Names of events that mean something to Commanders Act."""

_RECOMMENDED: Final = {
    "page_type": frozenset(
        [
            "home",
            "landing",
            "product_list",
            "product",
            "content_list",
            "content",
            "search",
            "funnel",
            "success",
            "funnel_confirmation",
            "account",
            "cart",
            "legal",
        ]
    ),
    "payment_method": frozenset(
        [
            "by_invoice",
            "by_bank_transfer_in_advance",
            "card",
            "check_in_advance",
            "cod",
            "coupon",
            "direct_debit",
            "online_payment_system",
            "other",
        ]
    ),
    "status": frozenset(
        [
            "canceled",
            "delivered",
            "in_progress",
            "partially_delivered",
            "partially_returned",
            "partially_shipped",
            "pending_shipment",
            "returned",
            "shipped",
            "pending",
        ]
    ),
}
_RECOMMENDED_ON: Final = {"page_type": "page_view", "payment_method": None, "status": "purchase"}


def is_event_name(value: object) -> TypeGuard[str]:
    """Whether *value* can name an event."""
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def check_event(event: Any, *, is_strict: bool, warn: Callable[[str, str], None]) -> bytes:
    """
    The exact bytes of a v2 event.

    Args:
        event: As JSON has it.
        is_strict: Whether a standard event without what it requires is refused rather than warned of.
        warn: Told ``(code, what is odd)`` of an event that is sent all the same.

    Raises:
        EventRefused: With a code from ``V01`` to ``V13``, of the first rule that is broken.
    """
    _plain(event, 1)
    if not isinstance(event, dict):
        _refuse("V01", "not an object")
    name = event.get("event_name")
    if not is_event_name(name):
        _refuse("V03", "event_name must be 1 to 64 of a-z, 0-9 and _, beginning with a letter")
    context = event.get("context")
    event_id = context.get("event_id") if isinstance(context, dict) else None
    if not isinstance(context, dict) or not isinstance(event_id, str) or not 0 < len(event_id) <= 128:
        _refuse("V04", "context.event_id must be a text of 1 to 128 characters")
    timestamp = context.get("event_timestamp")
    if not isinstance(timestamp, int) or isinstance(timestamp, bool) or not 10**12 <= timestamp < 10**13:
        _refuse("V05", "context.event_timestamp must be an integer, in milliseconds since 1970")
    user = _user(event.get("user"))
    _money(event)
    problem = _standard_problem(name, event)
    if problem and is_strict:
        _refuse("V09", problem)
    if problem:
        warn("V09", problem)
    for key, value in user.items():
        for ending, pattern in _HASHES.items():
            if key.endswith(ending) and not (isinstance(value, str) and pattern.fullmatch(value)):
                _refuse("V10", f"user.{key} is no such hash in lower-case hex")
    for key in ("page", "device", "app"):
        if key in context and not isinstance(context[key], dict):
            _refuse("V11", f"context.{key} must be an object")
    if (
        any(isinstance(event.get(key), dict) for key in _V1_OBJECTS)
        or "event_id" in event
        or "event_timestamp" in event
    ):
        _refuse("V12", "this is the shape of version 1")
    content = json.dumps({**event, "user": user}, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    if len(content) > MAX_EVENT_BYTES:
        _refuse("V13", f"{len(content)} bytes, more than {MAX_EVENT_BYTES}")
    _recommend(name, event, warn)
    return content


def _refuse(code: str, reason: str) -> NoReturn:
    raise EventRefused(code, reason)


def _plain(value: Any, depth: int) -> None:
    if depth > _MAX_DEPTH and isinstance(value, (dict, list, tuple)):
        _refuse("V02", f"nested more than {_MAX_DEPTH} deep")
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                _refuse("V01", "a key is not a text")
            _encodable(key)
            _plain(item, depth + 1)
    elif isinstance(value, (list, tuple)):
        for item in value:
            _plain(item, depth + 1)
    elif isinstance(value, str):
        _encodable(value)
    elif isinstance(value, float):
        if not math.isfinite(value):
            _refuse("V02", "a number is not finite")
    elif value is not None and not isinstance(value, int):
        _refuse("V02", f"a value of type {type(value).__name__} has no JSON form")


def _encodable(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        _refuse("V02", "a text holds half of a surrogate pair")


def _user(user: Any) -> dict[str, Any]:
    anonymous_id = user.get("consistent_anonymous_id") if isinstance(user, dict) else None
    if not isinstance(anonymous_id, str) or not anonymous_id:
        _refuse("V06", "user.consistent_anonymous_id must be a text")
    checked = dict(user)
    if "consent_categories" not in user:
        return checked
    categories = user["consent_categories"]
    is_list = isinstance(categories, (list, tuple))
    if not is_list or not all(isinstance(one, (str, int)) and not isinstance(one, bool) for one in categories):
        _refuse("V07", "user.consent_categories must be a list of texts")
    checked["consent_categories"] = texts = [str(one) for one in categories]
    if len(set(texts)) < len(texts):
        _refuse("V07", "user.consent_categories has one twice")
    return checked


def _money(event: Mapping[str, Any]) -> None:
    amounts = [key for key in ("value", "revenue") if key in event]
    if not all(_is_number(event[key]) for key in amounts):
        _refuse("V08", "value and revenue must be numbers")
    currency = event.get("currency")
    if (amounts or "currency" in event) and not (isinstance(currency, str) and _CURRENCY.fullmatch(currency)):
        _refuse("V08", "currency must be three capital letters, and be there with value and revenue")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _standard_problem(name: str, event: Mapping[str, Any]) -> str:
    """What a standard event lacks, empty for nothing."""
    for key in _REQUIRED.get(name, "").split():
        value = event.get(key)
        if key in _TEXTS and not (isinstance(value, str) and value):
            return f"{name} needs the text {key}"
        if key in ("value", "revenue") and not _is_number(value):
            return f"{name} needs the number {key}"
        if key == "items" and (problem := _items_problem(name, value)):
            return problem
    if name == "refund" and "items" in event:
        return _items_problem(name, event["items"])
    return ""


def _items_problem(name: str, items: Any) -> str:
    if not isinstance(items, (list, tuple)) or not items:
        return f"{name} needs a list of items"
    if name == "select_item" and len(items) != 1:
        return f"{name} needs exactly one item"
    for item in items:
        if not isinstance(item, dict) or not item.get("id") or not _is_number(item.get("quantity")):
            return f"an item of {name} needs id, quantity and product"
        product = item.get("product")
        if not isinstance(product, dict) or not product.get("id") or not product.get("name"):
            return f"a product of {name} needs id, name and price"
        if not _is_number(product.get("price")):
            return f"a product of {name} needs id, name and price"
    return ""


def _recommend(name: str, event: Mapping[str, Any], warn: Callable[[str, str], None]) -> None:
    for key, allowed in _RECOMMENDED.items():
        only_on = _RECOMMENDED_ON[key]
        if only_on in (None, name) and isinstance(event.get(key), str) and event[key] not in allowed:
            warn("V14", f"{key} is none of the recommended values")
