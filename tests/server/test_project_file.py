"""The project file: what its author means is understood, and every mistake is named with its place."""

import json
from pathlib import Path

import pytest

from kameleoon.server.conditions import READERS
from kameleoon.server.configuration import build_configuration
from kameleoon.server.project import RuleType, VariableType
from kameleoon.server.project_file import ProjectError, parse_project, read_project

DEMO = Path(__file__).parents[2] / "sample-config" / "demo-project.yaml"

HEAD = """\
project: {site_code: shop123456}
environments: [production, staging]
custom_data: [{name: plan, index: 7, id: 5007}, {name: tenant, index: 8, id: 5008}]
goals: [{key: purchase, id: 1001}]
"""

CHECKOUT = """\
flags:
  checkout:
    id: 10
    variations: {off: {}, on: {}}
    rules:
      - {experiment: {off: 50%, on: 50%}, key: test, id: 11, experiment_id: 12, variation_ids: {off: 13, on: 14}}
"""


def condition(text):
    """The wire form of one condition written in a segment."""
    project = parse_project(
        f"{HEAD}{CHECKOUT}segments:\n  others: {{id: 41, device: phone}}\n  here: {{all: [{text}]}}\n"
    )
    built = build_configuration(project, "production", modified_ms=0, at_ms=0)
    return built["segments"][1]["conditionsData"]["firstLevel"][0]["conditions"][0]


def problems(text):
    """What is reported of a file."""
    with pytest.raises(ProjectError) as caught:
        parse_project(text, source="shop.yaml")
    return [str(problem) for problem in caught.value.problems]


