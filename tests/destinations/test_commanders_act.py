"""Commanders Act: golden payloads, each rule of the check, limits to the byte, and what answers mean."""

import copy
import json

import pytest

from kameleoon._transport.flow import run
from kameleoon.destinations import CommandersAct, EventRefused, Feed, Forwarder
from kameleoon.destinations.commanders_act_check import STANDARD_NAMES, check_event
from kameleoon.exceptions import ConfigException

VIEWED = (
    b'{"event_name":"experiment_viewed","experiment_id":"12345","variation_id":"98765","variation_key":"on","feature_key":"new_checkout",'
    b'"exposure_source":"kameleoon","sdk_name":"kameleoon-python","sdk_version":"1.0.0","user":{"consistent_anonymous_id":"7f3a9c1e5b2d8f60",'
    b'"consent_categories":["1","3"]},"context":{"event_id":"3f2504e0-4f89-41d3-9a0c-0305e82c3301","event_timestamp":1700000000000}}'
)
CONVERTED = (
    b'{"event_name":"experiment_conversion","goal_id":"678","value":49.9,"currency":"EUR","experiments":[{"experiment_id":"12345",'
    b'"variation_id":"98765"}],"exposure_source":"kameleoon","sdk_name":"kameleoon-python","sdk_version":"1.0.0","user":{'
    b'"consistent_anonymous_id":"7f3a9c1e5b2d8f60","consent_categories":["1","3"]},"context":{"event_id":'
    b'"9c858901-8a57-4791-81fe-4c455b099bc9","event_timestamp":1700000001000}}'
)
GOOD = {
    "event_name": "thing_done",
    "user": {"consistent_anonymous_id": "v"},
    "context": {"event_id": "e", "event_timestamp": 1_700_000_000_000},
}
ITEM = {"id": "1", "quantity": 1, "product": {"id": "1", "name": "n", "price": 2.5}}


@pytest.fixture
def act(collector):
    """Build the destination for the collector."""

    def make(**settings):
        known = {"base_url": collector.url, "currency": "EUR", "sdk_version": "1.0.0", **settings}
        return CommandersAct(collector.site_id, collector.source_key, **known)

    return make


def checked(changes, *, is_strict=True):
    """``(bytes, warnings)`` of a good event with changes, ``{dotted path: value}``."""
    event = copy.deepcopy(GOOD)
    for path, value in changes.items():
        *parents, last = path.split(".")
        node = event
        for parent in parents:
            node = node[parent]
        node[last] = value
    warnings = []
    return check_event(event, is_strict=is_strict, warn=lambda code, _text: warnings.append(code)), warnings


def test_golden_payloads_and_batch(act, collector, sender, exposure, conversion):
    """Both events are as documented to the byte, and 815 bytes in one batch."""
    forwarder = Forwarder(act(mode="batch", consent_categories=lambda _code: [1, "3"]))
    assert forwarder.offer(exposure(event_id="3f2504e0-4f89-41d3-9a0c-0305e82c3301"))
    assert forwarder.offer(conversion(event_id="9c858901-8a57-4791-81fe-4c455b099bc9"))
    run(forwarder.deliver(at_once=True), sender)
    assert collector.bodies == [b'{"batch":[' + VIEWED + b"," + CONVERTED + b"]}"]
    assert (len(VIEWED), len(CONVERTED), len(collector.bodies[0])) == (392, 410, 815)
    assert collector.targets == ["POST /events/batch?tc_s=12%2034&token=s%2Fk%26%3D"]
    assert (forwarder.counters["sent"], forwarder.pending) == (2, 0)


def test_one_by_one_and_key_in_the_header(act, collector, sender, exposure):
    """Single events go to their own address; the key may go into the header instead of the query."""
    for settings, target in [
        ({}, "POST /events?tc_s=12%2034&token=s%2Fk%26%3D"),
        ({"auth": "header"}, "POST /events?tc_s=12%2034"),
    ]:
        forwarder = Forwarder(act(**settings), clock=lambda: 1000.0)
        assert all([forwarder.offer(exposure(1)), forwarder.offer(exposure(2))])
        run(forwarder.deliver(at_once=True), sender)
        assert collector.targets[-2:] == [target, target]
    assert collector.refused == []
    assert sender.paused == pytest.approx([0.01, 0.01])  # at most 100 a second


