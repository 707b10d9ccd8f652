"""
The simulated visitors, and what they saw and did.

Each visitor is drawn from the seed and his number, so that two runs send the same people through the shop. They know nothing of
flags but what the pages show them, over real HTTP, and keep their cookies.
"""

from __future__ import annotations

import html
import http.client
import re
import secrets
import threading
from collections import Counter
from contextvars import ContextVar
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from queue import SimpleQueue
from random import Random
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode, urlsplit

from shop import NEWSLETTER, PRICES, PURCHASE, SHIPPING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

SEED: Final = "spring"
THREADS: Final = 4

# How many in a hundred buy, by the design of the checkout they were shown. This is what the experiment is to find out.
BUYERS: Final = {"classic": 20, "one_page": 22, "express": 28}
BUYERS_ELSE: Final = 20

_TIMEOUT_S = 30
_CODE_HEADER = "X-Demo-Visitor-Code"
_SHOWN = re.compile(r'<li data-flag="([^"]*)" data-variation="([^"]*)" data-experiment="(\d*)" data-id="(\d*)">')
_PAID = re.compile(r'data-paid="(\d+)"')
_DESIGN = re.compile(r'<main class="columns-([^" ]*) summary-([^"]*)">\s*<h1>(.*?)</h1>\s*<nav>(.*?)</nav>', re.DOTALL)

_DEVICES: Final = {
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0": 50,
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 Version/18.5 Mobile/15E148 Safari/604.1": 38,
    "Mozilla/5.0 (iPad; CPU OS 18_5 like Mac OS X) AppleWebKit/605.1.15 Version/18.5 Mobile/15E148 Safari/604.1": 12,
}
_COUNTRIES: Final = {"France": 40, "Germany": 20, "Spain": 10, "Italy": 20, "United States": 10}
_PLANS: Final = {None: 40, "free": 25, "silver": 15, "gold": 20}

_code: ContextVar[str | None] = ContextVar("code", default=None)


@dataclass(frozen=True, slots=True)
class Conversion:
    """
    A visitor reached a goal.

    Attributes:
        cents: What he paid, 0 for nothing.
        exposures: What he had been shown by then, ``{experiment id: variation id}``; the conversion counts there.
    """

    goal_id: int
    cents: int
    exposures: Mapping[int, int]


@dataclass(slots=True)
class Visit:
    """
    What one visitor saw and did.

    Attributes:
        code: His visitor code, from the cookie.
        pages: Addresses of the pages he read.
        shown: ``{flag key: variation key}``, what pages showed last.
        exposures: ``{experiment id: variation id}``, what pages showed first.
        conversions: In order.
        designs: Carts that looked as the project says they must.
        problems: What was not as it must be, each in a sentence.
    """

    number: int
    code: str = ""
    pages: list[str] = field(default_factory=list)
    shown: dict[str, str] = field(default_factory=dict)
    exposures: dict[int, int] = field(default_factory=dict)
    conversions: list[Conversion] = field(default_factory=list)
    designs: int = 0
    problems: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Tally:
    """
    What the visitors of one variation did.

    Attributes:
        converted: ``{goal id: visitors}`` with at least one conversion.
        conversions: ``{goal id: conversions}``.
        cents: ``{goal id: revenue in cents}``.
    """

    visitors: int = 0
    converted: Counter[int] = field(default_factory=Counter)
    conversions: Counter[int] = field(default_factory=Counter)
    cents: Counter[int] = field(default_factory=Counter)


def tally(visits: Iterable[Visit]) -> dict[tuple[int, int], Tally]:
    """Add up *visits*: ``{(experiment id, variation id): tally}``."""
    tallies: dict[tuple[int, int], Tally] = {}
    for visit in visits:
        for exposure in visit.exposures.items():
            tallies.setdefault(exposure, Tally()).visitors += 1
        converted = set()
        for conversion in visit.conversions:
            for exposure in conversion.exposures.items():
                found = tallies[exposure]
                found.conversions[conversion.goal_id] += 1
                found.cents[conversion.goal_id] += conversion.cents
                converted.add((exposure, conversion.goal_id))
        for exposure, goal_id in converted:
            tallies[exposure].converted[goal_id] += 1
    return tallies


class SeededCodes:
    """
    WSGI middleware around the shop that gives new visitors the codes they were drawn with.

    A shop leaves codes to chance. Here they come from the seed, so that a second run gives the same visitors the same variations. What
    comes without such a code, as from a real browser, gets a random one.
    """

    def __init__(self, app: WSGIApplication) -> None:
        self._app = app

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Handle one request."""
        _code.set(environ.get(f"HTTP_{_CODE_HEADER.upper().replace('-', '_')}"))
        return self._app(environ, start_response)

    @staticmethod
    def next_code() -> str:
        """The code for the visitor of this request, if he has no cookie yet."""
        return _code.get() or secrets.token_hex(8)


class Crowd:
    """
    Sends visitors through the shop.

    Args:
        url: The shop's.
        count: How many visitors.
        designs: How a cart must look, ``{variation key: {variable key: value}}`` of the flag ``checkout_design``.
    """

    def __init__(self, url: str, count: int, designs: Mapping[str, Mapping[str, Any]]) -> None:
        self._url = url
        self._count = count
        self._designs = designs
        self._done: SimpleQueue[Visit | None] = SimpleQueue()
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Let no further visitor in."""
        self._stopping.set()

    def visits(self) -> Iterator[Visit]:
        """All visits, each when it is over, in no order; ends early after `stop`."""
        threads = [
            threading.Thread(
                target=self._walk, args=(range(first, self._count, THREADS),), name=f"demo-visitors-{first}"
            )
            for first in range(min(THREADS, self._count))
        ]
        for thread in threads:
            thread.start()
        try:
            running = len(threads)
            while running:
                visit = self._done.get()
                if visit is None:
                    running -= 1
                else:
                    yield visit
        finally:
            self.stop()
            for thread in threads:
                thread.join()

    def _walk(self, numbers: Iterable[int]) -> None:
        connection = http.client.HTTPConnection(urlsplit(self._url).netloc, timeout=_TIMEOUT_S)
        try:
            for number in numbers:
                if self._stopping.is_set():
                    break
                visit = Visit(number)
                try:
                    _Visitor(connection, self._url, visit, self._designs).go()
                except (OSError, http.client.HTTPException) as error:
                    visit.problems.append(f"the shop did not answer: {error!r}")
                    connection.close()
                self._done.put(visit)
        finally:
            connection.close()
            self._done.put(None)