WIRE = [
    (
        "{custom_data: plan, is: gold}",
        "CUSTOM_DATUM",
        {"customDataIndex": "7", "valueMatchType": "EXACT", "value": "gold"},
    ),
    ("{custom_data: plan, is: 5}", "CUSTOM_DATUM", {"customDataIndex": "7", "valueMatchType": "EQUAL", "value": "5"}),
    ("{custom_data: plan, is: true}", "CUSTOM_DATUM", {"customDataIndex": "7", "valueMatchType": "TRUE", "value": ""}),
    (
        "{custom_data: plan, contains: ol}",
        "CUSTOM_DATUM",
        {"customDataIndex": "7", "valueMatchType": "CONTAINS", "value": "ol"},
    ),
    (
        "{custom_data: plan, matches: 'g.*'}",
        "CUSTOM_DATUM",
        {"customDataIndex": "7", "valueMatchType": "REGULAR_EXPRESSION", "value": "g.*"},
    ),
    (
        "{custom_data: plan, above: 2.5}",
        "CUSTOM_DATUM",
        {"customDataIndex": "7", "valueMatchType": "GREATER", "value": "2.5"},
    ),
    (
        "{custom_data: plan, below: 2}",
        "CUSTOM_DATUM",
        {"customDataIndex": "7", "valueMatchType": "LOWER", "value": "2"},
    ),
    (
        "{custom_data: plan, among: [gold, 1]}",
        "CUSTOM_DATUM",
        {"customDataIndex": "7", "valueMatchType": "AMONG_VALUES", "value": '["gold","1"]'},
    ),
    (
        "{custom_data: plan, defined: false}",
        "CUSTOM_DATUM",
        {"customDataIndex": "7", "valueMatchType": "UNDEFINED", "value": ""},
    ),
    (
        "{custom_data: plan, defined: true}",
        "CUSTOM_DATUM",
        {"customDataIndex": "7", "valueMatchType": "REGULAR_EXPRESSION", "value": "(?s:.*)"},
    ),
    ("{browser: chrome}", "BROWSER", {"browser": "CHROME"}),
    (
        "{browser: internet_explorer, version: {above: 10.10}}",
        "BROWSER",
        {"browser": "INTERNET_EXPLORER", "version": "10.10", "versionMatchType": "GREATER"},
    ),
    ("{device: Tablet}", "DEVICE_TYPE", {"device": "TABLET"}),
    ("{os: windows_phone}", "OPERATING_SYSTEM", {"os": "WINDOWS_PHONE"}),
    ("{country: NO, city: Oslo}", "GEOLOCATION", {"country": "NO", "city": "Oslo"}),
    (
        "{cookie: lang, is: fr}",
        "COOKIE",
        {"name": "lang", "nameMatchType": "EXACT", "value": "fr", "valueMatchType": "EXACT"},
    ),
    (
        "{cookie: {contains: sess}, matches: '[0-9]+'}",
        "COOKIE",
        {"name": "sess", "nameMatchType": "CONTAINS", "value": "[0-9]+", "valueMatchType": "REGULAR_EXPRESSION"},
    ),
    ("{app_version: {below: 2.10}}", "APPLICATION_VERSION", {"version": "2.10", "versionMatchType": "LOWER"}),
    ("{page_url: {contains: /cart}}", "PAGE_URL", {"url": "/cart", "matchType": "CONTAINS"}),
    ("{page_title: Home}", "PAGE_TITLE", {"title": "Home", "matchType": "EXACT"}),
    ("{previous_page: {matches: '.*/p/.*'}}", "PREVIOUS_PAGE", {"url": ".*/p/.*", "matchType": "REGULAR_EXPRESSION"}),
    ("{page_views: {above: 3}}", "PAGE_VIEWS", {"pageCount": 3, "matchType": "GREATER"}),
    ("{visitor_code: {contains: bot}}", "VISITOR_CODE", {"visitorCode": "bot", "matchType": "CONTAINS"}),
    (
        "{sdk_language: python, version: {is: 3.22.2}}",
        "SDK_LANGUAGE",
        {"sdkLanguage": "PYTHON", "version": "3.22.2", "versionMatchType": "EQUAL"},
    ),
    ("{converted: purchase}", "CONVERSIONS", {"goalId": 1001}),
    (
        "{converted: any, within: all_visits, last_visits: 5}",
        "CONVERSIONS",
        {"visitScope": "VISITOR", "visitCount": 5},
    ),
    ("{visits: 2}", "VISITS", {"visitCount": 2, "matchType": "EQUAL"}),
    ("{visits_today: {below: 4}}", "SAME_DAY_VISITS", {"visitCount": 4, "matchType": "LOWER"}),
    ("{visitor: returning}", "NEW_VISITORS", {"visitorType": "RETURNING"}),
    ("{since_first_visit: {above: 7 days}}", "FIRST_VISIT", {"countInMillis": 604_800_000, "matchType": "GREATER"}),
    ("{since_last_visit: {below: 1.5 h}}", "LAST_VISIT", {"countInMillis": 5_400_000, "matchType": "LOWER"}),
    (
        "{heat: 31, goal: purchase, from: 10, to: 50.5}",
        "HEAT_SLICE",
        {"keyMomentId": 31, "goalId": 1001, "lowerBound": 10, "upperBound": 50.5},
    ),
    ("{segment: others}", "SEGMENT", {"segmentId": 41}),
    (
        "{saw_flag: checkout, rule: test, variation: on, within: current_visit}",
        "TARGET_FEATURE_FLAG",
        {"featureFlagId": 10, "ruleId": 11, "variationKey": "on", "visitScope": "CURRENT_VISIT"},
    ),
    ("{saw_experiment: checkout}", "TARGET_EXPERIMENT", {"experimentId": 12, "variationMatchType": "ANY"}),
    (
        "{saw_experiment: checkout, rule: test, variation: on}",
        "TARGET_EXPERIMENT",
        {"experimentId": 12, "variationMatchType": "EXACT", "variationId": 14},
    ),
    ("{saw_personalization: 66}", "TARGET_PERSONALIZATION", {"personalizationId": 66}),
    ("{in_no_other: experiment}", "EXCLUSIVE_EXPERIMENT", {"campaignType": "EXPERIMENT"}),
    ("{in_no_other: flag}", "EXCLUSIVE_FEATURE_FLAG", {}),
    ("{service: {targetingType: WEATHER, sky: clear, weight: 1}}", "WEATHER", {"sky": "clear"}),
]


