"""
Regular expressions written for JavaScript, searched by Python, and bounded in time whatever a visitor sends.

Source:
    docs/convert.md, "Comparisons".
"""

from __future__ import annotations

import re
import warnings
from typing import TYPE_CHECKING

from kameleoon._engine.patterns import MAX_UNFOLDED, Unreadable, check_effort, longest_safe, unfolded
from kameleoon._engine.shown import shown

if TYPE_CHECKING:
    from collections.abc import Callable

TIMEOUT_S = 0.025
"""For one search, in seconds: half of what an evaluation may take, so that all the rest has room."""

_WORD = "A-Za-z0-9_"
_OUTSIDE = {
    "d": "[0-9]",
    "D": "[^0-9]",
    "w": f"[{_WORD}]",
    "W": f"[^{_WORD}]",
    "b": f"(?:(?<![{_WORD}])(?=[{_WORD}])|(?<=[{_WORD}])(?![{_WORD}]))",
    "B": f"(?:(?<![{_WORD}])(?![{_WORD}])|(?<=[{_WORD}])(?=[{_WORD}]))",
}
_LAST = "\U0010ffff"
_INSIDE = {
    "d": "0-9",
    "D": rf"\x00-\x2f\x3a-{_LAST}",
    "w": _WORD,
    "W": rf"\x00-\x2f\x3a-\x40\x5b-\x5e\x60\x7b-{_LAST}",
    "b": r"\x08",
    "B": "B",
}
_SAME = frozenset("sSfnrtv")
_COUNTED = re.compile(r"\{[0-9]+(?:,[0-9]*)?\}")
_NAMED = re.compile(r"\(\?<([A-Za-z_]\w*)>", re.ASCII)
_REFERENCE = re.compile(r"\\k<([A-Za-z_]\w*)>", re.ASCII)
_HEX = re.compile(r"\\(?:x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4})")
_CONTROL = re.compile(r"\\c([A-Za-z])")
_NUMBERED = re.compile(r"\\([1-9][0-9]?)")


def compile_search(source: str) -> Callable[[str], bool]:
    """
    A test whether *source*, in JavaScript's syntax and whatever the case, is found anywhere in a text. Out of time counts as not found.

    Raises:
        Unreadable: It is no regular expression, or a very long one, or uses what cannot be translated.
    """
    check_effort(source)
    translated = translate(source)
    check_effort(translated, is_caseless=True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            search = re.compile(translated, re.IGNORECASE).search
    except Exception as error:
        raise Unreadable(f"{shown(source)} is not a regular expression: {error}") from None
    # A search may begin anywhere, which costs as much as one more repeated character.
    longest = longest_safe(".*" + translated)
    bounded: list[Callable[[str], bool]] = []

    def found(value: str) -> bool:
        if longest is not None and len(value) <= longest:
            return search(value) is not None
        if not bounded:
            try:
                bounded.append(_bounded(source, translated))
            except Unreadable:  # known only now that there is a long text; in such texts it is not found
                bounded.append(lambda _: False)
        return bounded[0](value)

    return found


def _bounded(source: str, translated: str) -> Callable[[str], bool]:
    import regex  # noqa: PLC0415 - wanted seldom, and takes long to load

    if unfolded(translated) > MAX_UNFOLDED:
        raise Unreadable(f"{shown(source)} repeats too much")
    try:
        search = regex.compile(translated, regex.IGNORECASE).search
    except Exception as error:
        raise Unreadable(f"{shown(source)} can only be searched without a bound on time: {error}") from None

    def found(value: str) -> bool:
        try:
            return search(value, timeout=TIMEOUT_S) is not None
        except TimeoutError:
            return False

    return found


def translate(source: str) -> str:
    r"""
    JavaScript's syntax in Python's: ``\d`` and ``\w`` are ASCII, ``$`` is the very end, names are ``(?<n>…)``.

    Raises:
        Unreadable: It has what JavaScript refuses and Python would read, or what has no translation.
    """
    out: list[str] = []
    at, in_class = 0, False
    after_quantifier = False
    while at < len(source):
        character = source[at]
        quantifies = False
        if character == "\\":
            text, at = _escape(source, at, in_class=in_class)
            out.append(text)
        elif in_class:
            in_class = character != "]"
            out.append("\\" + character if character in "[&~|" else character)
            at += 1
        elif character == "[":
            text, at, in_class = _class(source, at)
            out.append(text)
        elif character == "(":
            text, at = _group(source, at)
            out.append(text)
        elif character in "*+?" or (character == "{" and _COUNTED.match(source, at)):
            if after_quantifier and character != "?":
                raise Unreadable(f"{shown(source)} is not a regular expression: nothing to repeat at {at}")
            found = _COUNTED.match(source, at)
            out.append(found[0] if found else character)
            at += len(out[-1])
            # A question mark after a quantifier makes it lazy; neither can be repeated once more.
            quantifies = True
        else:
            out.append({".": "[^\\n\\r\u2028\u2029]", "$": "\\Z", "{": "\\{"}.get(character, character))
            at += 1
        after_quantifier = quantifies
    return "".join(out)


def _class(source: str, at: int) -> tuple[str, int, bool]:
    if source.startswith("[]", at):
        return "(?!)", at + 2, False
    if source.startswith("[^]", at):
        return "[\\s\\S]", at + 3, False
    return ("[^", at + 2, True) if source.startswith("[^", at) else ("[", at + 1, True)


def _group(source: str, at: int) -> tuple[str, int]:
    named = _NAMED.match(source, at)
    if named:
        return f"(?P<{named[1]}>", named.end()
    if not source.startswith("(?", at) or source.startswith(("(?:", "(?=", "(?!", "(?<=", "(?<!"), at):
        return "(", at + 1
    raise Unreadable(f"{shown(source)} is not a regular expression: unknown group at {at}")


def _escape(source: str, at: int, *, in_class: bool) -> tuple[str, int]:
    if at + 1 >= len(source):
        raise Unreadable(f"{shown(source)} is not a regular expression: it ends with a backslash")
    following = source[at + 1]
    table = _INSIDE if in_class else _OUTSIDE
    if following in table:
        return table[following], at + 2
    if following in _SAME:
        return "\\" + following, at + 2
    if following == "0":
        return r"\x00", at + 2
    for pattern in (_HEX, _NUMBERED, _REFERENCE, _CONTROL):
        found = pattern.match(source, at)
        if found is None or (in_class and pattern in (_NUMBERED, _REFERENCE)):
            continue
        if pattern is _REFERENCE:
            return f"(?P={found[1]})", found.end()
        if pattern is _NUMBERED:
            return f"(?:{found[0]})", found.end()
        return (rf"\x{ord(found[1]) % 32:02x}" if pattern is _CONTROL else found[0]), found.end()
    return re.escape(following), at + 2
