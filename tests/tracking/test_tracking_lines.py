"""Tracking lines as the service reads them; the recorded cases in tests/conformance cover every field."""

import re
from urllib.parse import parse_qsl, unquote

from hypothesis import given
from hypothesis import strategies as st

from kameleoon._tracking.lines import make_lines
from kameleoon._visitor.facts import Told
from kameleoon._visitor.nonces import make_nonce
from kameleoon._visitor.record import Visitor, VisitorRecord
from kameleoon._visitor.unsent import Unsent, take_unsent
from kameleoon.data import Conversion, CustomData, Device, DeviceType, PageView

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)


def unsent_of(*values, is_unique=False):
    """What a visitor with *values* has to send."""
    visitor = Visitor(VisitorRecord(0), 0.0, is_unique=is_unique)
    for value in values:
        Told(value, 1).apply(visitor)
    return take_unsent(visitor, consent_required=False)


def texts(lines):
    """The lines' texts without their nonces."""
    return [re.sub(r"^nonce=[0-9A-F]{16}&", "", line.text) for line in lines]


def test_a_line_has_nonce_type_fields_and_visitor_in_this_order():
    """The worked line of a conversion with metadata, byte for byte."""
    unsent = unsent_of(Conversion(83023, 19.99, metadata=[CustomData(1, "gold"), CustomData(4, "x", "y")]))
    line = make_lines("c0ffee1234567890", unsent, lambda: "9EB31A920C281D55")[0]
    assert line.text == (
        "nonce=9EB31A920C281D55&eventType=conversion&goalId=83023&revenue=19.99&negative=false"
        "&metadata=%7B%221%22%3A%5B%22gold%22%5D%2C%224%22%3A%5B%22x%22%2C%22y%22%5D%7D&visitorCode=c0ffee1234567890"
    )


def test_json_values_are_escaped_to_ascii_before_encoding():
    """A custom data value beyond ASCII goes out as its JSON escape."""
    assert texts(make_lines("v", unsent_of(CustomData(4, "日本")))) == [
        "eventType=customData&index=4&valuesCountMap=%7B%22%5Cu65e5%5Cu672c%22%3A1%7D&overwrite=true&visitorCode=v"
    ]


def test_a_visitor_with_nothing_to_tell_is_active():
    """Both an unknown visitor and one without unsent items give one activity line."""
    assert texts(make_lines("v", None)) == ["eventType=activity&visitorCode=v"]
    assert texts(make_lines("v", unsent_of())) == ["eventType=activity&visitorCode=v"]


def test_without_consent_nobody_is_announced():
    """Where consent forbids it there is no activity line."""
    assert make_lines("v", Unsent(is_unique=False, mapping_identifier=None, user_agent=None, may_announce=False)) == []


def test_a_cross_device_identifier_has_a_name_of_its_own():
    """A unique identifier that was not mapped from this code is sent as mappingValue."""
    assert make_lines("u@1", unsent_of(Device(DeviceType.PHONE), is_unique=True))[0].visitor == "mappingValue=u%401"


@given(TEXT.filter(bool), TEXT, TEXT)
def test_every_text_comes_back_as_it_was(code, url, title):
    """Whatever an application tells, the line is one line, and decoding gives back what was told."""
    lines = make_lines(code, unsent_of(PageView(f"u{url}", title)))
    assert len(lines) == 1
    assert "\n" not in lines[0].text
    fields = dict(pair.partition("=")[::2] for pair in lines[0].text.split("&"))
    assert unquote(fields["visitorCode"]) == code
    assert unquote(fields["href"]) == f"u{url}"
    assert unquote(fields.get("title", "")) == title
    assert dict(parse_qsl(lines[0].text.replace("+", "%2B"), keep_blank_values=True))["visitorCode"] == code


def test_nonces_do_not_follow_the_application_s_seed():
    """Seeding the shared generator does not repeat nonces, and all have the wire's form."""
    import random

    made = []
    for _ in range(2):
        random.seed(1)
        made += [make_nonce() for _ in range(100)]
    assert len(set(made)) == 200
    assert all(re.fullmatch("[0-9A-F]{16}", nonce) for nonce in made)
