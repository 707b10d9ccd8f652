"""Access in the name of a user: state, code, refresh."""

import asyncio
import base64
from urllib.parse import parse_qs, parse_qsl, quote, urlsplit

import pytest
from strict_service import Refused

from kameleoon.api.automation import AutomationApi
from kameleoon.api.errors import CredentialsRefused
from kameleoon.api.oauth import AsyncOAuthApplication, OAuthApplication, RedirectRefused

BACK = "https://app.example/call back?x=1"


@pytest.fixture
def login_service(automation_service):
    """A service that gives one code and refresh tokens for one use each."""
    valid = {"code": "c0de", "refresh": None}

    def grant(seen):
        expected = base64.b64encode(b"shop:s3cr3t/+&").decode()
        if seen.headers.get("authorization") != f"Basic {expected}":
            raise Refused(401, {"error": "invalid_client"})
        form = dict(parse_qsl(seen.body.decode(), keep_blank_values=True))
        if form.get("grant_type") == "authorization_code":
            assert form["redirect_uri"] == BACK
            given, kind = form["code"], "code"
        else:
            assert set(form) == {"grant_type", "refresh_token"}
            given, kind = form["refresh_token"], "refresh"
        if given != valid[kind]:
            raise Refused(400, {"error": "invalid_grant"})
        valid[kind] = None
        answer = automation_service.new_token()
        valid["refresh"] = answer["refresh_token"] = f"refresh-{automation_service.granted}"
        return answer

    automation_service.routes["POST", "/oauth/token"] = grant
    return automation_service


@pytest.fixture
def application(login_service, credentials):
    """The application."""
    with OAuthApplication(credentials, BACK, base_url=login_service.url) as running:
        yield running


def test_a_login_gives_access_that_renews_itself(application, login_service):
    """The code becomes a token; when that is revoked the refresh token gives the next, and every grant is told."""
    started = application.start()
    asked = parse_qs(urlsplit(started.url).query)
    assert asked == {
        "client_id": ["shop"],
        "response_type": ["code"],
        "redirect_uri": [BACK],
        "state": [started.state],
    }
    kept = []
    access = application.finish(f"/back?code=c0de&state={quote(started.state)}", started.state, granted=kept.append)
    with AutomationApi(access, base_url=login_service.url) as api:
        list(api.goals.list())
        login_service.tokens.clear()
        list(api.goals.list())
    assert [grant.refresh_token for grant in kept] == ["refresh-1", "refresh-2"]
    assert "refresh-1" not in repr(kept)
    resumed = application.resume("refresh-2")
    with AutomationApi(resumed, base_url=login_service.url) as api:
        list(api.goals.list())
    again = AutomationApi(application.resume("refresh-2"), base_url=login_service.url)
    with again, pytest.raises(CredentialsRefused, match="invalid_grant"):
        list(again.goals.list())


@pytest.mark.parametrize(
    ("redirect", "said"),
    [
        ("/back?code=c0de&state=other", "another state"),
        ("/back?code=c0de", "another state"),
        ("/back?code=c0de&state={s}&state={s}", "twice"),
        ("/back?error=access_denied&state={s}", "access_denied"),
        ("/back?state={s}", "no code"),
    ],
)
def test_a_redirect_that_is_not_ours_is_refused(application, login_service, redirect, said):
    """Nothing is exchanged for a redirect with another state, an error or no code."""
    started = application.start()
    with pytest.raises(RedirectRefused, match=said):
        application.finish(redirect.format(s=started.state), started.state)
    with pytest.raises(RedirectRefused):
        application.finish("/back?code=c0de&state=", "")
    assert login_service.seen == []
    assert started.state not in repr(started).replace(started.url, "")


def test_a_used_code_says_that_it_is_refused(application):
    """A code is for one use."""
    started = application.start()
    application.finish(f"/back?code=c0de&state={started.state}", started.state)
    with pytest.raises(CredentialsRefused, match="invalid_grant"):
        application.finish(f"/back?code=c0de&state={started.state}", started.state)


def test_the_asyncio_form_is_awaited(login_service, credentials):
    """The same, awaited."""

    async def log_in():
        async with AsyncOAuthApplication(credentials, BACK, base_url=login_service.url) as application:
            started = application.start()
            return await application.finish(f"/back?code=c0de&state={started.state}", started.state)

    with AutomationApi(asyncio.run(log_in()), base_url=login_service.url) as api:
        assert list(api.goals.list()) == []