class _Visitor:
    """One visitor on his way through the shop."""

    def __init__(
        self,
        connection: http.client.HTTPConnection,
        url: str,
        visit: Visit,
        designs: Mapping[str, Mapping[str, Any]],
    ) -> None:
        self._connection = connection
        self._url = url
        self._visit = visit
        self._designs = designs
        self._random = Random(f"{SEED} {visit.number}")  # noqa: S311 - the draw is to be repeatable
        self._drawn_code = f"{self._random.getrandbits(64):016x}"
        self._cookies: dict[str, str] = {}
        self._user_agent = self._draw(_DEVICES)
        self._country = self._draw(_COUNTRIES)

    def go(self) -> None:
        """Look, perhaps leave, perhaps subscribe, perhaps buy."""
        plan = self._draw(_PLANS)
        logs_in_late = self._chance(30)
        if plan and not logs_in_late:
            self._cookies["plan"] = plan
        self._read("/")
        self._visit.code = self._cookies.get("kameleoonVisitorCode", "")
        if self._visit.code != self._drawn_code:
            self._visit.problems.append(f"the visitor code is {self._visit.code!r}, not {self._drawn_code!r}")
        if self._chance(10):
            return
        if plan:
            self._cookies["plan"] = plan
        items = self._random.sample(list(PRICES), self._random.choice((1, 1, 2, 3)))
        page = self._read("/cart?" + urlencode([("item", item) for item in items]))
        self._look_at_cart(page)
        if self._chance(12):
            self._act("/newsletter", [])
            self._convert(NEWSLETTER, 0)
        if self._chance(self._inclination()):
            for _ in range(2 if self._chance(8) else 1):  # some order the same again
                self._buy(items)

    def _inclination(self) -> float:
        """How likely he buys, in percent, after what he was shown."""
        percent: float = BUYERS.get(self._visit.shown.get("checkout_design", ""), BUYERS_ELSE)
        if self._visit.shown.get("free_shipping") == "on":
            percent *= 1.2
        if self._visit.shown.get("new_payment") == "on":
            percent *= 1.05
        return percent

    def _buy(self, items: list[str]) -> None:
        page = self._act("/order", [("item", item) for item in items])
        value = sum(PRICES[item] for item in items)
        # Both the flag's variables and the shop know when shipping is free; he knows only what the page makes him pay.
        paid = int(found.group(1)) if (found := _PAID.search(page)) else -1
        if paid not in (value, value + SHIPPING):
            self._visit.problems.append(f"goods for {value} cents cost {paid}")
        self._convert(PURCHASE, paid)

    def _look_at_cart(self, page: str) -> None:
        wanted = self._designs.get(self._visit.shown.get("checkout_design", ""))
        found = _DESIGN.search(page)
        if wanted is None or found is None:
            self._visit.problems.append("the cart is in no design of the project")
            return
        seen = {
            "columns": found[1],
            "title": html.unescape(found[3]),
            "layout": (found[2], html.unescape(found[4]).split(" > ")),
            "express_enabled": 'class="express"' in page,
        }
        must = {
            "columns": str(wanted["columns"]),
            "title": wanted["title"],
            "layout": (wanted["layout"]["summary"], list(wanted["layout"]["steps"])),
            "express_enabled": wanted["express_enabled"],
        }
        if seen == must:
            self._visit.designs += 1
        else:
            self._visit.problems.append(f"the cart shows {seen}, the project says {must}")

    def _read(self, path: str) -> str:
        page = self._request("GET", path, None)
        self._visit.pages.append(self._url + path)
        return page

    def _act(self, path: str, fields: list[tuple[str, str]]) -> str:
        return self._request("POST", path, urlencode(fields).encode())

    def _convert(self, goal_id: int, cents: int) -> None:
        self._visit.conversions.append(Conversion(goal_id, cents, dict(self._visit.exposures)))

    def _request(self, method: str, path: str, body: bytes | None) -> str:
        headers = {"User-Agent": self._user_agent, "X-Country": self._country, _CODE_HEADER: self._drawn_code}
        if self._cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self._cookies.items())
        if body is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        self._connection.request(method, path, body, headers)
        response = self._connection.getresponse()
        page = response.read().decode()
        if response.status != 200:
            raise http.client.HTTPException(f"{method} {path}: {response.status}")
        for cookie in response.headers.get_all("Set-Cookie", []):
            self._cookies.update({name: morsel.value for name, morsel in SimpleCookie(cookie).items()})
        for flag, variation, experiment, variation_id in _SHOWN.findall(page):
            self._visit.shown[flag] = variation
            if experiment and variation_id:
                self._visit.exposures.setdefault(int(experiment), int(variation_id))
        return page

    def _chance(self, percent: float) -> bool:
        return self._random.random() * 100 < percent

    def _draw(self, weights: Mapping[Any, int]) -> Any:
        return self._random.choices(list(weights), list(weights.values()))[0]
