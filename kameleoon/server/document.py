"""
A YAML document whose every value knows where it stands, so that a mistake can be named by line, column and key path.

Plain words follow YAML 1.2 rather than 1.1: ``on``, ``off``, ``yes`` and ``no`` are text, because they are names of variations
and countries here, and so are dates and ``12:30``. Anchors and aliases are refused: they let a small file stand for an
enormous one.
"""

from __future__ import annotations

import difflib
import math
import re
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAX_DOCUMENT_BYTES = 1024 * 1024
MAX_DEPTH = 40
_MAX_LISTED = 12


class ProjectError(ValueError):
    """
    A project cannot be read.

    Attributes:
        problems: Everything found wrong, in the order of the file; at least one. ``str()`` has one line for each.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


@dataclass(frozen=True, slots=True)
class Problem:
    """
    One mistake and where it is.

    Attributes:
        source: The file's name as it was given.
        line: From 1; 0 when the mistake has no place, as for a file that does not exist.
        column: From 1; 0 likewise.
        path: Keys that lead to the value, such as ``flags.checkout.rules[0]``; empty for the whole document.
        message: What is wrong and what was expected.
    """

    source: str
    line: int
    column: int
    path: str
    message: str

    def __str__(self) -> str:
        place = f"{self.source}:{self.line}:{self.column}" if self.line else self.source
        return f"{place}: {self.path}: {self.message}" if self.path else f"{place}: {self.message}"


class Refused(Exception):
    """A value was reported as wrong; whoever reads its surroundings goes on with the next one."""


class Report:
    """Collects the problems of one document."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.problems: list[Problem] = []

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """Let the reader go on after a refused value, so that one run names every mistake."""
        with suppress(Refused):
            yield

    def raise_if_any(self) -> None:
        """
        Finish reading.

        Raises:
            ProjectError: Anything was reported.
        """
        if self.problems:
            raise ProjectError(sorted(self.problems, key=lambda problem: (problem.line, problem.column)))