@pytest.mark.parametrize(
    ("code", "changes"),
    [
        ("V01", {"user": {"consistent_anonymous_id": "v", 5: 1}}), ("V02", {"x": float("nan")}), ("V02", {"x": float("inf")}),
        ("V02", {"x": b"x"}), ("V02", {"x": {1}}), ("V02", {"x": "\ud800"}), ("V03", {"event_name": "Thing"}), ("V03", {"event_name": ""}),
        ("V03", {"event_name": "x" * 65}), ("V03", {"event_name": 5}), ("V03", {"event_name": "a\n"}), ("V04", {"context": []}),
        ("V04", {"context.event_id": ""}), ("V04", {"context.event_id": "x" * 129}), ("V05", {"context.event_timestamp": 1_700_000_000}),
        ("V05", {"context.event_timestamp": 1_700_000_000_000_000}), ("V05", {"context.event_timestamp": 1.7e12}), ("V05", {"context.event_timestamp": True}),
        ("V06", {"user": None}), ("V06", {"user.consistent_anonymous_id": ""}), ("V07", {"user.consent_categories": "1"}),
        ("V07", {"user.consent_categories": [1, "1"]}), ("V07", {"user.consent_categories": [True]}), ("V08", {"value": 1}),
        ("V08", {"revenue": 1, "currency": "eur"}), ("V08", {"value": "1", "currency": "EUR"}), ("V08", {"value": True, "currency": "EUR"}),
        ("V09", {"event_name": "page_view"}), ("V09", {"event_name": "select_item", "items": [ITEM, ITEM]}),
        ("V09", {"event_name": "view_cart", "items": [{**ITEM, "product": {"id": "1"}}]}), ("V10", {"user.email_md5": "A" * 32}),
        ("V10", {"user.email_sha256": "a" * 63}), ("V11", {"context.page": "x"}), ("V12", {"properties": {}}), ("V12", {"event_id": "e"}),
        ("V11", {"context.device": []}), ("V11", {"context.app": 1}), ("V12", {"event_timestamp": 1}), ("V12", {"page": {}}), ("V12", {"app": {}}), ("V12", {"device": {}}), ("V13", {"x": "é" * 16_000}),
    ],
)  # fmt: skip
def test_each_rule_of_the_check(code, changes):
    """An event that breaks one rule is refused with its code."""
    with pytest.raises(EventRefused) as refused:
        checked(changes)
    assert refused.value.code == code


STANDARD = {
    "page_view": "page_type", "login": "", "sign_up": "", "search": "search_term", "select_content": "", "generate_lead": "",
    "view_item": "revenue currency items", "view_item_list": "items", "select_item": "items", "add_to_cart": "value currency items",
    "remove_from_cart": "items", "view_cart": "items", "add_to_wishlist": "items", "begin_checkout": "revenue value currency items",
    "add_payment_info": "payment_method", "add_shipping_info": "value currency items",
    "purchase": "id type value revenue currency payment_method status items", "refund": "id type value revenue currency",
    "ad_view": "medium source", "ad_click": "medium source",
}  # fmt: skip
"""Required root properties of the standard events, as documented."""

RECOMMENDED = {
    "page_type": "home landing product_list product content_list content search funnel success funnel_confirmation account cart legal",
    "payment_method": "by_invoice by_bank_transfer_in_advance card check_in_advance cod coupon direct_debit online_payment_system other",
    "status": "canceled delivered in_progress partially_delivered partially_returned partially_shipped pending_shipment returned shipped pending",
}


@pytest.mark.parametrize("name", STANDARD)
def test_what_standard_events_require(name):
    """Each has what it requires, and is refused without any of it; not strict, it is warned of and sent."""
    good = {
        "currency": "EUR",
        "items": [ITEM],
        "value": 2,
        "revenue": 1.5,
        "payment_method": "card",
        "status": "shipped",
    }
    good = {key: good.get(key, "home" if key == "page_type" else "x") for key in STANDARD[name].split()}
    assert set(STANDARD) == STANDARD_NAMES
    assert checked({"event_name": name, **good})[1] == []
    for key in good:
        partial = {other: value for other, value in good.items() if other != key}
        code = "V08" if key == "currency" else "V09"
        with pytest.raises(EventRefused, match=code):
            checked({"event_name": name, **partial})
        if code == "V09":
            assert checked({"event_name": name, **partial}, is_strict=False)[1] == ["V09"]
            with pytest.raises(EventRefused, match=r"V0[89]"):
                checked({"event_name": name, **good, key: [] if key == "items" else None})


