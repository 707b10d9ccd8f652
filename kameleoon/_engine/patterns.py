"""
Regular expressions that a visitor's text cannot make run for ever.

``re`` decides wherever it provably ends soon: the effort of a pattern without repeated groups, references and lookarounds is at most
a power of the text's length, which is worked out when it is compiled. What is beyond that is left to the package ``regex``, which
stops after a time and understands the same patterns.
"""

from __future__ import annotations

import re
import warnings
from typing import TYPE_CHECKING

from kameleoon._engine.shown import shown

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_PATTERN = 5_000
"""Longest pattern, in characters: compiling takes time too."""

MAX_UNFOLDED = 20_000
"""Characters of a pattern whose counted repeats are written out, as ``regex`` does; beyond it, it would take any amount of memory."""

_MAX_WIDE_RANGES = 4
"""Ranges in classes beyond ASCII when case is ignored: ``re`` looks at each character of each."""

_MAX_STEPS = 1_000_000
"""Steps that ``re`` may need; about 10 ms."""

_MAX_FACTOR = 10_000

_MAX_REMEMBERED = 1_000

_SUSPECT = 16
"""The part of the time that a text is given once it took all of it with another pattern."""

_QUANTIFIER = re.compile(r"\{(\d*)(,?)(\d*)\}")
_CASELESS = re.compile(r"\(\?[a-zA-Z]*i")
_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]|\\[uUN]")
_FLAGS = re.compile(r"\(\?[aims]+\)")
_TRICKY = ("[[", "--", "&&", "~~", "||")


class Unreadable(Exception):
    """Why a condition is out of service; it counts as not matching."""


class Patterns:
    """
    The compiled patterns of one configuration, each source compiled once.

    Args:
        timeout_s: For one evaluation's pattern, in seconds. Half of it is given to the matching, so that all the rest has room.
        on_timeout: Told of a pattern, the first time it ran out of time.

    Attributes:
        timeouts: How often a pattern ran out of time.
    """

    __slots__ = ("_full_matches", "_on_timeout", "_suspects", "_timeout_s", "timeouts")

    def __init__(self, timeout_s: float, on_timeout: Callable[[str], None]) -> None:
        self._timeout_s = timeout_s / 2
        self._on_timeout = on_timeout
        self._full_matches: dict[str, Callable[[str], bool]] = {}
        self._suspects: set[int] = set()
        self.timeouts = 0

    def compile(self, source: str) -> Callable[[str], bool]:
        """
        A test of a whole text.

        Raises:
            Unreadable: *source* is no regular expression, or a very long one.
        """
        found = self._full_matches.get(source)
        if found is None:
            found = self._full_matches[source] = self._compile(source)
        return found

    def _compile(self, source: str) -> Callable[[str], bool]:
        check_effort(source)
        try:
            full_match = _compiled(source).fullmatch
        except Exception as error:
            raise Unreadable(f"{shown(source)} is not a regular expression: {error}") from None
        longest = longest_safe(source)
        if longest is None:
            return self._bounded(source)
        later: list[Callable[[str], bool]] = []

        def matches(value: str) -> bool:
            if len(value) <= longest:
                return full_match(value) is not None
            if not later:
                try:
                    later.append(self._bounded(source))
                except Unreadable:  # known only now that there is a long text; such texts do not match
                    later.append(lambda _: False)
            return later[0](value)

        return matches

    def _bounded(self, source: str) -> Callable[[str], bool]:
        import regex  # noqa: PLC0415 - wanted seldom, and takes long to load

        if unfolded(source) > MAX_UNFOLDED:
            raise Unreadable(f"{shown(source)} repeats too much")
        try:
            full_match = regex.compile(source).fullmatch
        except Exception as error:
            raise Unreadable(f"{shown(source)} can only be matched without a bound on time: {error}") from None
        timeout_s, suspects = self._timeout_s, self._suspects
        given_up: set[int] = set()

        def matches(value: str) -> bool:
            key = hash(value)
            if key in given_up:
                return False
            try:
                # A text made to keep one pattern busy is made for others too, which all together must end in time.
                return full_match(value, timeout=timeout_s / _SUSPECT if key in suspects else timeout_s) is not None
            except TimeoutError:
                # The same text is not tried again: it would cost each of a hundred flags as much.
                for remembered in (given_up, suspects):
                    if len(remembered) >= _MAX_REMEMBERED:
                        remembered.clear()
                    remembered.add(key)
                self.timeouts += 1
                self._on_timeout(source)
                return False

        return matches