class Item:
    """
    A value of the document with its place. Readers that do not find what they ask for report it and raise `Refused`.

    Attributes:
        path: Keys that lead here; empty at the root.
    """

    __slots__ = ("_key", "_node", "_report", "path")

    def __init__(self, node: yaml.Node, path: str, report: Report, *, key: yaml.Node | None = None) -> None:
        self._node = node
        self._key = key
        self._report = report
        self.path = path

    @property
    def report(self) -> Report:
        """Where mistakes of this document go."""
        return self._report

    def note(self, message: str, *, key: bool = False) -> None:
        """
        Report a mistake here and go on.

        Args:
            message: What is wrong and what is expected.
            key: The key is wrong rather than its value. An empty value has no place of its own, so its key stands for it.
        """
        node = self._key if self._key is not None and (key or self._node.value == "") else self._node
        self._report.problems.append(Problem(self._report.source, *_place(node.start_mark), self.path, message))

    def refuse(self, message: str, *, key: bool = False) -> Refused:
        """Report a mistake here as `note` does; the caller raises what is returned."""
        self.note(message, key=key)
        return Refused(message)

    @property
    def is_mapping(self) -> bool:
        """Whether keys with values stand here."""
        return isinstance(self._node, yaml.MappingNode)

    @property
    def is_list(self) -> bool:
        """Whether a list stands here."""
        return isinstance(self._node, yaml.SequenceNode)

    @property
    def kind(self) -> str:
        """What stands here: ``map``, ``seq``, ``str``, ``int``, ``float``, ``bool`` or ``null``."""
        return str(self._node.tag).removeprefix("tag:yaml.org,2002:")

    def entries(self, expected: str = "keys with values") -> dict[str, Item]:
        """
        The mapping that stands here, keys as they are written; an empty value counts as an empty mapping.

        Args:
            expected: Ends the message when something else stands here.

        Raises:
            Refused: It is no mapping. A key that repeats or is not plain text is reported without raising.
        """
        if self.kind == "null":
            return {}
        if not isinstance(self._node, yaml.MappingNode):
            raise self.refuse(f"{self._described()}, expected {expected}")
        found: dict[str, Item] = {}
        for key_node, value_node in self._node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                Item(key_node, self.path, self._report).note("a key must be plain text")
                continue
            key = str(key_node.value)
            path = f"{self.path}.{key}" if self.path else key
            item = Item(value_node, path, self._report, key=key_node)
            if key in found:
                item.note("this key is here twice", key=True)
            found[key] = item
        return found

    def known(self, *allowed: str, expected: str = "keys with values") -> dict[str, Item]:
        """`entries` of which every key must be one of *allowed*; others are reported with the nearest allowed one."""
        found = self.entries(expected)
        for key in [key for key in found if key not in allowed]:
            found.pop(key).note(f"unknown key; {nearest(key, allowed)}", key=True)
        return found

    def members(self, expected: str = "a list") -> list[Item]:
        """
        The list that stands here; an empty value counts as an empty list.

        Raises:
            Refused: It is no list.
        """
        if self.kind == "null":
            return []
        if not isinstance(self._node, yaml.SequenceNode):
            raise self.refuse(f"{self._described()}, expected {expected}")
        return [Item(node, f"{self.path}[{place}]", self._report) for place, node in enumerate(self._node.value)]

    def text(self, expected: str = "text") -> str:
        """
        What is written here, as it is written: ``on``, ``7`` and ``1.10`` too.

        Raises:
            Refused: It is empty, a mapping or a list.
        """
        if not isinstance(self._node, yaml.ScalarNode) or self.kind == "null" or self._node.value == "":
            raise self.refuse(f"{self._described()}, expected {expected}")
        return str(self._node.value)

    def one_of(self, *allowed: str) -> str:
        """
        One of *allowed*, written in any case.

        Raises:
            Refused: It is something else.
        """
        text = self.text(f"one of {', '.join(allowed)}").lower()
        if text not in allowed:
            raise self.refuse(f"{self._described()}, {nearest(text, allowed)}")
        return text

    def integer(self, *, least: int = 0, most: int = 2**53) -> int:
        """
        A whole number.

        Raises:
            Refused: It is something else or outside *least* to *most*.
        """
        expected = f"a whole number from {least} to {most}"
        value = self.plain() if self.kind == "int" else None
        if not isinstance(value, int) or not least <= value <= most:
            raise self.refuse(f"{self._described()}, expected {expected}")
        return value

    def number(self) -> int | float:
        """
        A finite number.

        Raises:
            Refused: It is something else.
        """
        value = self.plain() if self.kind in {"int", "float"} else None
        if not isinstance(value, int | float) or not math.isfinite(value):
            raise self.refuse(f"{self._described()}, expected a number")
        return value

    def truth(self) -> bool:
        """
        ``true`` or ``false``; ``on``, ``off``, ``yes`` and ``no`` are understood here.

        Raises:
            Refused: It is something else.
        """
        word = str(self._node.value).lower() if isinstance(self._node, yaml.ScalarNode) else ""
        if word not in _TRUTHS:
            raise self.refuse(f"{self._described()}, expected true or false")
        return _TRUTHS[word]

    def percentage(self) -> float:
        """
        A percentage such as ``80%``.

        Returns:
            0 to 1.

        Raises:
            Refused: It is something else. A bare number is refused, because 1 could be one percent or all.
        """
        match = _PERCENTAGE.fullmatch(str(self._node.value)) if isinstance(self._node, yaml.ScalarNode) else None
        share = float(Decimal(match.group(1)) / 100) if match else -1.0
        if not 0 <= share <= 1:
            raise self.refuse(f"{self._described()}, expected a percentage such as 80%")
        return share

    def plain(self) -> Any:
        """
        The value as Python and JSON have it.

        Raises:
            Refused: A number is not finite; JSON has no such number.
        """
        if self.is_mapping:
            return {key: item.plain() for key, item in self.entries().items()}
        if self.is_list:
            return [item.plain() for item in self.members()]
        text = str(self._node.value)
        match self.kind:
            case "null":
                return None
            case "bool":
                return text.lower() == "true"
            case "int":
                return int(text)
            case "float":
                value = float(text)
                if not math.isfinite(value):
                    raise self.refuse(f"{text} is too large for a number")
                return value
            case _:
                return text

    def _described(self) -> str:
        if self.is_mapping:
            return "this has keys"
        if self.is_list:
            return "this is a list"
        if self.kind == "null" or self._node.value == "":
            return "this is empty"
        shown = str(self._node.value)
        return f"{shown[:60] + '…' if len(shown) > 60 else shown!r} is not understood"


