"""The access token: its life as a state machine, and the conversations over it."""

import json
import threading

import pytest
from canned import Canned, broken, json_response, timeout
from clocks import Clock
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from kameleoon._transport.flow import run
from kameleoon._transport.message import Pause, Request, Response, TransportError
from kameleoon._transport.token import SILENCE_S, Step, TokenSource, authorised, refresh_token
from kameleoon.events import RequestType
from kameleoon.logging.kameleoon_logger import KameleoonLogger

URL = "https://api.kameleoon.com/oauth/token?sdkName=PYTHON&sdkVersion=3.22.2&siteCode=s"
DATA = Request(RequestType.REMOTE_DATA, "GET", "https://data/map/map", headers={"X": "1"}, timeout_s=10)


@pytest.fixture(autouse=True)
def logged(monkeypatch):
    """Keep messages for the test instead of logging them."""
    messages = []
    monkeypatch.setattr(KameleoonLogger, "warning", lambda text, *_: messages.append(("warning", text)))
    monkeypatch.setattr(KameleoonLogger, "error", lambda text, *_: messages.append(("error", text)))
    return messages


def tokens():
    """Build a token source with the credentials of the specification."""
    return TokenSource(URL, "my-client-id", "my-client-secret")


def grant(token="t1", expires_in=7200):
    """Build the answer of a working token endpoint."""
    return json_response(json.dumps({"access_token": token, "expires_in": expires_in}).encode())


class Service(Canned):
    """Both endpoints: tokens ``t1``, ``t2`` … as asked for, and data for whom *accepts* says."""

    def __init__(self, *, accepts=lambda _bearer: True, expires_in=7200, token_answer=None, data_answer=None, **more):
        super().__init__(by=self._answer, **more)
        self.accepts = accepts
        self.expires_in = expires_in
        self.token_answer = token_answer
        self.data_answer = data_answer
        self.issued = 0

    def _answer(self, request):
        if request.kind is RequestType.ACCESS_TOKEN:
            self.issued += 1
            return self.token_answer or grant(f"t{self.issued}", self.expires_in)
        if not self.accepts(request.headers.get("Authorization")):
            return Response(401)
        return self.data_answer or Response(200)

    def bearers(self):
        """Give the Authorization of each data request."""
        return [r.headers.get("Authorization") for r in self.sent if r.kind is not RequestType.ACCESS_TOKEN]


def test_the_token_request_is_the_one_of_the_wire():
    """Method, headers and body are those of docs/service/network.md 4.5."""
    request = tokens().request(5.0)
    assert (request.method, request.url, request.body) == ("POST", URL, b"grant_type=client_credentials")
    assert request.headers == {
        "Authorization": "Basic bXktY2xpZW50LWlkOm15LWNsaWVudC1zZWNyZXQ=",
        "Content-Type": "application/x-www-form-urlencoded",
    }


def test_no_secret_shows():
    """Neither credentials nor token are in any text."""
    source = tokens()
    advice = source.ask(0.0, 10.0)
    source.fetched(advice.claim, "tok-123", 7200, 0.0)
    shown = " ".join(map(repr, (source, advice, source.ask(0.0, 10.0), source._held, source.request(1.0))))
    assert not [secret for secret in ("tok-123", "my-client", "bXktY2") if secret in shown]


def test_one_token_serves_many_requests():
    """The first authorised request fetches the token, the others use it."""
    service, source = Service(), tokens()
    for _ in range(3):
        run(authorised(DATA, source, service.clock), service)
    assert service.issued == 1
    assert service.bearers() == ["Bearer t1"] * 3
    assert service.sent[-1].headers["X"] == "1"


@pytest.mark.parametrize(("life_s", "expected"), [(7139, 1), (7140, 2)])
def test_a_token_is_renewed_a_minute_before_its_end(life_s, expected):
    """It is used up to 60 seconds before it expires, and not after."""
    service, source = Service(), tokens()
    run(authorised(DATA, source, service.clock), service)
    service.clock.now += life_s
    run(authorised(DATA, source, service.clock), service)
    assert service.issued == expected


