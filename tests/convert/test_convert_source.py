"""Fetching a Convert project: what is asked, what counts as an answer, and what stays secret."""

import dataclasses
import json

import pytest
import yaml
from strict_convert import StrictConvert

from kameleoon import KameleoonClient, KameleoonClientConfig
from kameleoon._convert.ruleset import VisitorState, compile_project
from kameleoon._sources.convert import ConvertSource
from kameleoon._transport.configuration import Fetched
from kameleoon._transport.flow import run
from kameleoon._transport.message import FetchFailed, Response
from kameleoon._transport.requests_sender import RequestsSender
from kameleoon.exceptions import ConfigException


@pytest.fixture
def sender():
    """A real sender."""
    made = RequestsSender()
    yield made
    made.close()


@pytest.fixture
def convert(project, experience):
    """A service with an experience of one environment, a draft and one for all."""
    experiences = [
        experience(),
        experience(id="2", key="live", environment="live"),
        experience(id="3", key="draft", status="draft"),
    ]
    with StrictConvert(project(experiences=experiences), secret="s3cr3t", token="tok3n") as running:
        yield running


def keys(fetched):
    """Keys of the experiences that were fetched."""
    return [one["key"] for one in fetched.root["experiences"]]


def test_by_key_with_secret_and_environment(convert, sender):
    """The secret goes into the header, the environment into the query, and the answer compiles."""
    source = ConvertSource(sdk_key="1001/2002", secret="s3cr3t", environment="live", base_url=convert.url)
    fetched = run(source.fetch(None, None), sender)
    assert (keys(fetched), fetched.source_name, convert.refused) == (["exp", "live"], "convert", [])
    assert convert.seen[0][1] == "/config/1001/2002?environment=live"
    decision = compile_project(fetched.root, environment="live").experiences["live"].decide("v", VisitorState())
    assert decision.variation is not None


def test_by_account_and_project(convert, sender):
    """Without a key the two ids stand for it."""
    source = ConvertSource(account_id="1001", project_id="2002", secret="s3cr3t", base_url=convert.url + "/")
    assert keys(run(source.fetch(None, None), sender)) == ["exp"]
    assert convert.seen[0][1] == "/config/1001/2002"


def test_a_debug_token_brings_drafts(convert, sender):
    """It goes into its header, asks past the cache, and is carried by no redirect."""
    source = ConvertSource(sdk_key="1001/2002", secret="s3cr3t", debug_token="tok3n", base_url=convert.url)
    fetched = run(source.fetch(None, None), sender)
    assert keys(fetched) == ["exp", "draft"]
    assert convert.seen[0][1].endswith("?_conv_low_cache=1")
    assert compile_project(fetched.root).experiences["draft"].decide("v", VisitorState()).variation is not None
    convert.faults.append((302, {"Location": f"{convert.url}/elsewhere"}))
    with pytest.raises(FetchFailed, match="status 302"):
        run(source.fetch(None, None), sender)
    assert len(convert.seen) == 2


def test_what_is_known_is_not_fetched_again(convert, sender):
    """A validator is sent back, and the same bytes without one are nothing new; what another source gave is not."""
    source = ConvertSource(sdk_key="1001/2002", secret="s3cr3t", base_url=convert.url)
    plain = run(source.fetch(None, None), sender)
    assert run(source.fetch(plain, None), sender) is None
    convert.etag = '"7"'
    convert.root["goals"] = []
    tagged = run(source.fetch(plain, None), sender)
    assert tagged.revision == '"7"'
    assert run(source.fetch(tagged, None), sender) is None
    assert convert.seen[-1][2]["if-none-match"] == '"7"'
    other = Fetched(tagged.body, tagged.root, "file x", revision='"7"')
    assert run(source.fetch(other, None), sender) is not None


def test_both_validators_are_sent_back():
    """The tag and the time of the last change, each if there is one; 304 is nothing new, but only if something is known."""
    root = {"account_id": "1", "project": {"id": "2"}}
    source = ConvertSource(sdk_key="k")
    flow = source.fetch(None, None)
    assert not {"If-None-Match", "If-Modified-Since"} & set(next(flow).headers)
    with pytest.raises(StopIteration) as stop:
        flow.send(
            Response(200, {"etag": '"7"', "last-modified": "Sat, 21 Nov 2026 12:00:00 GMT"}, json.dumps(root).encode())
        )
    known = stop.value.value
    flow = source.fetch(known, None)
    headers = next(flow).headers
    assert (headers["If-None-Match"], headers["If-Modified-Since"]) == ('"7"', "Sat, 21 Nov 2026 12:00:00 GMT")
    with pytest.raises(StopIteration) as stop:
        flow.send(Response(304, {}, b""))
    assert stop.value.value is None
    flow = source.fetch(None, None)
    next(flow)
    with pytest.raises(FetchFailed, match="status 304"):
        flow.send(Response(304, {}, b""))


@pytest.mark.parametrize(
    ("key", "secret"), [("wr0ng-key", "s3cr3t"), ("1001/2002", "wr0ng-secret"), ("1001/2002", None)]
)
def test_no_access_is_told_without_the_key(convert, sender, key, secret):
    """A wrong key or secret is a failure that says so and names neither."""
    source = ConvertSource(sdk_key=key, secret=secret, base_url=convert.url)
    with pytest.raises(FetchFailed, match="secret wrong or missing") as failure:
        run(source.fetch(None, None), sender)
    assert failure.value.status in {401, 404}
    assert len(convert.seen) == 1
    text = str(failure.value) + repr(source)
    assert "wr0ng" not in text
    assert "s3cr3t" not in text