def load(content: bytes, source: str) -> Item:
    """
    Read one YAML document.

    Args:
        content: At most `MAX_DOCUMENT_BYTES`.
        source: The file's name, for messages.

    Returns:
        The root, with a fresh report.

    Raises:
        ProjectError: It is too large, not UTF-8, not one YAML document, nested deeper than `MAX_DEPTH`, has anchors, aliases or
            tags, or is empty.
    """
    if len(content) > MAX_DOCUMENT_BYTES:
        raise ProjectError([Problem(source, 0, 0, "", f"larger than {MAX_DOCUMENT_BYTES} bytes")])
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        column = error.start - (content.rfind(b"\n", 0, error.start) + 1) + 1
        raise ProjectError([Problem(source, line, column, "", "not UTF-8 text")]) from error
    try:
        _refuse_unbounded(text, source)
        root = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        line, column = _place(error.problem_mark or error.context_mark)
        said = " ".join(part for part in (error.context, error.problem) if part)
        raise ProjectError([Problem(source, line, column, "", f"not YAML: {said}")]) from error
    except yaml.YAMLError as error:
        said = " ".join(str(error).split())
        raise ProjectError([Problem(source, 0, 0, "", f"not YAML: {said}")]) from error
    if root is None:
        raise ProjectError(
            [Problem(source, 0, 0, "", "the file is empty; see docs/local-server.md for a project's keys")]
        )
    return Item(root, "", Report(source))


def nearest(word: str, allowed: Iterable[str]) -> str:
    """What was meant, for the end of a message: the nearest of *allowed* when one is near, and all when they are few."""
    choices = list(allowed)
    if not choices:
        return "there is none"
    near = difflib.get_close_matches(word, choices, n=1, cutoff=0.5)
    guess = f"did you mean {near[0]!r}? " if near else ""
    listed = ", ".join(choices[:_MAX_LISTED]) + (", …" if len(choices) > _MAX_LISTED else "")
    return f"{guess}expected {'one of ' if len(choices) > 1 else ''}{listed}"


_PERCENTAGE = re.compile(r"\s*([0-9]{1,3}(?:\.[0-9]{1,12})?)\s*%\s*", re.ASCII)
_TRUTHS = {"true": True, "on": True, "yes": True, "false": False, "off": False, "no": False}


class _Loader(yaml.SafeLoader):
    """The safe loader with the plain words of YAML 1.2."""


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]{1,18}", "-+0123456789"),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", "-+.0123456789"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), list(_first))


def _refuse_unbounded(text: str, source: str) -> None:
    """Walk the document's events, which needs no recursion, before nodes are built from them."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        refused = ""
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            refused = "anchors and aliases (&, *) are not read here; write the value out"
        elif getattr(event, "tag", None) is not None:
            refused = "tags (!) are not read here"
        elif isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            refused = f"nested deeper than {MAX_DEPTH} levels" if depth > MAX_DEPTH else ""
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if refused:
            line, column = _place(event.start_mark)
            raise ProjectError([Problem(source, line, column, "", refused)])


def _place(mark: Any) -> tuple[int, int]:
    """Line and column from 1; 0 and 0 when the parser gives no place."""
    return (mark.line + 1, mark.column + 1) if mark else (0, 0)
