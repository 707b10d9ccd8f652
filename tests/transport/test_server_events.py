"""A stream of events, however it is cut into pieces."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kameleoon._transport.server_events import (
    MAX_EVENT_BYTES,
    EventParser,
    ServerEvent,
    announced_version,
)

texts = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=8)


@given(
    st.lists(st.tuples(texts, st.lists(texts, min_size=1, max_size=3)), max_size=4),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.data(),
)
def test_pieces_make_no_difference(events, end, data):
    """Events written with any line end, comments between them, come out whole, wherever the pieces were cut."""
    text = "".join(
        f": comment{end}event:{name and ' ' + name}{end}" + "".join(f"data: {line}{end}" for line in lines) + end
        for name, lines in events
    )
    whole = text.encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=8)))
    pieces = [whole[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    parser = EventParser()
    heard = [event for piece in pieces for event in parser.feed(piece)]
    # One leading space after the colon belongs to the syntax.
    assert heard == [ServerEvent(name or "message", "\n".join(lines)) for name, lines in events]


def test_what_the_standard_asks_for():
    """A byte order mark, comments, unknown fields, an event without data, and a field without a colon."""
    parser = EventParser()
    assert parser.feed(b"\xef\xbb\xbfdata:a\n\n") == [ServerEvent("message", "a")]
    assert parser.feed(b":note\nid: 7\nretry: 1\nevent: nothing\n\n") == []
    assert parser.feed(b"data\ndata: b\n\n") == [ServerEvent("message", "\nb")]
    assert parser.feed(b"data: never finished\n") == []
    assert parser.lines == 11


@pytest.mark.parametrize("piece", [b"x" * (MAX_EVENT_BYTES + 1), b"data: " + b"x" * 1000 + b"\n"])
def test_an_event_has_a_bound(piece):
    """Neither one line nor many lines of one event fill the memory."""
    parser = EventParser()

    def feed_on():
        for _ in range(100):
            parser.feed(piece)

    with pytest.raises(ValueError, match="above"):
        feed_on()


def test_comments_count_for_nothing():
    """A stream kept alive by comments for days never reaches the bound."""
    parser = EventParser()
    for _ in range(200):
        assert parser.feed(b": " + b"x" * 1000 + b"\n") == []


@pytest.mark.parametrize(
    ("data", "version"),
    [
        ('{"ts": 1700000001234}', 1700000001234),
        ('{"ts": 0}', 0),
        ('{"ts": 1.5}', None),
        ('{"ts": "1"}', None),
        ('{"ts": true}', None),
        ('{"ts": -1}', None),
        ('{"ts": 1e400}', None),
        ("[1]", None),
        ("nothing", None),
        ("[" * 100_000, None),
    ],
)
def test_the_announced_version(data, version):
    """A whole number of milliseconds, or nothing that can be used."""
    assert announced_version(ServerEvent("configuration-update-event", data)) == version