@pytest.mark.parametrize(("text", "kind", "fields"), WIRE, ids=[text for text, _, _ in WIRE])
def test_a_condition_becomes_the_services(text, kind, fields):
    """Each readable condition has the service's type and fields."""
    assert condition(text) == {"targetingType": kind, "isInclude": True, **fields}


def test_every_condition_is_tried():
    """The table above has every condition that there is, so none goes untested."""
    assert {text[1:].split(":")[0] for text, _, _ in WIRE} == set(READERS)


def test_not_negates_one_condition():
    """`not` turns `isInclude` off, and twice turns it on again."""
    assert condition("not: {device: phone}") == {"targetingType": "DEVICE_TYPE", "isInclude": False, "device": "PHONE"}
    assert condition("not: {not: {device: phone}}")["isInclude"] is True


@pytest.mark.parametrize(
    ("written", "outer", "inner"),
    [
        ("{all: [{device: phone}, {os: mac}, {os: ios}]}", [False, False], [[], [], []]),
        ("{any: [{device: phone}, {os: mac}, {os: ios}]}", [True, True], [[], [], []]),
        ("{all: [{device: phone}, any: [{os: mac}, {os: ios}, {os: linux}]]}", [False], [[], [True, True]]),
        ("{any: [all: [{device: phone}, {os: ios}], all: [{device: tablet}]]}", [True], [[False], []]),
        ("{device: phone}", [], [[]]),
    ],
)
def test_all_and_any_become_two_levels(written, outer, inner):
    """Every level has one operator throughout, which makes the service's grouping from the right harmless."""
    project = parse_project(f"{HEAD}segments:\n  here: {written}\n")
    (segment,) = build_configuration(project, "production", modified_ms=0, at_ms=0)["segments"]
    tree = segment["conditionsData"]
    assert tree["firstLevelOrOperators"] == outer
    assert [group["orOperators"] for group in tree["firstLevel"]] == inner


def test_on_and_off_and_no_stay_words():
    """Keys and values that YAML 1.1 takes for booleans, octal numbers, times and dates are the words that are written."""
    project = parse_project(
        HEAD
        + "flags:\n  a:\n    default: off\n    variations: {off: {variables: {x: no, t: 12:30, d: 2026-01-02, o: 0o7}}, on: {}}\n"
    )
    (flag,) = project.flags
    assert flag.default_variation == "off"
    assert [variation.key for variation in flag.variations] == ["off", "on"]
    assert [variable.value for variable in flag.variations[0].variables.values()] == [
        "no",
        "12:30",
        "2026-01-02",
        "0o7",
    ]


def test_variable_types_are_inferred_or_declared():
    """A type is taken from the value, or declared once for all variations with a value for those that give none."""
    project = parse_project(
        HEAD
        + """
flags:
  a:
    variables: {title: string, limit: {type: number, value: 3}, raw: json, look: {type: css, value: "a {}"}, run: {type: js}}
    variations:
      off: {variables: {title: 7, raw: [1, {a: null}]}}
      on: {variables: {limit: 4.5, seen: true, style: {a: 1}, title: "", raw: text}}
"""
    )
    off, on = project.flags[0].variations
    assert [(variable.key, variable.type.value, variable.value) for variable in off.variables.values()] == [
        ("title", "STRING", "7"),
        ("limit", "NUMBER", 3),
        ("raw", "JSON", [1, {"a": None}]),
        ("look", "CSS", "a {}"),
    ]
    assert on.variables["limit"].value == 4.5
    assert (on.variables["seen"].type, on.variables["style"].type) == (VariableType.BOOLEAN, VariableType.JSON)
    built = build_configuration(project, "production", modified_ms=0, at_ms=0)["featureFlags"][0]["variations"]
    assert built[0]["variables"][2] == {"key": "raw", "type": "JSON", "value": '[1,{"a":null}]'}
    assert built[1]["variables"][2] == {"key": "raw", "type": "JSON", "value": '"text"'}


