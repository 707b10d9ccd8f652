"""Convert's comparisons and rule trees, the table of the documentation row by row."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kameleoon._convert.operators import ABSENT, OPERATORS
from kameleoon._convert.patterns import compile_search, translate
from kameleoon._convert.rules import RuleCompiler
from kameleoon._convert.values import as_text, code_units, is_same, leading_integer, leading_number
from kameleoon._engine.patterns import Unreadable

TABLE = [
    ("equals", "US", "us", True, False),
    ("equals", "B", ["a", "b"], False, True),
    ("equals", "b", ["a", "b"], True, False),
    ("equals", "1", [1], False, True),
    ("equals", 1, [1.0], True, False),
    ("equals", 1, [True], False, True),
    ("equals", "k", {"k": 1}, True, False),
    ("equals", True, "TRUE", True, False),
    ("equals", "1.0", 1, False, True),
    ("equals", 3, "3.0", False, True),
    ("equals", "3", 3.0, True, False),
    ("equals", "null", None, True, False),
    ("equals", "[object Object]", {}, True, False),
    ("less", None, None, False, True),
    ("lessEqual", None, None, True, False),
    ("less", True, False, True, False),
    ("lessEqual", "a", "a", True, False),
    ("less", "a", "a", False, True),
    ("equalsNumber", 5, "5", True, False),
    ("matches", "a.c", "abc", False, True),
    ("less", "10", "9", True, False),
    ("less", "1,000", "999", True, False),
    ("less", "abc", "abb", True, False),
    ("less", 10, "abc", False, False),
    ("less", 10, True, False, False),
    ("less", 1, ".5", True, False),
    ("less", 1, "1e0", False, False),
    ("less", 1, "0,500", True, False),
    ("less", 5, None, False, False),
    ("less", 5, [1], False, False),
    ("lessEqual", "5.0", "5", True, False),
    ("less", "\uff5e", "\U0001f600", True, False),
    ("contains", "  ", "x", True, False),
    ("contains", "1", 210, True, False),
    ("contains", "b", "ABC", True, False),
    ("isIn", "A|B", "a", True, False),
    ("isIn", "a|b", "A", False, True),
    ("isIn", "a|b", "x|b", True, False),
    ("isIn", 5, "5", False, True),
    ("isIn", ["A", 5], 5, True, False),
    ("startsWith", "", "abc", True, False),
    ("startsWith", "AB", "abc", True, False),
    ("endsWith", "xhello", "hello", False, True),
    ("endsWith", "LLO", "hello", True, False),
    ("regexMatches", "[A-Z]+", "abc", True, False),
    ("regexMatches", "b", "abc", True, False),
    ("regexMatches", "(", "abc", False, False),
    ("exists", "", 0, True, False),
    ("exists", "", False, True, False),
    ("exists", "", "", False, True),
    ("exists", "", ABSENT, False, True),
    ("doesNotExist", "", ABSENT, True, False),
    ("doesNotExist", "", None, True, False),
    ("not_exists", "", None, True, False),
    ("not_exists", "", ABSENT, False, False),
    ("equals", "US", ABSENT, False, False),
    ("Equals", "US", "US", False, False),
]


def compiled(rules, providers=None):
    """``(test, problems)`` of a rule object."""
    problems = []
    return RuleCompiler(providers or {}, problems.append).compile("rules", rules), [str(one) for one in problems]


@pytest.mark.parametrize(("name", "target", "value", "plain", "negated"), TABLE)
def test_comparison(name, target, value, plain, negated, rule):
    """Each row holds plain and negated."""
    data = {} if value is ABSENT else {"k": value}
    assert compiled(rule("k", name, target))[0](data) is plain
    assert compiled(rule("k", name, target, negated=True))[0](data) is negated


@pytest.mark.parametrize(("rules", "told"), [(None, 0), ({}, 0), ({"OR": []}, 0), ([], 1), ({"OR": None}, 1)])
def test_no_rules_are_nothing_to_tell(rules, told):
    """What is no tree is out of service; having no rules is not."""
    assert len(compiled(rules)[1]) == told


@pytest.mark.parametrize(
    "rules", [None, {}, {"OR": []}, {"OR": [{"AND": []}]}, {"OR": [{"AND": [{"OR_WHEN": []}]}]}, [], "x", {"OR": 5}]
)
def test_a_tree_without_rules_matches_nothing(rules):
    """Empty at any level is false, and so is what is no tree."""
    assert compiled(rules)[0]({"k": 1}) is False


def test_the_tree_is_any_of_all_of_any():
    """The three levels join as the documentation says."""

    def one(key):
        return {
            "rule_type": "generic_bool_key_value",
            "matching": {"match_type": "equals", "negated": False},
            "value": True,
            "key": key,
        }

    tree = {
        "OR": [
            {"AND": [{"OR_WHEN": [one("a"), one("b")]}, {"OR_WHEN": [one("c")]}]},
            {"AND": [{"OR_WHEN": [one("d")]}]},
        ]
    }
    test, problems = compiled(tree)
    assert not problems
    for letters, expected in [("a", False), ("ac", True), ("bc", True), ("c", False), ("d", True), ("", False)]:
        assert test(dict.fromkeys(letters, True)) is expected


@pytest.mark.parametrize(
    "broken",
    [
        {"matching": None},
        {"matching": {"match_type": 3, "negated": False}},
        {"matching": {"match_type": "equals"}},
        {"matching": {"match_type": "equals", "negated": "true"}},
        {"matching": {"match_type": "EQUALS", "negated": True}},
        {"matching": {"match_type": "regexMatches", "negated": True}, "value": "("},
    ],
)
def test_a_broken_element_is_out_of_service_alone(broken, rule):
    """It never matches, also negated, is told with its place, and its neighbour answers."""
    rules = rule("k", "equals", "yes")
    elements = rules["OR"][0]["AND"][0]["OR_WHEN"]
    elements.append({"rule_type": "generic_text_key_value", "key": "k", "value": "no", **broken})
    test, problems = compiled(rules)
    assert test({"k": "yes"}) is True
    assert test({"k": "other"}) is False
    assert len(problems) == 1
    assert problems[0].startswith("rules.OR[0].AND[0].OR_WHEN[1]: ")


def test_an_element_without_a_value(rule):
    """Only the two that look for a key need none."""
    for name, expected in [("equals", False), ("exists", True)]:
        rules = rule("k", name, None)
        del rules["OR"][0]["AND"][0]["OR_WHEN"][0]["value"]
        assert compiled(rules)[0]({"k": "null"}) is expected


def test_keys_are_exact(rule):
    """The case of a key counts, the rule type does not."""
    assert compiled(rule("K", "equals", "v"))[0]({"k": "v"}) is False
    assert compiled(rule("k", "equals", "v", rule_type="from_the_future"))[0]({"k": "v"}) is True


def test_a_rule_type_without_key_needs_a_provider(rule):
    """Without one it never matches and is told once a type; with one it is compared; what a provider raises is no match."""
    rules = rule(None, "equals", "FR", rule_type="country")
    rules["OR"] *= 2
    test, problems = compiled(rules)
    assert test({"country": "FR"}) is False
    assert len(problems) == 1
    assert "'country'" in problems[0]
    assert compiled(rules, {"country": lambda _data: "fr"})[0]({}) is True
    assert compiled(rules, {"country": lambda data: data["missing"]})[0]({}) is False


@pytest.mark.parametrize(
    "error",
    [
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        ZeroDivisionError,
        RecursionError,
        OSError,
        StopIteration,
        Exception,
        AssertionError,
    ],
)
def test_whatever_a_provider_raises_is_no_match(rule, error):
    """Also negated, and whatever it gives that is not as from JSON is compared or no match."""

    def raising(_data):
        raise error

    for negated in (False, True):
        rules = rule(None, "equals", "FR", rule_type="country", negated=negated)
        assert compiled(rules, {"country": raising})[0]({}) is False

    class Hostile:
        def __eq__(self, other):
            raise error

        def __bool__(self):
            raise error

        __hash__ = None

    for name in OPERATORS:
        for value in (object(), Hostile(), {1, 2}, b"FR", [Hostile()], float("nan"), 1 << 5000):
            rules = rule(None, name, "FR", rule_type="country")
            assert compiled(rules, {"country": lambda _data, value=value: value})[0]({}) in (True, False)


def test_an_exclusion_that_names_nothing(rule):
    """A rule on another experience without its key, or without `negated`, is told, and the next such rule counts."""
    problems = []
    compiler = RuleCompiler({}, problems.append)
    rules = rule(None, "equals", 5, rule_type="bucketed_into_experience_key")
    (block,) = rules["OR"][0]["AND"]
    good = rule(None, "equals", "other", rule_type="bucketed_into_experience_key", negated=True)["OR"][0]["AND"][0][
        "OR_WHEN"
    ][0]
    block["OR_WHEN"] += [{**good, "matching": {"match_type": "equals"}}, good]
    found = compiler.exclusion("rules", rules)
    assert (found.experience_key, found.is_negated) == ("other", True)
    assert [str(one) for one in problems] == [
        "rules: a rule of type bucketed_into_experience_key without a key or without `negated`"
    ] * 2


@settings(deadline=None, max_examples=300)
@given(
    st.sampled_from(sorted(OPERATORS)),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
        lambda inner: st.lists(inner, max_size=3),
    ),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    ),
)
def test_no_value_makes_a_comparison_raise(name, target, value):
    """Whatever a rule and a visitor hold, the answer is a boolean or none; a pattern may be refused when it is compiled."""
    try:
        compare = OPERATORS[name](target)
    except Unreadable:
        assert name == "regexMatches"
        return
    assert compare(value) in (True, False, None)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, "1"), (1.5, "1.5"), (-0.0, "0"), (1e21, "1e+21"), (1e20, "100000000000000000000"), (1e-7, "1e-7"), (0.000001, "0.000001"),
        (-12.5, "-12.5"), (123456789.25, "123456789.25"), (1.25e-9, "1.25e-9"), (2**53 + 1, "9007199254740992"), (10**30, "1e+30"),
        (10**400, "Infinity"), (float("nan"), "NaN"), (True, "true"), (None, "null"), ([1, None, [2, "x"]], "1,,2,x"),
        ({"a": 1}, "[object Object]"), (1, "1"), (0.1, "0.1"), (0, "0"), (123e-9, "1.23e-7"), (float("-inf"), "-Infinity"), (-(2**53), "-9007199254740992"),
    ],
)  # fmt: skip
def test_text_of_a_value(value, text):
    """Values are shown as JavaScript shows them."""
    assert as_text(value) == text


def test_numbers_at_the_start_of_a_text():
    """Whole and broken numbers are read as far as they go."""
    assert [leading_integer(one) for one in ("3.7", "12abc", 3.7, None, True, "x")] == [3, 12, 3, None, 1, None]
    assert [leading_number(one) for one in ("1.2.3", "x", ".5e1!", False, "1e999")] == [1.2, None, 5.0, 0.0, None]


def test_sameness_is_strict():
    """Lists are never the same, and neither are 1 and true."""
    assert is_same(None, None)
    assert not is_same(None, 5)
    assert not is_same(5, None)
    assert not is_same(None, "")
    assert not is_same([], [])
    assert not is_same(1, True)
    assert not is_same("1", 1)
    assert code_units("\uff5e") > code_units("\U0001f600")


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        (r"^\d+$", "12", True), (r"^\d+$", "١٢", False), (r"^\w+$", "é", False), (r"^\W$", "é", True), (r"[^\w]", "é", True),
        (r"(?<y>a)\k<y>", "aa", True), (r"(a)\1", "aa", True), (r"a$", "a\n", False), (r"a.b", "a\rb", False), (r"[\d-]", "-", True),
        (r"^[\d]$", "5", True), (r"[\d]", "d", False), (r"^[\D]$", "d", True), (r"[\D]", "5", False), (r"[\W]", "a", False), (r"^[\W]$", "-", True),
        (r"\D", "5", False), (r"\D", "x", True), (r"\Bat", "cat", True), (r"\Bat", "at", False), (r"[\b]", "\b", True), (r"[\B]", "b", True),
        (r"[^]x", "\nx", True), (r"^[\D]$", "x", True), (r"[^]x", "ab", False), (r"^x{,2}$", "xx", False), (r"^\@b$", "@b", True), (r"^\@b$", "@", False), (r"[]|a", "a", True), (r"^a{2,}$", "aaa", True), (r"^a{1,2}$", "aaa", False), (r"^a{x}$", "a{x}", True), (r"[^\d]", "x", True), (r"[^\d]", "5", False),
        (r"É", "é", True), (r"\bcat\b", "a cat!", True), (r"\bcat\b", "scat", False), (r"x{,2}", "x{,2}", True), (r"a{2}", "baab", True),
        (r"[[]", "[", True), (r"[]", "x", False), (r"[^]", "\n", True), (r"\/\-\@\A", "/-@a", True), (r"\u0041\x42\cJ", "ab\n", True),
        (r"(?=a)a(?!b)", "ac", True), (r"a+?", "a", True), (r"(?:a|b)*c", "abc", True), (r"a|b&&[c&&d]", "a", True),
    ],
)  # fmt: skip
def test_patterns_are_javascript(pattern, text, expected):
    """What Python spells differently is translated."""
    assert compile_search(pattern)(text) is expected


@pytest.mark.parametrize("pattern", ["(", "a++", "(?i)a", "(?P<n>a)", "a**", "\\", "(?>a)", "[b-a]", "x" * 10_001])
def test_patterns_that_javascript_refuses(pattern):
    """They cannot be compiled, also those that Python would read."""
    with pytest.raises(Unreadable):
        compile_search(pattern)


def test_a_pattern_cannot_run_for_ever(rule):
    """A pattern that backtracks for ever is given up soon, and counts as no match."""
    test, _ = compiled(rule("k", "regexMatches", r"^(a+)+$"))
    started = time.monotonic()
    assert test({"k": "a" * 40 + "!"}) is False
    assert time.monotonic() - started < 0.5
    assert test({"k": "aaaa"}) is True


def test_a_pattern_that_repeats_too_much_for_a_long_text():
    """It is found where `re` ends soon, and not found, rather than refused, where it would need a bound on time."""
    found = compile_search(r"(?:(?:ab){0,150}c?){0,150}$")
    assert found("a" * 50_000) is False


@settings(deadline=None, max_examples=300)
@given(st.text(alphabet="ab[](){}?*+\\dwbB^$.|,:=!<>k1-&~u0x", max_size=12))
def test_any_text_is_translated_or_refused(pattern):
    """Translating and compiling raises nothing else."""
    try:
        translate(pattern)
        compile_search(pattern)("ab1")
    except Unreadable:
        pass