@pytest.mark.parametrize(
    ("expires_in", "age_s", "is_due"),
    [(7200, 5399, False), (7200, 5400, True), (7200, 7140, False), (1800, 1700, False)],
)
def test_the_background_renewal_is_due_in_the_last_half_hour(expires_in, age_s, is_due):
    """From 1800 s before the end, unless the whole life is no longer than that or over; the old token stays in use."""
    service, source = Service(expires_in=expires_in), tokens()
    run(authorised(DATA, source, service.clock), service)
    service.clock.now += age_s
    assert source.refresh_due(service.clock()) is is_due
    assert run(refresh_token(source, 10, service.clock), service) is is_due
    assert service.issued == 1 + is_due
    run(authorised(DATA, source, service.clock), service)
    assert service.bearers()[-1] == f"Bearer t{service.issued}"


def test_a_failed_renewal_leaves_the_token_in_use():
    """A token that is still valid goes on being used, and nothing is asked for 300 s."""
    service, source = Service(), tokens()
    run(authorised(DATA, source, service.clock), service)
    service.clock.now += 6000
    service.token_answer = Response(500)
    assert run(refresh_token(source, 10, service.clock), service) is False
    assert not source.refresh_due(service.clock())
    run(authorised(DATA, source, service.clock), service)
    assert service.bearers()[-1] == "Bearer t1"
    service.clock.now += SILENCE_S
    assert source.refresh_due(service.clock())


def test_a_renewal_that_brings_a_token_of_a_minute():
    """The valid token stays in use, and the next renewal waits like after a failure."""
    service, source = Service(), tokens()
    run(authorised(DATA, source, service.clock), service)
    service.clock.now += 6000
    service.expires_in = 60
    run(refresh_token(source, 10, service.clock), service)
    assert not source.refresh_due(service.clock())
    run(authorised(DATA, source, service.clock), service)
    assert service.bearers()[-1] == "Bearer t1"
    service.clock.now += SILENCE_S
    assert source.refresh_due(service.clock())


@pytest.mark.parametrize(
    "answer",
    [
        Response(500),
        Response(403, {"content-type": "application/json"}, b'{"access_token": "t", "expires_in": 7200}'),
        Response(200, {"content-type": "text/plain"}, b'{"access_token": "t", "expires_in": 7200}'),
        json_response(b"not json"),
        json_response(b"[]"),
        json_response(b"{}"),
        json_response(b'{"access_token": "", "expires_in": 7200}'),
        json_response(b'{"access_token": 7, "expires_in": 7200}'),
        json_response(b'{"access_token": "a\\r\\nX: 1", "expires_in": 7200}'),
        json_response(b'{"access_token": "t"}'),
        json_response(b'{"access_token": "t", "expires_in": 0}'),
        json_response(b'{"access_token": "t", "expires_in": true}'),
        json_response(b'{"access_token": "t", "expires_in": "7200"}'),
        json_response(b'{"access_token": "t", "expires_in": 7200.0}'),
        timeout(),
        broken(),
    ],
)
def test_without_a_usable_token_requests_go_without(answer, logged):
    """Whatever the token endpoint does wrong, the request goes out, and the endpoint is left alone for 300 s (faults D6)."""
    service, source = Service(token_answer=answer), tokens()
    for _ in range(3):
        assert run(authorised(DATA, source, service.clock), service).status == 200
    service.clock.now += SILENCE_S - 1
    run(authorised(DATA, source, service.clock), service)
    assert service.issued == 1
    assert service.bearers() == [None] * 4
    assert len(logged) == 1
    service.clock.now += 1
    service.token_answer = None
    run(authorised(DATA, source, service.clock), service)
    assert service.bearers()[-1] == "Bearer t2"


def test_a_token_of_a_minute_is_used_once(logged):
    """A life of 60 s or less serves the request that fetched it, is not kept, and is an error in the log."""
    service, source = Service(expires_in=60), tokens()
    run(authorised(DATA, source, service.clock), service)
    run(authorised(DATA, source, service.clock), service)
    assert service.bearers() == ["Bearer t1", "Bearer t2"]
    assert [level for level, _ in logged] == ["error", "error"]