def test_derived_ids_do_not_move():
    """Ids that the author left out are the same in every run and when other things are added, removed or put in between."""
    before = parse_project(HEAD + "flags:\n  a: {rules: [{experiment: [off, on]}]}\n").flags[0]
    after = parse_project(
        HEAD
        + "segments:\n  s: {device: phone}\nflags:\n  b: {}\n  a: {rules: [{deliver: on, to: s}, {experiment: [off, on]}]}\n"
    ).flags[1]
    assert before.id == after.id == 1152505880
    assert before.rules[0] == after.rules[1]


def test_equal_shares_and_percentages():
    """A list of variations divides equally; percentages give exactly what is written."""
    flag = parse_project(
        HEAD
        + "flags:\n  a: {default: x, variations: [x, y, z], rules: [experiment: [x, y, z], experiment: {x: 33.3%, y: 66.7%}]}\n"
    ).flags[0]
    assert [share.share for share in flag.rules[0].shares] == [1 / 3] * 3
    assert [share.share for share in flag.rules[1].shares] == [0.333, 0.667]
    assert [rule.key for rule in flag.rules] == ["experiment", "experiment_2"]


@pytest.mark.parametrize(
    ("written", "enabled"),
    [
        ("{}", {"production", "staging"}),
        ("{environments: [staging]}", {"staging"}),
        ("{environments: {staging: on, production: off}}", {"staging"}),
        ("{environments: {staging: {enabled: false}, production: {enabled: true}}}", {"production"}),
        ("{environments: {}}", set()),
    ],
)
def test_environments_switch_a_flag(written, enabled):
    """A flag is on everywhere unless its environments are named."""
    assert parse_project(f"{HEAD}flags:\n  a: {written}\n").flags[0].enabled_in == enabled


def test_the_specs_worked_example():
    """The worked example of the specification, written as a project file, becomes that example."""
    example = json.loads((Path(__file__).parent / "worked_example.json").read_text())
    project = read_project(Path(__file__).parent / "worked_example.yaml")
    built = build_configuration(project, "production", modified_ms=1767225600000, at_ms=1767225600000)
    assert built["configuration"] == {key: example["configuration"][key] for key in built["configuration"]}
    for section in ("segments", "holdout", "dateModified"):
        assert built[section] == example[section]
    for ours, theirs in zip(built["featureFlags"], example["featureFlags"], strict=True):
        for key in ("id", "featureKey", "environmentEnabled", "defaultVariationKey"):
            assert ours[key] == theirs[key]
        assert ours["mutuallyExclusiveGroup"] == theirs.get("mutuallyExclusiveGroup")
        assert ours["bucketingCustomDataId"] == theirs.get("bucketingCustomDataId")
        for rule, expected in zip(ours["rules"], theirs["rules"], strict=True):
            assert rule | expected | {"order": rule["order"]} == rule
        for variation, expected in zip(ours["variations"], theirs["variations"], strict=True):
            assert variation["key"] == expected["key"]
            assert [
                v if v["type"] != "JSON" else v | {"value": json.loads(v["value"])} for v in variation["variables"]
            ] == [v if v["type"] != "JSON" else v | {"value": json.loads(v["value"])} for v in expected["variables"]]


def test_the_demo_project_has_what_the_shop_plays():
    """The demo shop's project has its flags, goals and a three-way experiment with four typed variables."""
    project = read_project(DEMO)
    assert [flag.key for flag in project.flags] == [
        "checkout_design",
        "free_shipping",
        "new_payment",
        "recommendations",
    ]
    assert {goal.key: goal.id for goal in project.goals} == {"purchase": 1001, "newsletter": 1002}
    design = project.flags[0]
    assert [share.variation_key for share in design.rules[0].shares] == ["classic", "one_page", "express"]
    for variation in design.variations:
        kinds = [variable.type.value for variable in variation.variables.values()]
        assert kinds == ["STRING", "NUMBER", "JSON", "BOOLEAN"]
    assert project.flags[1].rules[0].type is RuleType.DELIVERY


