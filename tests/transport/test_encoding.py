"""Percent-encoding against a slow, obvious reference."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kameleoon._transport.encoding import encode, query

UNTOUCHED = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~!*'()"


def reference(text):
    """Encode character by character, as the definition of encodeURIComponent says."""
    return "".join(
        character if character in UNTOUCHED else "".join(f"%{byte:02X}" for byte in character.encode())
        for character in text
    )


@given(st.text() | st.text(st.characters(max_codepoint=0x17F)))
def test_encode_agrees_with_its_definition(text):
    """Any text is encoded like encodeURIComponent does."""
    assert encode(text) == reference(text)


def test_encode_of_the_captured_visitor():
    """The recorded visitor code gives the recorded escapes, before the normalisation of GET queries."""
    expected = "visitor%20%C3%A9%2F%3F%26%3D%2B%201~()*!.'-_%25%2C%3B%3A%40%24%22"
    assert encode("visitor é/?&=+ 1~()*!.'-_%,;:@$\"") == expected


def test_half_a_surrogate_pair_is_refused():
    """What has no UTF-8 form raises, rather than being sent as something else."""
    with pytest.raises(UnicodeEncodeError):
        encode("\ud800")


@given(st.lists(st.tuples(st.sampled_from(["a", "siteCode", "key"]), st.none() | st.text(max_size=5))))
def test_query_leaves_out_empty_values_and_keeps_order(pairs):
    """Empty values go, the rest stays in order and can be told apart again."""
    kept = [f"{name}={reference(value)}" for name, value in pairs if value]
    assert query(pairs) == "&".join(kept)