def test_a_refused_token_on_the_last_attempt():
    """The request is repeated at once without a token, and no token is fetched again within the call."""
    service, source = Service(accepts=lambda bearer: bearer is None), tokens()
    assert run(authorised(DATA, source, service.clock), service).status == 200
    assert service.bearers() == ["Bearer t1", None]
    assert service.issued == 1
    run(authorised(DATA, source, service.clock), service)
    assert service.issued == 2


def test_a_refused_token_with_attempts_left():
    """The 401 is handed back, and the next attempt has a new token."""
    service, source = Service(accepts=lambda bearer: bearer == "Bearer t2"), tokens()
    assert run(authorised(DATA, source, service.clock, last_attempt=False), service).status == 401
    assert run(authorised(DATA, source, service.clock, last_attempt=False), service).status == 200
    assert service.bearers() == ["Bearer t1", "Bearer t2"]


def test_a_401_without_a_token_is_final():
    """A request that had no token is not repeated."""
    service, source = Service(accepts=lambda _: False, token_answer=Response(500)), tokens()
    assert run(authorised(DATA, source, service.clock), service).status == 401
    assert service.bearers() == [None]


def test_a_newer_token_survives_the_discard_of_an_older():
    """Only the token that was refused is given up."""
    source = tokens()
    source.fetched(source.ask(0, 1).claim, "new", 7200, 0)
    source.discard("old")
    assert source.ask(0, 1).token == "new"


def test_the_request_keeps_its_deadline_with_a_hanging_token_endpoint():
    """Half of the time goes to the token at most, and both together keep to the timeout (faults B13)."""
    clock = Clock()
    service = Service(token_answer=(99, None), data_answer=(99, None), clock=clock)
    with pytest.raises(TransportError):
        run(authorised(DATA, tokens(), clock), service)
    assert clock.now == 1000 + DATA.timeout_s
    assert [request.timeout_s for request in service.sent] == [5.0, 5.0]


def test_no_extra_attempt_after_the_deadline():
    """A 401 that comes at the very end is the answer."""
    clock = Clock()
    service = Service(data_answer=(10.0, Response(401)), clock=clock)
    assert run(authorised(DATA, tokens(), clock), service).status == 401
    assert len(service.bearers()) == 1


def test_callers_share_one_fetch():
    """While one caller fetches the others pause, and then use what it got."""
    source, clock = tokens(), Clock()
    flows = [authorised(DATA, source, clock) for _ in range(5)]
    steps = [next(flow) for flow in flows]
    assert steps[0].kind is RequestType.ACCESS_TOKEN
    assert all(isinstance(step, Pause) and 0 < step.seconds <= 0.1 for step in steps[1:])
    assert flows[0].send(grant()).headers["Authorization"] == "Bearer t1"
    for flow in flows[1:]:
        assert flow.send(None).headers["Authorization"] == "Bearer t1"
    for flow in flows:
        flow.close()


def test_waiting_for_another_caller_is_bounded():
    """Who waits half of its time in vain goes without a token."""
    source = tokens()
    clock = Clock()
    holder = authorised(DATA, source, clock)
    next(holder)
    impatient = Service(clock=clock)
    waiting = Request(RequestType.REMOTE_DATA, "GET", "https://data/map/map", timeout_s=1.0)
    assert run(authorised(waiting, source, clock), impatient).status == 200
    assert impatient.bearers() == [None]
    assert sum(impatient.paused) == pytest.approx(0.5)
    holder.close()


def test_a_cancelled_fetch_is_taken_up_by_the_next_caller():
    """Closing the flow in the middle of the fetch frees the way, without a silence."""
    service, source = Service(), tokens()
    flow = authorised(DATA, source, service.clock)
    next(flow)
    flow.close()
    run(authorised(DATA, source, service.clock), service)
    assert service.bearers() == ["Bearer t1"]


def test_a_fetch_lost_in_a_fork_blocks_nobody_for_long():
    """A claim that nobody gives back ends with its lease."""
    source = tokens()
    assert source.ask(0, 5).step is Step.FETCH
    assert source.ask(4.9, 5).step is Step.WAIT
    assert source.ask(5, 5).step is Step.FETCH


