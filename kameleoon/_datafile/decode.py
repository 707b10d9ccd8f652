"""
JSON decoded in steps, so that no other thread waits long for its turn.

``json.loads`` is one call that lets nobody else run until it is over. Here the two outer levels are walked in Python, and only what is
within them, about a flag at a time, is left to the interpreter's own decoder. The text is decoded as it is needed, since even to
join a large one takes long.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable, Generator, Mapping
from typing import Any, TypeAlias, TypeVar

T = TypeVar("T")

Steps: TypeAlias = Generator[None, None, T]
"""Work that may be interrupted where it yields: about a millisecond's worth lies between."""

Keep = Callable[[dict[str, Any], str], object]
"""``(an object, its text) -> what stands for it``."""

STEP = 65_536
"""Bytes decoded to text at a time; from one such part to the next is a step."""

_ELEMENTS = 1_000
"""Elements in a step, when they are short."""

_MARGIN = 16
"""A value that ends so near to the end of the text at hand may go on beyond it: ``1`` may be ``1.5e3``."""

_SPACES = frozenset(" \t\n\r")
_space = re.compile(r"[ \t\n\r]*").match
_scan: Callable[[str, int], tuple[Any, int]] = json.JSONDecoder().scan_once  # type: ignore[attr-defined]  # not in typeshed


class _OutOfLineError(Exception):
    """The text is not what it should be: ``json.loads`` is to say what is wrong with it."""


def exhaust(steps: Steps[T]) -> T:
    """Do all the work at once, and give its result."""
    try:
        while True:
            next(steps)
    except StopIteration as stop:
        result: T = stop.value
        return result


def decode_in_steps(body: bytes, keep: Mapping[str, Keep] | None = None) -> Steps[Any]:
    """
    What ``json.loads(body)`` gives, or raises; in steps. Only a single large value, or a text that is not JSON, makes a step long.

    Args:
        body: JSON in UTF-8, UTF-16 or UTF-32.
        keep: ``{member of the outermost object: keep}``: what to put in place of each object in the list under that member.

    Raises:
        ValueError: *body* is not JSON.
        RecursionError: It is nested too deeply.
    """
    try:
        window = _Window(body)
        value = yield from _outermost(window, keep or {})
        if window.peek():
            raise _OutOfLineError  # noqa: TRY301 - as all that is wrong
    except (_OutOfLineError, UnicodeDecodeError):
        return json.loads(body)
    return value


class _Window:
    """
    The part of the text that is at hand.

    Args:
        body: The whole, not decoded yet.

    Attributes:
        text: The part.
        at: How much of it is done with.
        start: Where the value began that was scanned last.
        is_last: Whether nothing follows the part.
        has_grown: Whether text was taken in since somebody set this to ``False``.
    """

    __slots__ = ("_body", "_decoder", "_taken", "at", "has_grown", "is_last", "start", "text")

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._decoder = codecs.getincrementaldecoder(json.detect_encoding(body))("surrogatepass")
        self._taken = 0
        self.text = ""
        self.at = self.start = 0
        self.is_last = False
        self._grow()
        self.has_grown = False

    def peek(self) -> str:
        """The next character that is no space, where `at` is then; empty at the end."""
        while True:
            character = self.text[self.at : self.at + 1]
            if character in _SPACES:
                found = _space(self.text, self.at)
                assert found is not None
                self.at = found.end()
            elif character or self.is_last:
                return character
            else:
                self._grow()

    def scan(self) -> Any:
        """The value that begins here; `at` is then behind it."""
        while True:
            try:
                value, end = _scan(self.text, self.at)
            except (StopIteration, ValueError):
                self._grow()
                continue
            if self.is_last or end < len(self.text) - _MARGIN:
                self.start, self.at = self.at, end
                return value
            self._grow()

    def _grow(self) -> None:
        """Take in more text, at least as much as is left of this part."""
        if self.is_last:
            raise _OutOfLineError
        parts = [self.text[self.at :]]
        wanted = max(len(parts[0]), 1)
        while wanted > 0 and not self.is_last:
            until = self._taken + STEP
            self.is_last = until >= len(self._body)
            parts.append(self._decoder.decode(self._body[self._taken : until], self.is_last))
            self._taken = until
            wanted -= len(parts[-1])
        self.text, self.at = "".join(parts), 0
        self.has_grown = True


def _outermost(window: _Window, keep: Mapping[str, Keep]) -> Steps[Any]:
    first = window.peek()
    if first == "{":
        return (yield from _object(window, keep))
    if first == "[":
        return (yield from _array(window, None))
    return window.scan()


def _inner(window: _Window, keep: Keep | None) -> Steps[Any]:
    first = window.peek()
    if first == "{":
        return (yield from _object(window, None))
    if first == "[":
        return (yield from _array(window, keep))
    return window.scan()


def _object(window: _Window, keep: Mapping[str, Keep] | None) -> Steps[dict[str, Any]]:
    """An object; *keep* is given for the outermost one, whose members are walked in turn."""
    members: dict[str, Any] = {}
    window.at += 1
    if window.peek() == "}":
        window.at += 1
        return members
    while window.peek() == '"':
        name = window.scan()
        if window.peek() != ":":
            break
        window.at += 1
        if keep is None:
            window.peek()
            members[name] = window.scan()
        else:
            members[name] = yield from _inner(window, keep.get(name))
        following = window.peek()
        window.at += 1
        if following == "}":
            return members
        if following != ",":
            break
        if window.has_grown or len(members) % _ELEMENTS == 0:
            window.has_grown = False
            yield
    raise _OutOfLineError


def _array(window: _Window, keep: Keep | None) -> Steps[list[Any]]:
    elements: list[Any] = []
    window.at += 1
    if window.peek() == "]":
        window.at += 1
        return elements
    while True:
        window.peek()
        value = window.scan()
        if keep is not None and type(value) is dict:
            value = keep(value, window.text[window.start : window.at])
        elements.append(value)
        following = window.peek()
        window.at += 1
        if following == "]":
            return elements
        if following != ",":
            raise _OutOfLineError
        if window.has_grown or len(elements) % _ELEMENTS == 0:
            window.has_grown = False
            yield
