"""The token endpoint misbehaves: what is tried again, what is refused, and that secrets stay out of it."""

import pytest

from kameleoon.api.access import Credentials
from kameleoon.api.data import DataApi
from kameleoon.api.errors import ApiError, NoAnswer, NotFound, RateLimited, ServerFault, UnexpectedAnswer

SITE = "shop123456"


@pytest.fixture
def api(data_service, credentials, hasty):
    """A client whose retries do not wait; its pauses are in ``api.pauses``."""
    with DataApi(SITE, credentials, base_url=data_service.url) as client:
        client.pauses = hasty(client)
        yield client


@pytest.mark.parametrize("given", [("", "s"), ("i", ""), ("", "")])
def test_credentials_are_not_empty(given):
    """Credentials that cannot be any are refused where they are made."""
    with pytest.raises(ValueError, match="must not be empty"):
        Credentials(*given)


@pytest.mark.parametrize("fault", ["drop", 429, 500, 503])
def test_a_token_is_asked_for_three_times(data_service, api, fault):
    """Two failures that may pass are survived, with growing waits."""
    data_service.fail("POST", "/oauth/token", fault, fault)
    assert api.get_map("k") == {}
    assert [seen.path for seen in data_service.seen] == ["/oauth/token"] * 3 + ["/map/map"]
    first, second = api.pauses
    assert 0.25 <= first <= 0.5 <= second <= 1.0


@pytest.mark.parametrize(("fault", "error"), [("drop", NoAnswer), (429, RateLimited), (500, ServerFault)])
def test_a_token_endpoint_that_stays_broken_ends_the_call(data_service, api, fault, error):
    """After three failures the call fails with theirs, and its request is not sent."""
    data_service.fail("POST", "/oauth/token", *[fault] * 3)
    with pytest.raises(error) as caught:
        api.get_map("k")
    assert [seen.path for seen in data_service.seen] == ["/oauth/token"] * 3
    assert caught.value.sent.body is None
    assert caught.value.sent.target == f"{data_service.url}/oauth/token"


def test_the_token_endpoint_says_when_to_come_back(data_service, api):
    """A Retry-After is kept to."""
    data_service.fail("POST", "/oauth/token", (503, b"", {"Retry-After": "40"}))
    api.get_map("k")
    assert 40 <= api.pauses[0] <= 50


def test_another_status_is_not_tried_again(data_service, api):
    """What will not pass is sent once."""
    data_service.fail("POST", "/oauth/token", 404)
    with pytest.raises(NotFound):
        api.get_map("k")
    assert len(data_service.seen) == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_the_secret_goes_nowhere_else(data_service, service, api, status):
    """A token endpoint that points elsewhere is not followed: the form holds the secret."""
    data_service.fail("POST", "/oauth/token", (status, b"", {"Location": f"{service.url}/oauth/token"}))
    with pytest.raises(UnexpectedAnswer, match=str(status)):
        api.get_map("k")
    assert (len(data_service.seen), service.seen) == (1, [])


GOOD = {"access_token": "t0ken", "expires_in": 7200}


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"<html>", "access_token"),
        (b"", "access_token"),
        ([GOOD], "access_token"),
        ({"expires_in": 7200}, "access_token"),
        *((GOOD | {"access_token": token}, "access_token") for token in ("", 5, "t0ken\r\nX: y", "t0kén", None)),
        ({"access_token": "t0ken"}, "expires_in"),
        *((GOOD | {"expires_in": life}, "expires_in") for life in (0, -1, True, "7200", 1.5, None)),
    ],
)
def test_a_grant_that_cannot_be_used(data_service, api, answer, said):
    """An answer without a token fit for a header and a life is refused, without showing the token."""
    data_service.fail("POST", "/oauth/token", (200, answer))
    with pytest.raises(UnexpectedAnswer, match=f"{said} in the answer") as caught:
        api.get_map("k")
    assert len(data_service.seen) == 1
    assert "t0k" not in f"{caught.value!r}"


def test_a_token_of_one_second_is_used_once(data_service, api):
    """The shortest life is a life, too short to keep the token for the next call."""
    data_service.expires_in = 1
    for _ in range(2):
        assert api.get_map("k") == {}
    assert [seen.token for seen in data_service.to("GET", "/map/map")] == ["token-1", "token-2"]


def test_a_failure_leaves_the_next_call_its_try(data_service, api):
    """A call that got no token does not keep others from asking for one."""
    data_service.fail("POST", "/oauth/token", 404)
    with pytest.raises(ApiError):
        api.get_map("k")
    assert api.get_map("k") == {}