def test_threads_get_one_claim():
    """Of many threads that ask at once, exactly one is told to fetch."""
    source = tokens()
    steps = []
    barrier = threading.Barrier(16)

    def work():
        barrier.wait()
        steps.append(source.ask(0, 60).step)

    threads = [threading.Thread(target=work) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(step.value for step in steps) == ["fetch"] + ["wait"] * 15


class TokenLife(RuleBasedStateMachine):
    """Random histories of a token source, held against the rules of docs/service/network.md 4.5."""

    @initialize()
    def start(self):
        """Begin with nothing."""
        self.source = tokens()
        self.now = 0.0
        self.open = []
        self.valid_until = {}
        self.refused = set()
        self.failed_at = None
        self.held = None
        self.count = 0

    @rule(seconds=st.floats(0, 4000))
    def pass_time(self, seconds):
        """Let time go by; open claims run out."""
        self.now += seconds

    @rule(lease_s=st.floats(1, 60))
    def ask(self, lease_s):
        """Ask, and check the advice against everything that happened."""
        advice = self.source.ask(self.now, lease_s)
        if advice.step is Step.FETCH:
            assert not [claim for claim in self.open if self.now < claim.until_s]
            assert self.failed_at is None or self.now >= self.failed_at + SILENCE_S
            assert not self.source.refresh_due(self.now)
            self.open.append(advice.claim)
        elif advice.step is Step.WAIT:
            assert [claim for claim in self.open if self.now < claim.until_s]
        elif advice.token is not None:
            assert advice.token == self.held
            assert self.now < self.valid_until[advice.token]
            assert advice.token not in self.refused
        else:
            assert self.failed_at is not None
            assert self.now < self.failed_at + SILENCE_S

    @rule()
    def refresh(self):
        """Renew if that is due."""
        was_due = self.source.refresh_due(self.now)
        claim = self.source.claim_refresh(self.now, 10)
        assert (claim is not None) == was_due
        if claim is not None:
            assert self.source.ask(self.now, 10).token is not None
            self.open.append(claim)

    @rule(expires_in=st.integers(1, 10_000), data=st.data())
    def succeed(self, expires_in, data):
        """End an open claim with a token."""
        if self.open:
            claim = self.open.pop(data.draw(st.integers(0, len(self.open) - 1)))
            self.count += 1
            self.valid_until[f"t{self.count}"] = self.now + expires_in - 60
            brought_nothing = expires_in <= 60 and self.held is not None and self.now < self.valid_until[self.held]
            self.failed_at = self.now if brought_nothing else None
            if expires_in > 60:
                self.held = f"t{self.count}"
            self.source.fetched(claim, f"t{self.count}", expires_in, self.now)

    @rule(data=st.data())
    def fail(self, data):
        """End an open claim without one."""
        if self.open:
            self.source.failed(self.open.pop(data.draw(st.integers(0, len(self.open) - 1))), self.now)
            self.failed_at = self.now

    @rule()
    def give_up(self):
        """Abandon an open claim."""
        if self.open:
            self.source.abandoned(self.open.pop())

    @rule(data=st.data())
    def refuse(self, data):
        """Let the service refuse a token that was given out at some time."""
        if self.valid_until:
            token = data.draw(st.sampled_from(sorted(self.valid_until)))
            self.refused.add(token)
            if token == self.held:
                self.held = None
            self.source.discard(token)

    @invariant()
    def no_refresh_without_token(self):
        """A renewal is only ever due for a token that is in use."""
        if hasattr(self, "source") and self.source.refresh_due(self.now):
            assert self.source.ask(self.now, 1).token is not None


TestTokenLife = TokenLife.TestCase


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), st.text(st.characters(exclude_categories=["Cs"])))
def test_any_credentials_make_one_header(client_id, client_secret):
    """Credentials of any alphabet give one line of ASCII."""
    value = TokenSource(URL, client_id, client_secret).request(1.0).headers["Authorization"]
    assert value.isascii()
    assert value.isprintable()