@pytest.mark.parametrize("wrong", [[], {}, [5], [{**ITEM, "id": ""}], [{**ITEM, "quantity": "1"}], [{**ITEM, "quantity": True}], [{"id": "1", "quantity": 1}],
    [{**ITEM, "product": {"id": "1", "name": "n", "price": "2"}}], [{**ITEM, "product": {"name": "n", "price": 2}}], [ITEM, {}]])  # fmt: skip
def test_items_have_what_they_require(wrong):
    """Id, quantity and a product with id, name and price; of a refund they may be left out, and are looked at if there."""
    for name, more in [
        ("view_cart", {}),
        ("refund", {"id": "1", "type": "x", "value": 1, "revenue": 1, "currency": "EUR"}),
    ]:
        with pytest.raises(EventRefused, match="V09"):
            checked({"event_name": name, **more, "items": wrong})
        checked({"event_name": name, **more, "items": [ITEM]})


def test_recommended_values_are_not_warned_of():
    """Each documented one; others are, on the events that have such a list."""
    purchase = dict.fromkeys(("id", "type"), "x") | {"value": 2, "revenue": 1, "currency": "EUR", "items": [ITEM]}
    events = {
        "page_type": {"event_name": "page_view"}, "payment_method": {"event_name": "add_payment_info"},
        "status": {"event_name": "purchase", "payment_method": "card", **purchase},
    }  # fmt: skip
    for key, values in RECOMMENDED.items():
        assert [checked({**events[key], key: value})[1] for value in values.split()] == [[]] * len(values.split())
        assert checked({**events[key], key: "of the future"})[1] == ["V14"]
    assert checked({"status": "of the future"})[1] == []


def test_nesting_and_non_objects_are_refused():
    """Twenty levels are the most, and an event is an object."""
    deep = "x"
    for _ in range(20):
        deep = [deep]
    for event, code in [({**GOOD, "x": deep}, "V02"), ([], "V01"), (None, "V01")]:
        with pytest.raises(EventRefused, match=code):
            check_event(event, is_strict=True, warn=print)
    check_event({**GOOD, "x": deep[0]}, is_strict=True, warn=print)


def test_what_is_taken():
    """A complete purchase is, categories become texts, and recommended values are only warned of."""
    purchase = {
        "event_name": "purchase",
        "id": "1",
        "type": "online",
        "value": 2,
        "revenue": 1.5,
        "currency": "EUR",
        "payment_method": "card",
        "status": "shipped",
        "items": [ITEM],
    }
    assert checked(purchase)[1] == []
    assert checked({**purchase, "payment_method": "barter", "status": "lost"})[1] == ["V14", "V14"]
    content, _ = checked({"user.consent_categories": [1, "3"], "user.email_md5": "a" * 32})
    assert json.loads(content)["user"]["consent_categories"] == ["1", "3"]
    assert checked({"event_name": "search"}, is_strict=False)[1] == ["V09"]