def check_effort(source: str, *, is_caseless: bool = False) -> None:
    """
    Refuse a pattern that takes long to compile.

    Args:
        source: The pattern.
        is_caseless: Whether case is ignored, whatever the pattern says.

    Raises:
        Unreadable: It does.
    """
    if len(source) > MAX_PATTERN:
        raise Unreadable(f"a regular expression of {len(source)} characters is too long")
    if (is_caseless or _CASELESS.search(source)) and _BEYOND_ASCII.search(source):
        at = ranges = 0
        while at < len(source):
            following = at + 2 if source[at] == "\\" else _end_of_class(source, at) if source[at] == "[" else at + 1
            ranges += source.count("-", at, following) if source[at] == "[" else 0
            at = following
        if ranges > _MAX_WIDE_RANGES:
            raise Unreadable(f"{shown(source)} has too many ranges for a comparison that ignores case")


def unfolded(source: str) -> int:
    """About how many characters a pattern that compiles has when its counted repeats are written out."""
    sizes, last, at = [0], 0, 0
    while at < len(source):
        character = source[at]
        if character in "*+?{" and (repeat := _quantifier(source, at))[0]:
            times = max(1, repeat[1], repeat[2] or 0)
            sizes[-1] += last * (times - 1)
            last *= times
            at += repeat[0]
            continue
        if character == "(":
            sizes.append(1)
            at += 2 if source.startswith("(?", at) else 1
            continue
        last = sizes.pop() if character == ")" and len(sizes) > 1 else 1
        sizes[-1] += last
        at = at + 2 if character == "\\" else _end_of_class(source, at) if character == "[" else at + 1
    return sum(sizes)


def _compiled(source: str) -> re.Pattern[str]:
    if not any(doubled in source for doubled in _TRICKY):
        return re.compile(source)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # what a later Python may read otherwise is no news to a visitor
        return re.compile(source)


def longest_safe(source: str) -> int | None:
    """
    The longest text for which ``re`` ends soon, ``None`` when nothing is known of it.

    Args:
        source: A pattern that compiles.

    Each repeated character can take as many characters as the text has, so that repeats multiply: with one of them the effort
    grows as the length, with two as its square. Options and alternatives multiply it by a number.
    """
    effort = _effort(source)
    if effort is None:
        return None
    degree, factor = effort
    if degree == 0:
        return 1 << 30
    return int((_MAX_STEPS / factor) ** (1 / degree))


def _effort(source: str) -> tuple[int, int] | None:
    """``(power of the text's length, constant factor)``, ``None`` for patterns this simple reading does not understand."""
    leading = _FLAGS.match(source)
    at = leading.end() if leading else 0
    degree, factor = 0, 1
    after_group = False
    while at < len(source):
        character = source[at]
        if character == "\\":
            if source[at + 1 : at + 2].isdigit():
                return None
            at, after_group = at + 2, False
        elif character == "[":
            at, after_group = _end_of_class(source, at), False
        elif character == "(":
            if source.startswith("(?", at) and not source.startswith("(?:", at):
                return None
            at, after_group = at + (3 if source.startswith("(?:", at) else 1), False
        elif character == ")":
            at, after_group = at + 1, True
        elif character == "|":
            factor *= 2
            at, after_group = at + 1, False
        elif character in "*+?{":
            length, least, most = _quantifier(source, at)
            if length == 0:
                at, after_group = at + 1, False
                continue
            if most is None:
                degree += 1
            else:
                factor *= max(1, most - least + 1)
            if after_group and (most is None or most > 1):
                return None
            at, after_group = at + length, False
            if source[at : at + 1] in ("?", "+"):
                at += 1
        else:
            at, after_group = at + 1, False
        if factor > _MAX_FACTOR:
            return None
    return degree, factor


def _end_of_class(source: str, at: int) -> int:
    at += 1
    if source[at : at + 1] == "^":
        at += 1
    if source[at : at + 1] == "]":
        at += 1
    while at < len(source) and source[at] != "]":
        at += 2 if source[at] == "\\" else 1
    return at + 1


def _quantifier(source: str, at: int) -> tuple[int, int, int | None]:
    """``(length, least, most)``; a length of 0 for a brace that is none."""
    character = source[at]
    if character != "{":
        return 1, 1 if character == "+" else 0, 1 if character == "?" else None
    found = _QUANTIFIER.match(source, at)
    if found is None or not (found[1] or found[3] or found[2]):
        return 0, 0, 0
    least = int(found[1] or 0)
    if not found[2]:
        return len(found[0]), least, least
    return len(found[0]), least, int(found[3]) if found[3] else None