MISTAKES = [
    ("", "shop.yaml: the file is empty"),
    ("- a", "shop.yaml:1:1: this is a list, expected a project's sections"),
    ("environments: [a]", "shop.yaml:1:1: the section 'project' is missing"),
    ("project: {name: x}", "shop.yaml:1:10: project: site_code is missing"),
    ("project: {site_code: a b}", "shop.yaml:1:22: project.site_code: 'a b' is no site code"),
    (HEAD + "flag: {}", "shop.yaml:5:1: flag: unknown key; did you mean 'flags'?"),
    (HEAD + "project: {}", "shop.yaml:5:1: project: this key is here twice"),
    (
        HEAD + "flags:\n  a: {default: of}",
        "shop.yaml:6:16: flags.a.default: this flag has no variation 'of'; did you mean 'off'?",
    ),
    (HEAD + "flags:\n  a: {variations: [x, y]}", "shop.yaml:6:6: flags.a: default is missing; expected one of x, y"),
    (HEAD + "flags:\n  a: {variations: []}", "flags.a.variations: there is no variation here"),
    (
        HEAD + "flags:\n  a: {rules: [{deliver: onn}]}",
        "shop.yaml:6:25: flags.a.rules[0].deliver: this flag has no variation 'onn'",
    ),
    (HEAD + "flags:\n  a: {rules: [{deliver: on, experiment: {}}]}", "flags.a.rules[0]: a rule has either deliver"),
    (
        HEAD + "flags:\n  a: {rules: [{deliver: on, to: x}]}",
        "flags.a.rules[0].to: there is no segment 'x'; there is none",
    ),
    (HEAD + "flags:\n  a: {rules: [{experiment: {off: 50%, on: 40%}}]}", "the shares sum to 90.0000%, expected 100%"),
    (
        HEAD + "flags:\n  a: {rules: [{experiment: {off: 0.5, on: 0.5}}]}",
        "'0.5' is not understood, expected a percentage such as 80%",
    ),
    (
        HEAD + "flags:\n  a: {rules: [{deliver: on, exposition: 101%}]}",
        "'101%' is not understood, expected a percentage",
    ),
    (
        HEAD + "flags:\n  a: {rules: [{deliver: on, key: x}, {deliver: on, key: x}]}",
        "another rule of this flag has the key 'x'",
    ),
    (HEAD + "flags:\n  a: {environments: {prod: on}}", "there is no environment 'prod'; did you mean 'production'?"),
    (HEAD + "flags:\n  a: {bucket_by: x}", "flags.a.bucket_by: there is no custom data 'x'"),
    (HEAD + "flags:\n  a: {variables: {x: numbr}}", "'numbr' is not understood, did you mean 'number'?"),
    (
        HEAD + "flags:\n  a: {variables: {x: number}, variations: {off: {variables: {x: big}}}}",
        "'big' is not understood, expected a number",
    ),
    (HEAD + "flags:\n  a: {variables: {x: boolean}, variations: {off: {variables: {x: 1}}}}", "expected true or false"),
    (
        HEAD + "flags:\n  a: {variations: {off: {variables: {x: 1}}, on: {variables: {x: one}}}}",
        "'one' is not understood, expected a number",
    ),
    (HEAD + "segments:\n  s: {}", "shop.yaml:6:6: segments.s: no condition here"),
    (HEAD + "segments:\n  s: {all: []}", "segments.s.all: the list is empty"),
    (HEAD + "segments:\n  s: [{device: phone}]", "segments.s: this is a list; write all: […] or any: […]"),
    (HEAD + "segments:\n  s: {all: [{device: phone}], any: [{os: mac}]}", "segments.s.any: stands beside 'all'"),
    (HEAD + "segments:\n  s: {all: [{any: [{all: [{os: mac}]}]}]}", "all and any may be nested once"),
    (HEAD + "segments:\n  s: {devise: phone}", "segments.s.devise: no condition of this name; did you mean 'device'?"),
    (HEAD + "segments:\n  s: {device: phone, colour: red}", "segments.s.colour: does not belong to 'device'"),
    (HEAD + "segments:\n  s: {custom_data: plan}", "expected exactly one of is, contains, matches"),
    (HEAD + "segments:\n  s: {custom_data: plna, is: x}", "there is no custom data 'plna'; did you mean 'plan'?"),
    (HEAD + "segments:\n  s: {custom_data: plan, matches: '('}", "'(' is no regular expression"),
    (HEAD + "segments:\n  s: {since_last_visit: {above: soon}}", "'soon' is no duration such as 30 min"),
    (HEAD + "segments:\n  s: {app_version: new}", "'new' is no version such as 2.10.1"),
    (HEAD + "segments:\n  s: {segment: s}", "shop.yaml:6:6: segments.s: this segment refers to itself"),
    (HEAD + "segments:\n  s: {segment: t}\n  t: {not: {segment: s}}", "segments.t: this segment refers to itself"),
    (HEAD + "holdout: 5", "holdout: '5' is not understood, expected a percentage"),
    ("project: {site_code: a}\ngoals: [{key: any}]", "'any' stands for every goal"),
    (
        "project: {site_code: a}\ngoals: [{key: x}, {key: x}]",
        "shop.yaml:2:19: goals[1]: there are two with the key 'x'",
    ),
    (
        "project: {site_code: a}\ngoals: [{key: x, id: 5}, {key: y, id: 5}]",
        "shop.yaml:2:39: goals[1].id: goal y has the id 5, which goal x has too",
    ),
    (
        "project: {site_code: a}\ncustom_data: [{name: x, index: 1}, {name: y, index: 1}]",
        "custom_data[1].index: the index 1 is taken",
    ),
    ("project: {site_code: a}\nenvironments: []", "environments: the list is empty"),
    ("a: [", "shop.yaml:1:5: not YAML"),
    ("a: &x 1\nb: *x", "shop.yaml:1:4: anchors and aliases"),
    ("a: !!python/object:os.system 1", "shop.yaml:1:4: tags (!) are not read here"),
    ("[" * 100, "shop.yaml:1:41: nested deeper than 40 levels"),
    (b"a: \xff", "shop.yaml:1:4: not UTF-8 text"),
    (b"a: \x00", "shop.yaml: not YAML"),
    (b" " * (1024 * 1024 + 1), "shop.yaml: larger than 1048576 bytes"),
    ("a: 1\n---\nb: 2", "shop.yaml:2:1: not YAML"),
]


@pytest.mark.parametrize(("text", "message"), MISTAKES, ids=[message[:60] for _, message in MISTAKES])
def test_a_mistake_is_named_with_its_place(text, message):
    """A mistake is reported with file, line, column, key path and what was expected."""
    assert any(message in problem for problem in problems(text)), problems(text)


def test_all_mistakes_are_reported_at_once():
    """One run names every mistake, in the order of the file."""
    found = problems(
        HEAD + "goal: []\nsegments:\n  s: {devise: phone}\nflags:\n  a: {rules: [{deliver: x}]}\n  b: {default: y}\n"
    )
    assert [problem.split(": ")[1] for problem in found] == [
        "goal",
        "segments.s.devise",
        "flags.a.rules[0].deliver",
        "flags.b.default",
    ]


def test_a_missing_file_is_a_project_error(tmp_path):
    """A file that cannot be opened is reported like a mistake in it."""
    with pytest.raises(ProjectError, match=r"nowhere\.yaml: cannot be read: No such file or directory"):
        read_project(tmp_path / "nowhere.yaml")
