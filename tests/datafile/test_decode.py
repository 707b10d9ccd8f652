"""JSON decoded in steps is what ``json.loads`` makes of it, whatever it is, and no step takes long."""

# Times are those of the thread alone: what else runs on the machine is no matter of the decoder.

from __future__ import annotations

import json
import sys
import time
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kameleoon._datafile import decode
from kameleoon._datafile.decode import decode_in_steps, exhaust
from kameleoon._datafile.pieces import read_piece, root_in_steps
from kameleoon._engine.ruleset import compile_in_steps

texts = st.text(st.characters(), max_size=6)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)
encodings = st.sampled_from(["utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "utf-32-be", "latin-1"])
PARTS = [
    "[", "]", "{", "}", ",", ":", '"a"', '"featureFlags"', '"\\ud800"', '"\\u00e9\\n"', '"é😀"', " ", "\n\t", "1", "-0.5e3",
    "true", "null", "NaN", "-Infinity", "\ufeff", "x", '"', "\\", "01", "9" * 4_400, "\x00",
]  # fmt: skip


@st.composite
def bodies(draw):
    """A JSON text, whole or spoilt, in some encoding."""
    kind = draw(st.integers(0, 2))
    if kind == 0:
        text = "".join(draw(st.lists(st.sampled_from(PARTS), max_size=14)))
    else:
        value = draw(values)
        if kind == 2:
            value = {"dateModified": 1, "featureFlags": [value, {"a": value}, {}], "segments": draw(values)}
        text = json.dumps(value, ensure_ascii=draw(st.booleans()), indent=draw(st.sampled_from([None, 1])))
        if draw(st.booleans()):
            members = [f"{json.dumps(name)}: {text}" for name in draw(st.lists(texts, min_size=1, max_size=3))]
            text = "{" + ", ".join(members * 2) + "}"
        if draw(st.integers(0, 3)) == 0:
            at, length = draw(st.integers(0, len(text))), draw(st.integers(0, 3))
            text = text[:at] + draw(st.sampled_from(PARTS)) + text[at + length :]
    encoding = draw(encodings)
    body = text.encode(encoding, "replace" if encoding == "latin-1" else "surrogatepass")
    if draw(st.integers(0, 5)) == 0:
        body = body[: draw(st.integers(0, len(body)))] + draw(st.binary(max_size=2))
    return body


def outcome(function, body):
    """What *function* gives or raises, comparable: a ``repr`` tells NaN, signs and the order of members."""
    try:
        return repr(function(body))
    except (ValueError, RecursionError) as error:
        return type(error), str(error)


def read(value):
    """*value* with its pieces decoded."""
    if isinstance(value, dict):
        return {
            name: [read(item) for item in inner] if isinstance(inner, list) else inner for name, inner in value.items()
        }
    return read_piece(value) if isinstance(value, tuple) else value


@settings(max_examples=500, deadline=None, suppress_health_check=list(HealthCheck))
@given(bodies(), st.sampled_from([1, 7, 65_536]))
def test_the_same_as_json_loads(body, step):
    """Values, order, errors and their places are those of ``json.loads``, wherever the steps are."""
    with patch.object(decode, "STEP", step):
        expected = outcome(json.loads, body)
        assert outcome(lambda body: exhaust(decode_in_steps(body)), body) == expected
        assert outcome(lambda body: read(exhaust(root_in_steps(body))), body) == expected


@pytest.mark.parametrize("text", ["[" * 100_000, '{"featureFlags":' + "[" * 100_000, '{"a":' * 100_000])
def test_too_deep(text):
    """A text nested without end is told as such."""
    with pytest.raises(RecursionError):
        exhaust(root_in_steps(text.encode()))


def nested(depth):
    """A list within a list within a list, as text."""
    return "[" * depth + "]" * depth


def test_a_deep_piece_can_be_read_wherever_it_is_asked_for():
    """What may not be decoded again deep in a caller's own stack stays as it is."""
    (piece,) = exhaust(root_in_steps(f'{{"featureFlags": [{{"a": {nested(500)}}}]}}'.encode()))["featureFlags"]

    def deep(left):
        return read_piece(piece) if left == 0 else deep(left - 1)

    assert list(deep(sys.getrecursionlimit() - 300)) == ["a"]


def test_flags_and_segments_wait_as_text():
    """Only what is known of all flags is decoded and kept; segments of another service are left alone."""
    flag = {"featureKey": "f", "id": 3, "rules": [{"id": 1, "experimentId": 2, "type": "TARGETED_DELIVERY"}]}
    root = exhaust(root_in_steps(json.dumps({"featureFlags": [flag, 1], "segments": [{"id": 7}]}).encode()))
    piece, other = root["featureFlags"]
    assert piece[1:] == ("f", 3, None, False, False, (1, 2), (), ())
    assert (read_piece(piece), json.loads(piece[0]), other) == (flag, flag, 1)
    assert root["segments"][0] == ('{"id": 7}', 7)
    assert exhaust(root_in_steps(b'{"segments": [{"id": 7}, 3]}')) == {"segments": [{"id": 7}, 3]}


def longest_step_s(steps):
    """Seconds of this thread's own time that the longest step takes."""
    longest = 0.0
    while True:
        started = time.thread_time()
        try:
            next(steps)
        except StopIteration as stop:
            return max(longest, time.thread_time() - started), stop.value
        longest = max(longest, time.thread_time() - started)


@pytest.mark.parametrize("text", ["red", "é—", "😀"])
def test_no_step_is_long(text):
    """Neither decoding nor compiling a large configuration holds the interpreter for 5 ms at a time, in whatever script it is."""
    variables = [{"key": f"v{number}", "type": "STRING", "value": text * 8} for number in range(4)]
    shares = [{"variationKey": "on", "variationId": number, "exposition": 0.1} for number in range(4)]
    flags = [
        {
            "id": number,
            "featureKey": f"flag-{number}",
            "environmentEnabled": True,
            "variations": [{"key": key, "variables": variables} for key in ("off", "on")],
            "rules": [{"id": number, "experimentId": number, "exposition": 1, "variationByExposition": shares}],
        }
        for number in range(3_000)
    ]
    body = json.dumps({"featureFlags": flags}, ensure_ascii=False).encode()

    def longest_s():
        decoding_s, root = longest_step_s(root_in_steps(body))
        compiling_s, ruleset = longest_step_s(compile_in_steps(root))
        assert len(ruleset.flag_keys) == 3_000
        return max(decoding_s, compiling_s)

    # A busy machine may make one step long; a step that is long is so each time.
    assert min(longest_s() for _ in range(3)) < 0.005
