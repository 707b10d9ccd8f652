"""What of a settings file, or of an argument, cannot be used: the message names the place, the value and what is allowed, and no secret."""

import pytest

from kameleoon import KameleoonClient, KameleoonClientConfig
from kameleoon.destinations import CommandersAct, Feed, FunctionDestination, JsonLines, Webhook
from kameleoon.destinations.make import _COMMON, _TYPES
from kameleoon.exceptions import ConfigException

GOOD = {
    "commanders_act": {"site_id": 1, "source_key": "s3cret"},
    "webhook": {"url": "https://hook.test/s3cret", "secret": "s3cret"},
    "json_lines": {"path": "x"},
    "function": {"function": "builtins:print"},
}
"""What each type needs."""

OPTIONS = [(kind, name) for kind, (_, own) in _TYPES.items() for name in [*own, *_COMMON]]


@pytest.fixture
def refused(tmp_path):
    """What is said of a ``destinations`` entry, given as YAML."""

    def message(entry):
        path = tmp_path / "client.yaml"
        path.write_text(f"client_id: a\nclient_secret: b\ndestinations:\n  - {entry}\n")
        with pytest.raises(ConfigException) as failure:
            KameleoonClient("site", KameleoonClientConfig.read_from_yaml(path))
        assert str(path) in str(failure.value)
        assert "s3cret" not in str(failure.value)
        return str(failure.value)

    return message


@pytest.mark.parametrize("wrong", ["{a: b}", "null", "1.5", "true", "''", "-1"])
@pytest.mark.parametrize(("kind", "name"), OPTIONS)
def test_each_option(refused, kind, name, wrong):
    """Of each type, each option is named with what is allowed when its value is of no use."""
    allowed = {**_TYPES[kind][1], **_COMMON}[name]
    if (name, wrong) in {("requests_per_s", "1.5"), ("is_strict", "true")}:
        return  # these are right
    entry = ", ".join(f"{key}: {value}" for key, value in {"type": kind, **GOOD[kind], name: wrong}.items())
    said = refused(f"{{{entry}}}")
    assert f"destinations[0].{name} is " in said
    assert said.endswith(f"allowed is {allowed.allowed}")


@pytest.mark.parametrize("kind", GOOD)
def test_what_is_needed(refused, kind):
    """An option that has to be there is named, and so is one that there is not."""
    for name in GOOD[kind]:
        given = {key: value for key, value in {"type": kind, **GOOD[kind]}.items() if key != name}
        said = refused(f"{{{', '.join(f'{key}: {value}' for key, value in given.items())}}}")
        assert f"destinations[0].{name} is missing, allowed is {_TYPES[kind][1][name].allowed}" in said
    given = {"type": kind, **GOOD[kind], "nonsense": 1}
    said = refused(f"{{{', '.join(f'{key}: {value}' for key, value in given.items())}}}")
    assert f"destinations[0]: 'nonsense' is no option of {kind}; allowed are " in said
    assert all(name in said for name in _TYPES[kind][1])


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: CommandersAct("", "k"), "site_id"), (lambda: CommandersAct("\ud800", "k"), "site_id"), (lambda: CommandersAct("1", ""), "source_key"),
        (lambda: CommandersAct("1", "s3cret\ud800"), "source_key"), (lambda: CommandersAct("1", "s3cret é", auth="header"), "source_key"),
        (lambda: CommandersAct("1", "s3cret", base_url="https://x y"), "base_url"), (lambda: CommandersAct("1", "k", exposure_name="My Event"), "exposure_name"),
        (lambda: CommandersAct("1", "k", conversion_name="x" * 65), "conversion_name"), (lambda: CommandersAct("1", "k", conversion_name="purchase"), "conversion_name"),
        (lambda: CommandersAct("1", "k", kameleoon_goals=["experiment_viewed"]), "exposure_name"),
        (lambda: Webhook("https://x:port/s3cret", "k"), "url"), (lambda: Webhook("https://x", ""), "secret"), (lambda: Webhook("https://x", "s3cret\ud800"), "secret"),
        (lambda: JsonLines("x", keep=0), "keep"), (lambda: FunctionDestination("print"), "function"), (lambda: Feed(FunctionDestination(print), "a\nb"), "name"),
        (lambda: Feed(FunctionDestination(print), consent="x"), "consent"), (lambda: Feed(FunctionDestination(print), most_events=True), "most_events"),
        (lambda: Feed(FunctionDestination(print), most_bytes=0), "most_bytes"), (lambda: Feed(FunctionDestination(print), on_dead_letter=5), "on_dead_letter"),
    ],
)  # fmt: skip
def test_arguments(make, named):
    """Given in code they are refused at once, too."""
    with pytest.raises(ConfigException, match=named) as failure:
        make()
    assert "s3cret" not in str(failure.value)


def test_messages(tmp_path, monkeypatch):
    """Some of them, word for word."""
    monkeypatch.setenv("EMPTY", "")
    for entry, text in [
        ("{}", "destinations[0] is without type, allowed is type: commanders_act, webhook, json_lines, function"),
        ("x", "destinations[0] is 'x', allowed is type: "),
        ("{type: mail}", "destinations[0].type is 'mail', allowed is commanders_act, webhook, json_lines, function"),
        ("{type: json_lines}", "destinations[0].path is missing, allowed is the path of a file"),
        ("{type: json_lines, path: x, keep: true}", "destinations[0].keep is True, allowed is a whole number above 0"),
        ("{type: json_lines, path: x, max: 1}", "'max' is no option of json_lines; allowed are path, max_bytes, keep, name"),
        ("{type: json_lines, path: x, consent: yes}", "destinations[0].consent is True, allowed is required or given or ignored"),
        ("{type: webhook, url: 'https://s3cret.test', secret: 5}", "destinations[0].secret is of type int, allowed is a text"),
        ("{type: webhook, url: s3cret, secret: s3cret}", "destinations[0].url is no such text, allowed is an http or https address"),
        ("{type: webhook, url: 'https://x', secret: '${EMPTY}'}", "destinations[0].secret (environment variable EMPTY) is"),
        ("{type: commanders_act, site_id: 1, source_key: s3cret, mode: x}", "destinations[0].mode is 'x', allowed is single or batch"),
        ("{type: commanders_act, site_id: 1, source_key: s3cret, currency: eur}", "currency is 'eur', allowed is three capital letters"),
        ("{type: commanders_act, site_id: 1, source_key: s3cret, requests_per_s: 501}", "is 501, allowed is a number above 0 and up to 500"),
        ("{type: commanders_act, site_id: 1, source_key: s3cret, exposure_name: purchase}", "destinations[0]: CommandersAct: exposure_name 'purchase' must be none of the standard names"),
        ("{type: function, function: print}", "destinations[0].function is 'print', allowed is module:name of a function"),
        ("{type: function, function: 'no.such:thing'}", "it cannot be imported (ModuleNotFoundError)"),
        ("{type: function, function: 'os:sep'}", "it is no function"),
    ]:  # fmt: skip
        path = tmp_path / "client.yaml"
        path.write_text(f"client_id: a\nclient_secret: b\ndestinations:\n  - {entry}\n")
        with pytest.raises(ConfigException) as refused:
            KameleoonClient("site", KameleoonClientConfig.read_from_yaml(path))
        assert text in str(refused.value)
        assert str(path) in str(refused.value)
        assert "s3cret" not in str(refused.value)
    path.write_text("client_id: a\nclient_secret: b\ndestinations: {type: json_lines}\n")
    with pytest.raises(ConfigException, match="a list, each with type and options"):
        KameleoonClientConfig.read_from_yaml(path).freeze()
