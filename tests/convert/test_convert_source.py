"""Fetching a Convert project: what is asked, what counts as an answer, and what stays secret."""

import json

import pytest
from strict_convert import StrictConvert

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
    convert.faults += [(503, {})]
    assert run(source.fetch(None, None), sender) is not None
    convert.faults += [(503, {"Retry-After": "60"})]
    with pytest.raises(FetchFailed, match="status 503") as failure:
        run(source.fetch(None, None), sender)
    assert failure.value.retry_after == "60"
    assert len(convert.seen) == 3


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


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"account_id": "1"},
        {"sdk_key": "k", "secret": "a\nb"},
        {"sdk_key": "\ud800"},
        {"sdk_key": "k", "timeout_s": 0},
    ],
)
def test_settings_that_cannot_be_used(settings):
    """They are refused when the source is made."""
    with pytest.raises(ConfigException):
        ConvertSource(**settings)