def test_a_service_that_fails_is_asked_twice(convert, sender):
    """A 5xx is followed by one more attempt, unless the service asks to wait."""
    source = ConvertSource(sdk_key="1001/2002", secret="s3cr3t", base_url=convert.url)
    for status in (500, 503):
        convert.faults += [(status, {})]
        assert run(source.fetch(None, None), sender) is not None
    assert len(convert.seen) == 4
    convert.faults += [(499, {})]
    with pytest.raises(FetchFailed, match="status 499"):
        run(source.fetch(None, None), sender)
    assert len(convert.seen) == 5
    convert.faults += [(503, {"Retry-After": "60"})]
    with pytest.raises(FetchFailed, match="status 503") as failure:
        run(source.fetch(None, None), sender)
    assert failure.value.retry_after == "60"
    assert len(convert.seen) == 6


def test_nobody_there(sender):
    """No connection is a failure that does not name the key."""
    with StrictConvert({}) as gone:
        pass
    with pytest.raises(FetchFailed, match="connection") as failure:
        run(ConvertSource(sdk_key="k3y", base_url=gone.url).fetch(None, None), sender)
    assert "k3y" not in str(failure.value)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"<html>", "invalid JSON"),
        (b"[]", "not an object"),
        (b"{}", "no account_id"),
        (b'{"error": "k3y?"}', "error: .*[*]{3}"),
        (b"[" * 100_000, "JSON"),
    ],
)
def test_what_is_no_project_is_a_failure(body, reason):
    """Whatever comes with a 200 and is no project never becomes a configuration."""
    flow = ConvertSource(sdk_key="k3y").fetch(None, None)
    next(flow)
    with pytest.raises(FetchFailed, match=reason):
        flow.send(Response(200, {}, body))


def test_the_ids_suffice_for_a_project():
    """A project without experiences is one."""
    flow = ConvertSource(sdk_key="a b/ü?").fetch(None, None)
    assert next(flow).url == "https://cdn-4.convertexperiments.com/api/v1/config/a%20b/%C3%BC%3F"
    with pytest.raises(StopIteration) as stop:
        flow.send(Response(200, {}, json.dumps({"account_id": 1, "project": {"id": 2}}).encode()))
    assert stop.value.value.root["project"] == {"id": 2}


TEXT, NUMBER, HEADER = "a text", "a text or a whole number", "a text of the characters that a header can have"
ADDRESS, FLAG, SECONDS = "an http or https address without query", "true or false", "a number of seconds above 0"
PLACES = "a whole number from 0 to 4294967295"
ALLOWED = {
    "sdk_key": TEXT, "environment": TEXT, "account_id": NUMBER, "project_id": NUMBER, "preview": NUMBER, "secret": HEADER, "debug_token": HEADER,
    "base_url": ADDRESS, "tracking_base_url": ADDRESS, "repeats_transactions": FLAG, "enriches": FLAG, "excludes_experience": FLAG, "hash_seed": PLACES, "max_traffic": PLACES, "interval_s": SECONDS, "timeout_s": SECONDS,
}  # fmt: skip
WRONG = {
    TEXT: [5, ["s3cr3t"], True],
    NUMBER: [1.5, [1], True],
    HEADER: [5, "s3cr3t\n", "s3cr3té"],
    ADDRESS: [None, 5, "x.test", "ftp://x", "https://x y", "https://x?a=b", "https://x:y", "https://x/#f"],
    FLAG: [None, 1, "yes"],
    PLACES: [None, -1, 1 << 32, 1.0, True, "5"],
    SECONDS: [None, 0, -1, True, "5", float("nan"), float("inf")],
}


def test_each_option_has_what_is_allowed():
    """No option is left out of the table, but those that are functions."""
    assert {one.name for one in dataclasses.fields(ConvertSource)} == {*ALLOWED, "providers", "clock"}


@pytest.mark.parametrize(
    ("option", "value"), [(name, value) for name, kind in ALLOWED.items() for value in WRONG[kind]]
)
def test_each_option(option, value, tmp_path):
    """In code and in a file: the message names the option and what it may be, and no secret."""
    settings = {"sdk_key": "k", option: value}
    with pytest.raises(ConfigException, match=f"ConvertSource: {option} must be {ALLOWED[option]}, not ") as failure:
        ConvertSource(**settings)
    path = tmp_path / "client.yaml"
    path.write_text(yaml.safe_dump({"source": {"type": "convert", **settings}, "top_level_domain": "localhost"}))
    with pytest.raises(ConfigException) as in_file:
        KameleoonClient("site", KameleoonClientConfig.read_from_yaml(path))
    assert str(in_file.value).endswith(f"{path}: source: {failure.value.args[0]}")
    if option in {"sdk_key", "secret", "debug_token"}:
        assert "s3cr3t" not in str(failure.value) + str(in_file.value).replace(str(tmp_path), "")


def test_ids_may_be_numbers():
    """As they are in a settings file without quotes."""
    source = ConvertSource(account_id=1001, project_id=2002, preview=5001)
    assert source == ConvertSource(account_id="1001", project_id="2002", preview="5001")
    assert next(source.fetch(None, None)).url.endswith("/config/1001/2002?exp=5001&_conv_low_cache=1")


@pytest.mark.parametrize("settings", [{}, {"sdk_key": ""}, {"account_id": "1"}, {"project_id": 1}])
def test_a_project_must_be_named(settings):
    """By a key or by both ids."""
    with pytest.raises(ConfigException, match="needs sdk_key, or account_id and project_id"):
        ConvertSource(**settings)


def test_a_key_that_no_address_can_have():
    """It is refused when the source is made, without being shown."""
    with pytest.raises(ConfigException, match="no request can be made of key and environment"):
        ConvertSource(sdk_key="\ud800")
