"""
Rule trees compiled to tests.

A tree is any of blocks, each all of blocks, each any of elements. What of it cannot be read never matches, even when negated, and is
told by a `Problem`; the rest of the tree stays in service.

Source:
    docs/convert.md, "Rules".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from kameleoon._convert.model import Problem
from kameleoon._convert.operators import ABSENT, EXISTENCE, OPERATORS
from kameleoon._engine.patterns import Unreadable
from kameleoon._engine.shown import shown

Data: TypeAlias = Mapping[str, Any]
"""What is known of a visitor or a place, by key; values as from JSON."""

Test: TypeAlias = Callable[[Data], bool]

Provider: TypeAlias = Callable[[Data], Any]
"""Gives the value of a built-in rule type that no plain data answers; what it raises makes the rule not match."""

EXCLUSION = "bucketed_into_experience_key"
"""The rule type that asks for the variation a visitor has in another experience."""

_KEYED = frozenset(
    {"generic_text_key_value", "generic_numeric_key_value", "generic_bool_key_value", "generic_key_value", "cookie"}
)


def never(_data: Data) -> bool:
    """The test that nothing passes."""
    return False


@dataclass(frozen=True, slots=True)
class Exclusion:
    """Whether a visitor has a variation in the experience *experience_key*, or has none if *is_negated*."""

    experience_key: str
    is_negated: bool


@dataclass(slots=True)
class RuleCompiler:
    """
    Compiles the rules of one project.

    Attributes:
        providers: ``{rule type: provider}`` for built-in rule types.
        tell: Told of each piece that is out of service; of a built-in type without provider only the first time.
    """

    providers: Mapping[str, Provider]
    tell: Callable[[Problem], None]
    _told_types: set[str] = field(default_factory=set)

    def compile(self, place: str, rules: Any) -> Test:
        """A test for the rule object *rules*; no rules at all match nothing."""
        if rules is None or rules == {}:
            return never
        alternatives = [
            _all_of([_any_of([self._element(*element) for element in block]) for block in blocks])
            for blocks in self._blocks(place, rules)
        ]
        return _any_of(alternatives)

    def elements(self, place: str, rules: Any) -> Iterator[tuple[int, str, Any]]:
        """``(number of its alternative, its place, itself)`` of each element of the rule object *rules*, in order."""
        for number, blocks in enumerate(self._blocks(place, rules) if rules else ()):
            for block in blocks:
                for here, element in block:
                    yield number, here, element

    def test(self, place: str, element: Any) -> Test:
        """A test for a single element."""
        return self._element(place, element)

    def exclusion(self, place: str, rules: Any) -> Exclusion | None:
        """The first element of *rules* that asks for another experience, which then decides alone."""
        for blocks in RuleCompiler({}, lambda _problem: None)._blocks(place, rules):  # noqa: SLF001 - another of its own
            for block in blocks:
                for _, element in block:
                    if not isinstance(element, dict) or element.get("rule_type") != EXCLUSION:
                        continue
                    matching = element.get("matching")
                    is_negated = matching.get("negated") if isinstance(matching, dict) else None
                    if isinstance(is_negated, bool) and isinstance(element.get("value"), str):
                        return Exclusion(element["value"], is_negated)
                    self.tell(Problem(place, f"a rule of type {EXCLUSION} without a key or without `negated`"))
        return None

    def _blocks(self, place: str, rules: Any) -> list[list[list[tuple[str, Any]]]]:
        """The tree as lists: alternatives of blocks of elements with their places."""
        return [
            [self._children(here, block, "OR_WHEN") for here, block in self._children(at, alternative, "AND")]
            for at, alternative in self._children(place, rules, "OR")
        ]

    def _children(self, place: str, node: Any, name: str) -> list[tuple[str, Any]]:
        children = node.get(name) if isinstance(node, dict) else None
        if isinstance(children, list):
            return [(f"{place}.{name}[{index}]", child) for index, child in enumerate(children)]
        self.tell(Problem(place, f"no list {name}, so it never matches"))
        return []

    def _element(self, place: str, element: Any) -> Test:
        try:
            return self._readable_element(place, element)
        except Unreadable as error:
            self.tell(Problem(place, str(error)))
            return never

    def _readable_element(self, place: str, element: Any) -> Test:
        matching = element.get("matching") if isinstance(element, dict) else None
        if not isinstance(matching, dict):
            raise Unreadable("the rule has no `matching`")
        name, is_negated = matching.get("match_type"), matching.get("negated")
        if not isinstance(name, str) or not isinstance(is_negated, bool):
            raise Unreadable("the rule's `match_type` is not a text or its `negated` not a boolean")
        if name not in OPERATORS:
            raise Unreadable(f"unknown match_type {shown(name)}")
        if "value" not in element and name not in EXISTENCE:
            raise Unreadable("the rule has no value")
        compare = OPERATORS[name](element.get("value"))
        reads_absent = name in EXISTENCE
        read = self._reader(place, element)
        if read is None:
            return never

        def test(data: Data) -> bool:
            try:
                value = read(data)
                if value is ABSENT and not reads_absent:
                    return False
                result = compare(value)
            except Exception:  # a provider of the application, a value that is not as from JSON
                return False
            return result is not None and result is not is_negated

        return test

    def _reader(self, place: str, element: Mapping[str, Any]) -> Callable[[Data], Any] | None:
        """How an element finds the visitor's value, ``None`` when it cannot."""
        key, rule_type = element.get("key"), element.get("rule_type")
        provider = self.providers.get(rule_type) if isinstance(rule_type, str) else None
        if provider is not None and rule_type not in _KEYED:
            return provider
        if isinstance(key, str):
            # Whatever the type: with a key, only the key counts.
            return lambda data: data.get(key, ABSENT)
        if rule_type == EXCLUSION:
            return None  # decided apart, by `exclusion`
        if shown(rule_type) not in self._told_types:
            self._told_types.add(shown(rule_type))
            self.tell(
                Problem(place, f"nothing provides values for the rule type {shown(rule_type)}, so it never matches")
            )
        # With no key there is no value either, which `exists` and its opposite do compare.
        return lambda _data: ABSENT


def _any_of(tests: Sequence[Test]) -> Test:
    if len(tests) == 1:
        return tests[0]
    held = tuple(test for test in tests if test is not never)
    return (lambda data: any(test(data) for test in held)) if held else never


def _all_of(tests: Sequence[Test]) -> Test:
    if len(tests) == 1:
        return tests[0]
    if not tests or never in tests:
        return never
    held = tuple(tests)
    return lambda data: all(test(data) for test in held)