def test_an_event_of_32000_bytes_is_the_largest():
    """Measured in bytes of what is sent, not in characters."""
    room = 32_000 - len(checked({"x": ""})[0])
    assert len(checked({"x": "é" * (room // 2) + "x" * (room % 2)})[0]) == 32_000
    with pytest.raises(EventRefused, match="V13"):
        checked({"x": "é" * (room // 2) + "x" * (room % 2 + 1)})


@pytest.mark.parametrize(("extra", "requests"), [(0, 1), (1, 2)])
def test_a_batch_of_500000_bytes_is_the_largest(act, collector, sender, exposure, extra, requests):
    """One byte more goes into another request."""
    padding = {}
    forwarder = Forwarder(act(mode="batch", context=lambda event: {"pad": "x" * padding[event.event_id]}))
    bare = CommandersAct("1", "k", context=lambda _event: {"pad": ""}, sdk_version="1.0.0")
    count = 17
    sizes = [29_500] * (count - 1)
    sizes.append(500_000 - 12 - (count - 1) - sum(sizes) + extra)
    for number, size in enumerate(sizes, 10):
        event = exposure(number)
        padding[event.event_id] = size - len(bare.check(bare.map(event)))
        assert forwarder.offer(event)
    run(forwarder.deliver(at_once=True), sender)
    assert len(collector.bodies) == requests
    assert len(collector.events) == count
    assert requests == 2 or len(collector.bodies[0]) == 500_000
    assert collector.refused == []


@pytest.mark.parametrize(("status", "count"), [(404, 5), (405, 5), (400, 1)])
def test_accounts_without_batches_get_single_events(act, collector, sender, exposure, caplog, status, count):
    """Where batches are not known, or a checked event is refused in one alone, all goes one by one, in order, once; it is said once."""
    collector.faults.append((status, {}))
    forwarder = Forwarder(act(mode="batch"))
    for number in range(1, count + 1):
        forwarder.offer(exposure(number))
    run(forwarder.deliver(at_once=True), sender)
    forwarder.offer(exposure(9))
    run(forwarder.deliver(at_once=True), sender)
    assert [event["experiment_id"] for event in collector.events] == [*map(str, range(1, count + 1)), "9"]
    targets = [target.split("?")[0] for target in collector.targets]
    assert targets == ["POST /events/batch"] + ["POST /events"] * (count + 1)
    assert caplog.text.count(f"batches are refused (status {status}); events go one by one from now on") == 1


def test_a_batch_has_at_most_500_events(act, collector, sender, exposure):
    """However small they are."""
    forwarder = Forwarder(act(mode="batch"))
    for number in range(501):
        forwarder.offer(exposure(number))
    run(forwarder.deliver(at_once=True), sender)
    assert sorted(len(json.loads(body)["batch"]) for body in collector.bodies) == [1, 500]


def test_a_refused_event_is_found_in_its_batch(act, collector, sender, exposure):
    """A 400 on a batch is split until the event stands alone; the others arrive, it becomes a dead letter."""
    collector.poison = b'"experiment_id":"3"'
    dead = []
    forwarder = Forwarder(Feed(act(mode="batch"), on_dead_letter=dead.append))
    for number in range(1, 8):
        forwarder.offer(exposure(number))
    run(forwarder.deliver(at_once=True), sender)
    assert sorted(event["experiment_id"] for event in collector.events) == ["1", "2", "4", "5", "6", "7"]
    assert [json.loads(letter.content)["experiment_id"] for letter in dead] == ["3"]
    assert forwarder.counters["dropped refused"] == 1
    assert forwarder.pending == 0


def test_redirects_are_not_followed(act, collector, sender, exposure):
    """The key is in the address: a redirect ends it for a while, and nothing goes elsewhere."""
    collector.faults.append((307, {"Location": f"{collector.url}/elsewhere"}))
    forwarder = Forwarder(act())
    forwarder.offer(exposure(1))
    run(forwarder.deliver(at_once=True), sender)
    assert len(collector.targets) == 1
    assert forwarder.counters["dropped closed"] == 1


def test_the_loop_guard(act, collector, sender, exposure):
    """What would come back as a conversion is never sent, by setting or by mapper."""
    with pytest.raises(ConfigException, match="kameleoon_goals"):
        act(kameleoon_goals={"experiment_conversion"})
    forwarder = Forwarder(act(kameleoon_goals={"sign_up"}, mapper=lambda _event: {"event_name": "sign_up"}))
    forwarder.offer(exposure())
    run(forwarder.deliver(at_once=True), sender)
    assert forwarder.counters["dropped LOOP"] == 1
    assert collector.targets == []


def test_providers_and_mapper(act, exposure, conversion):
    """User and context are added, id and time stay the event's own, and a mapper may leave events out."""
    destination = act(
        user=lambda code: {"id": f"crm-{code[:2]}", "consistent_anonymous_id": "caid"},
        context=lambda _event: {"event_id": "mine", "device": {"user_agent": "UA"}},
        test_code="t1",
    )
    mapped = destination.map(exposure(rule_type="EXPERIMENTATION"))
    assert mapped["user"] == {"consistent_anonymous_id": "caid", "id": "crm-7f"}
    assert mapped["context"] == {
        "event_id": "id-12345",
        "device": {"user_agent": "UA"},
        "event_timestamp": 1_700_000_000_000,
    }
    assert (mapped["test_code"], mapped["rule_type"]) == ("t1", "EXPERIMENTATION")
    assert act(mapper=lambda _event: None).map(exposure()) is None
    assert "value" not in act(currency=None).map(conversion())
    assert act(conversion_name="ab_goal").map(conversion())["event_name"] == "ab_goal"


@pytest.mark.parametrize(
    "settings",
    [
        {"auth": "both"},
        {"mode": "many"},
        {"requests_per_s": 501},
        {"requests_per_s": 0},
        {"exposure_name": "purchase"},
        {"base_url": "ftp://x"},
    ],
)
def test_settings_that_commanders_act_cannot_use(settings):
    """They are refused when the destination is made, without the key in the message."""
    with pytest.raises(ConfigException) as refused:
        CommandersAct("1", "k3y", **settings)
    assert "k3y" not in str(refused.value)
    assert "purchase" in STANDARD_NAMES
