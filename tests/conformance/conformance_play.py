"""
Play recorded cases against the SDK, through its public API only.

As a command: ``python tests/conformance/conformance_play.py [--area NAME] [--case ID] [--list]`` (``--help`` says more).

Source:
    The format of tests/vectors, "A case", "An action", "A result".
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import re
import sys
import tempfile
import time
import warnings
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from http.cookies import Morsel, SimpleCookie
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from conformance_backend import ORIGINAL_HOST, Backend, Exchange
from conformance_clock import FrozenClock, time_zone
from conformance_compare import differences

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

VECTORS = Path(__file__).parents[1] / "vectors"
NOT_YET_PASSING = Path(__file__).with_name("not_yet_passing.json")

VISITOR_COOKIE = "kameleoonVisitorCode"
_PATIENCE_S = (
    2.0  # bound on waiting for what a case expects to arrive; halved, down to the least, by each disappointment
)
_LEAST_PATIENCE_S = 0.2
_SETTLE_S = 0.01  # real time given to a request that should not be sent

_WITHOUT_VISITOR = frozenset(
    {
        "get_data_file",
        "get_feature_list",
        "get_feature_variation_variables",
        "get_remote_data",
        "get_visitor_code",
        "is_ready",
        "wait_init",
    },
)
_CONFIG_PROPERTIES = (
    "client_id",
    "client_secret",
    "refresh_interval_second",
    "session_duration_second",
    "default_timeout_second",
    "tracking_interval_second",
    "environment",
    "top_level_domain",
    "network_domain",
)
_ENUMS = {"browser_type": "BrowserType", "device_type": "DeviceType", "os_type": "OperatingSystemType"}
_HANDED_BACK = {
    "CustomData": ("index", "values"),
    "Browser": ("browser_type", "version"),
    "Device": ("device_type",),
    "OperatingSystem": ("os_type",),
    "Geolocation": ("country", "region", "city"),
    "PageView": ("url", "title"),
    "Conversion": ("goal_id", "revenue", "negative"),
}


@dataclass(frozen=True, slots=True)
class Case:
    """One recorded case with its data file as bytes; *content* is the case as the file has it."""

    area: str
    id: str
    data_file: bytes
    content: dict[str, Any]

    @property
    def tags(self) -> frozenset[str]:
        """The tags of the case."""
        return frozenset(self.content.get("tags", ()))


@cache
def load_cases() -> tuple[Case, ...]:
    """Read all cases, by area and in the order of their file."""
    cases = []
    for path in sorted(VECTORS.glob("*.json")):
        content = json.loads(path.read_bytes())
        if content.get("format") != 1:  # files beside these are not ours to play
            continue
        data_files = {
            name: json.dumps(value, ensure_ascii=False).encode() for name, value in content["datafiles"].items()
        }
        cases += [Case(content["area"], case["id"], data_files[case["datafile"]], case) for case in content["cases"]]
    return tuple(cases)


def load_not_yet_passing() -> dict[str, dict[str, Any]]:
    """Read the list of cases that do not pass yet: ``{area: {"count": int, "ids": [case id]}}``."""
    return json.loads(NOT_YET_PASSING.read_text("utf-8"))


def load_sdk() -> SimpleNamespace:
    """Import the names that cases use; an SDK of the same shape may stand in for it."""
    kameleoon = import_module("kameleoon")
    return SimpleNamespace(
        Config=kameleoon.KameleoonClientConfig,
        Factory=kameleoon.KameleoonClientFactory,
        Middleware=kameleoon.KameleoonWSGIMiddleware,
        RemoteVisitorDataFilter=import_module("kameleoon.types.remote_visitor_data_filter").RemoteVisitorDataFilter,
        data=import_module("kameleoon.data"),
        errors=import_module("kameleoon.exceptions").KameleoonError,
    )


class Stage:
    """What all cases of a run share: the SDK, the backend and the clock."""

    def __init__(self, sdk: Any, backend: Backend) -> None:
        self.sdk = sdk
        self.backend = backend
        self.clock = FrozenClock()
        self._patience_s = _PATIENCE_S

    def await_arrival(self, exchange: Exchange, arrived: Callable[[], bool]) -> None:
        """Wait until *arrived*, though not for long in a run in which much never does."""
        if not exchange.wait_until(arrived, self._patience_s):
            self._patience_s = max(self._patience_s / 2, _LEAST_PATIENCE_S)

    def play(self, case: Case) -> list[dict[str, Any]]:
        """Play *case* and give the result of each action."""
        return self.play_together([case])[0]

    def play_together(self, cases: Iterable[Case]) -> list[list[dict[str, Any]]]:
        """
        Play several cases so that the real time they ask to wait passes once for all.

        The actions of a case follow one another without a break up to the next wait; clients stay open meanwhile.
        """
        with ExitStack() as stack:
            stack.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore", DeprecationWarning)  # deprecated methods are part of the recorded calls
            stack.enter_context(self.clock)
            players = [stack.enter_context(_opened(self, case)) for case in cases]
            runs = {id(player): player.run() for player in players}
            while runs:
                waits = []
                for player in players:
                    run = runs.get(id(player))
                    if run is None:
                        continue
                    try:
                        waits.append(next(run))
                    except StopIteration:
                        del runs[id(player)]
                time.sleep(max(waits, default=0))
            return [player.results for player in players]


@contextmanager
def _opened(stage: Stage, case: Case) -> Iterator[Player]:
    """Set the scene of *case*, and leave nothing of it behind."""
    content = case.content
    with ExitStack() as stack:
        if "timezone" in content:
            stack.enter_context(time_zone(content["timezone"]))
        if "host" in case.tags:
            stack.enter_context(hosts_redirected(stage.backend.url))
        exchange = stack.enter_context(stage.backend.exchange(case.data_file, content.get("server")))
        player = Player(stage, case, exchange)
        stack.callback(player.close)
        yield player


class Player:
    """One case being played: its client, its clock and its results so far."""

    def __init__(self, stage: Stage, case: Case, exchange: Exchange) -> None:
        self.results: list[dict[str, Any]] = []
        self._stage = stage
        self._sdk = stage.sdk
        self._case = case
        self._content = case.content
        self._exchange = exchange
        self._now_ms: int = case.content["now_ms"]
        self._runner: asyncio.Runner | None = None
        self._client: Any = None

    def run(self) -> Generator[float, None, None]:
        """Play the case; yields the seconds of real time that must pass before it goes on."""
        self._stage.clock.now_ms = self._now_ms
        obstacle = self._make_client()
        if obstacle is not None:
            self.results = [{"raises": obstacle} for _ in self._content["actions"]]
            return
        for action, expected in zip(self._content["actions"], self._content["expect"], strict=True):
            if "wait_ms" in action:
                yield action["wait_ms"] / 1000
            self._now_ms += 1
            self._stage.clock.now_ms = self._now_ms
            self.results.append(self._result(action, expected))

    def _make_client(self) -> str | None:
        """Make the client of the case; says what came in the way, if anything did."""
        try:
            self._client = self._sdk.Factory.create(self._exchange.site_code, self._default_config())
            if self._content.get("await_ready", True) and not self._client.wait_init():
                return "not ready after wait_init()"
        except Exception as error:
            return f"no client: {_full_name(error)}"
        return None

    def close(self) -> None:
        """Close the client, and the event loop if there was one."""
        if self._client is None:
            return
        if self._runner is None:
            self._client.close()
        else:
            self._runner.run(self._client.aclose())
            self._runner.close()
        self._sdk.Factory.forget(self._exchange.site_code)

    def _result(self, action: dict[str, Any], expected: dict[str, Any]) -> dict[str, Any]:
        arguments = dict(action)
        op = arguments.pop("op")
        try:
            own = getattr(self, f"_do_{op}", None)
            if own is None:
                return {"returns": self._call(op, arguments)}
            return {"returns": own(arguments, expected.get("returns"))}
        except self._sdk.errors as error:
            return {"raises": type(error).__name__}
        except Exception as error:
            # Whatever else the SDK raises is a result that differs, not the end of the run.
            return {"raises": _full_name(error)}

    # Calls of the client

    def _call(self, op: str, arguments: dict[str, Any]) -> Any:
        """Call the client's method *op*; what is not plain is shown by the kind of the method."""
        if op not in _WITHOUT_VISITOR:
            arguments.setdefault("visitor_code", self._content["visitor_code"])
        if arguments.pop("use_async", False):
            self._runner = self._runner or asyncio.Runner()
            value = self._runner.run(getattr(self._client, f"{op}_async")(**arguments))
        else:
            value = getattr(self._client, op)(**arguments)
        return _SHOW.get(op, _plain)(value)

    def _do_wait_init(self, arguments: dict[str, Any], _expected: Any) -> Any:
        return self._call("wait_init", {"timeout_milliseconds": arguments["timeout_ms"]})

    def _do_add_data(self, arguments: dict[str, Any], _expected: Any) -> Any:
        visitor_code = arguments.pop("visitor_code", self._content["visitor_code"])
        data = [self._data(item) for item in arguments.pop("data")]
        return self._client.add_data(visitor_code, *data, **arguments)

    def _do_track_conversion(self, arguments: dict[str, Any], _expected: Any) -> Any:
        if "metadata" in arguments:
            arguments["metadata"] = [self._data(item) for item in arguments["metadata"]]
        return self._call("track_conversion", arguments)

    def _do_flush(self, arguments: dict[str, Any], _expected: Any) -> Any:
        if arguments.pop("all_visitors", False):
            self._client.flush(**arguments)
        else:
            arguments.setdefault("visitor_code", self._content["visitor_code"])
            self._client.flush(**arguments)
        # What flush() returns beyond the recorded SDK's None is an addition, not a difference.

    def _do_get_remote_visitor_data(self, arguments: dict[str, Any], _expected: Any) -> Any:
        if "data_filter" in arguments:
            arguments["data_filter"] = self._sdk.RemoteVisitorDataFilter(**arguments["data_filter"])
        return self._call("get_remote_visitor_data", arguments)

    def _do_active_keys(self, arguments: dict[str, Any], _expected: Any) -> Any:
        return list(self._call("get_variations", {**arguments, "only_active": True, "track": False}))

    # Cookies and the middleware

    def _do_get_visitor_code(self, arguments: dict[str, Any], _expected: Any) -> Any:
        given = [arguments.get("cookies"), arguments.get("default_visitor_code")]
        given += (arguments.get("cookies_readonly") or {}).values()
        jar = _take_jar(arguments)
        code = self._client.get_visitor_code(**arguments)
        result = {"visitor_code": code}
        if jar is not None:
            result["cookies"] = {name: _show_morsel(morsel) for name, morsel in jar.items()}
        return _hide_generated(result, code, given)

    def _do_set_legal_consent(self, arguments: dict[str, Any], _expected: Any) -> Any:
        jar = _take_jar(arguments)
        result = self._call("set_legal_consent", arguments)
        return result if jar is None else {"cookies": {name: _show_morsel(morsel) for name, morsel in jar.items()}}

    def _do_wsgi(self, arguments: dict[str, Any], _expected: Any) -> Any:
        seen: list[str] = []

        def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
            cookies = {name: morsel.value for name, morsel in SimpleCookie(environ.get("HTTP_COOKIE", "")).items()}
            code = self._client.get_visitor_code(cookies_readonly=cookies)
            if "consent" in arguments:
                self._client.set_legal_consent(code, arguments["consent"])
            seen.append(code)
            start_response("200 OK", [("Content-Type", "text/plain")])
            return [b"ok"]

        environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "wsgi.url_scheme": "http"}
        if arguments["cookie_header"] is not None:
            environ["HTTP_COOKIE"] = arguments["cookie_header"]
        headers: list[tuple[str, str]] = []

        def start_response(_status: str, of_response: list[tuple[str, str]], *_: Any) -> None:
            headers[:] = of_response

        default = arguments.get("default_visitor_code")
        middleware = self._sdk.Middleware(app, self._client, default)
        body = b"".join(middleware(environ, start_response)).decode()
        set_cookies = [_visitor_cookie(value) for name, value in headers if name.lower() == "set-cookie"]
        ours = [cookie for cookie in set_cookies if cookie is not None]
        result = {
            "visitor_code": seen[0],
            "set_cookie": ours[0] if len(ours) == 1 else ours or None,  # two of them are one too many
            "body": body,
        }
        return _hide_generated(result, seen[0], [arguments["cookie_header"], default])

    # What the services received

    def _do_sent(self, arguments: dict[str, Any], expected: Any) -> Any:
        lines = len(expected["lines"])
        exchange = self._exchange
        if "wait_ms" not in arguments:
            self._stage.await_arrival(exchange, lambda: exchange.count_lines() >= lines)
            if not lines:
                time.sleep(_SETTLE_S)
        return exchange.take_sent(with_host=arguments.get("with_host", False))

    def _do_requests(self, arguments: dict[str, Any], expected: Any) -> Any:
        services = arguments["services"]
        exchange = self._exchange
        self._stage.await_arrival(exchange, lambda: exchange.count(services) >= len(expected))
        return exchange.take_requests(services, with_host=arguments.get("with_host", False))

    def _do_advance(self, arguments: dict[str, Any], _expected: Any) -> None:
        self._now_ms += arguments["ms"]
        self._stage.clock.now_ms = self._now_ms

    # Configurations and clients beside the case's own

    def _do_create_config(self, arguments: dict[str, Any], _expected: Any) -> Any:
        return _show_config(self._sdk.Config(**arguments))

    def _do_read_config(self, arguments: dict[str, Any], _expected: Any) -> Any:
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory, "client-python.yaml")
            path.write_text(arguments["yaml"], "utf-8")
            return _show_config(self._sdk.Config.read_from_yaml(str(path)))

    def _do_create_client(self, arguments: dict[str, Any], _expected: Any) -> None:
        if "config_path" not in arguments:
            arguments["config"] = self._default_config()
        client = self._sdk.Factory.create(**arguments)
        client.close()
        self._sdk.Factory.forget(arguments["site_code"])

    def _default_config(self) -> Any:
        arguments = {
            "client_id": "conformance-id",
            "client_secret": "conformance-secret",
            "top_level_domain": "example.com",
            "tracking_interval_millisecond": 5000,
            "default_timeout_millisecond": 5000,
        }
        if "host" not in self._case.tags:
            arguments["base_url"] = self._stage.backend.url
        return self._sdk.Config(**arguments | self._content.get("config", {}))

    def _data(self, item: dict[str, Any] | None) -> Any:
        """Make the data object that *item* describes."""
        if item is None:
            return None
        arguments = dict(item)
        kind = arguments.pop("type")
        for field, enum in _ENUMS.items():
            if field in arguments:
                arguments[field] = getattr(self._sdk.data, enum)[arguments[field]]
        positional: list[Any] = []
        if kind == "CustomData":
            positional = [arguments.pop("index" if "index" in arguments else "name"), *arguments.pop("values", ())]
        elif kind == "PageView":
            arguments.setdefault("title", None)
        elif kind == "Conversion" and "metadata" in arguments:
            arguments["metadata"] = [self._data(entry) for entry in arguments["metadata"]]
        return getattr(self._sdk.data, kind)(*positional, **arguments)


@contextmanager
def hosts_redirected(base_url: str) -> Iterator[None]:
    """
    Let requests to any host reach *base_url*, with the host that was asked for in a header of its own.

    This is put in below the SDK, in the library ``requests`` that its blocking sender uses.
    """
    from requests.adapters import HTTPAdapter

    original = HTTPAdapter.send

    def send(self: HTTPAdapter, request: Any, *args: Any, **kwargs: Any) -> Any:
        url = urlsplit(request.url)
        if url.scheme == "https":
            request.headers[ORIGINAL_HOST] = url.netloc
            request.url = f"{base_url}{request.path_url}"
        return original(self, request, *args, **kwargs)

    HTTPAdapter.send = send
    try:
        yield
    finally:
        HTTPAdapter.send = original


# How values are shown


def _full_name(error: Exception) -> str:
    return f"{type(error).__module__}.{type(error).__name__}: {error}"


def _plain(value: Any) -> Any:
    return value


def _show_variation(variation: Any) -> dict[str, Any]:
    return {
        "key": variation.key,
        "name": variation.name,
        "id": variation.id_,
        "experiment_id": variation.experiment_id,
        "is_active": variation.is_active,
        "variables": {
            key: {"type": variable.type, "value": variable.value} for key, variable in variation.variables.items()
        },
    }


def _show_variations(variations: Any) -> dict[str, Any]:
    return {key: _show_variation(variation) for key, variation in variations.items()}


def _show_data_file(data_file: Any) -> dict[str, Any]:
    return {
        "date_modified": data_file.date_modified,
        "feature_flags": {
            key: {
                "default_variation_key": flag.default_variation_key,
                "environment_enabled": flag.environment_enabled,
                "variations": _show_variations(flag.variations),
                "rules": [_show_variations(rule.variations) for rule in flag.rules],
            }
            for key, flag in data_file.feature_flags.items()
        },
    }


def _show_data(item: Any) -> Any:
    if item is None:
        return None
    kind = type(item).__name__
    shown = {"type": kind}
    for field in _HANDED_BACK[kind]:
        value = getattr(item, field)
        shown[field] = value.name if field in _ENUMS else list(value) if field == "values" else value
    return shown


def _show_data_list(items: Any) -> Any:
    return None if items is None else [_show_data(item) for item in items]


def _show_config(config: Any) -> dict[str, Any]:
    return {name: getattr(config, name) for name in _CONFIG_PROPERTIES}


_SHOW: dict[str, Callable[[Any], Any]] = {
    "get_variation": _show_variation,
    "get_variations": _show_variations,
    "get_active_features": _show_variations,
    "get_data_file": _show_data_file,
    "get_remote_visitor_data": _show_data_list,
    "get_visitor_warehouse_audience": _show_data,
}


def _take_jar(arguments: dict[str, Any]) -> SimpleCookie | None:
    """Replace the header in *arguments* by the jar that it fills."""
    if arguments.get("cookies") is None:
        return None
    arguments["cookies"] = SimpleCookie(arguments["cookies"])
    return arguments["cookies"]


def _show_morsel(morsel: Morsel[str]) -> dict[str, Any]:
    attributes = {name: value if value is True else str(value) for name, value in morsel.items() if value != ""}
    return {"value": morsel.value, **attributes}


def _visitor_cookie(header: str) -> dict[str, Any] | None:
    jar = SimpleCookie(header)
    return _show_morsel(jar[VISITOR_COOKIE]) if VISITOR_COOKIE in jar else None


def _hide_generated(result: dict[str, Any], code: str, given: list[str | None]) -> dict[str, Any]:
    """Show *code* as ``<generated>`` when it is well formed and was in nothing that was given."""
    if not re.fullmatch(r"[0-9a-f]{16}", code) or any(code in text for text in given if text):
        return result

    def hide(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: hide(item) for name, item in value.items()}
        return "<generated>" if value == code else value

    return hide(result)


# Judging


def judge(case: Case, results: list[dict[str, Any]]) -> str | None:
    """Say what is wrong with *results*, for a reader; ``None`` when the case passes."""
    content = case.content
    report = []
    for position, (action, expected, actual) in enumerate(
        zip(content["actions"], content["expect"], results, strict=True),
    ):
        found = differences(action["op"], expected, actual)
        if found:
            text = json.dumps(action, ensure_ascii=False)
            report.append(f"action {position} of {len(results)}: {text}")
            report += [f"    {line}" for line in found]
    if not report:
        return None
    return "\n".join([f"{case.id} (data file {content['datafile']}, visitor {content['visitor_code']!r})", *report])


def play_all(stage: Stage, cases: Iterable[Case]) -> Iterator[tuple[Case, str | None]]:
    """Play *cases*, the timed ones together at the end; gives each with what is wrong with it."""
    timed = []
    for case in cases:
        if "timed" in case.tags:
            timed.append(case)
            continue
        try:
            problem = judge(case, stage.play(case))
        except Exception as error:  # a client that cannot even be closed ends its case, not the run
            problem = f"{case.id}: {_full_name(error)}"
        yield case, problem
    for case, results in zip(timed, stage.play_together(timed), strict=True):
        yield case, judge(case, results)


def main(arguments: list[str]) -> int:
    """Play the cases chosen on the command line; gives the exit status."""
    parser = argparse.ArgumentParser(description="Play recorded cases against this checkout's SDK.")
    parser.add_argument("--area", action="append", help="only this area, for example rules; may be repeated")
    parser.add_argument("--case", action="append", help="only this case, for example rules-003-02; may be repeated")
    parser.add_argument("--list", action="store_true", help=f"write what fails into {NOT_YET_PASSING.name}")
    parser.add_argument("--show", type=int, default=3, metavar="N", help="failures shown an area (default: 3)")
    parser.add_argument("--logs", action="store_true", help="let the SDK log")
    options = parser.parse_args(arguments)
    sys.path.insert(0, str(VECTORS.parents[1]))
    if not options.logs:
        logging.disable(logging.CRITICAL)
    cases = [
        case
        for case in load_cases()
        if (not options.area or case.area in options.area) and (not options.case or case.id in options.case)
    ]
    if not cases:
        parser.error("no such area or case")
    played: dict[str, int] = {}
    failed: dict[str, list[str]] = {}
    started = time.monotonic()
    with Backend() as backend:
        for case, problem in play_all(Stage(load_sdk(), backend), cases):
            played[case.area] = played.get(case.area, 0) + 1
            if problem is None:
                continue
            of_area = failed.setdefault(case.area, [])
            of_area.append(case.id)
            if len(of_area) <= options.show:
                print(problem, end="\n\n")
    for area, count in played.items():
        print(f"{area:<24} {count:>5} played {len(failed.get(area, ())):>5} not passing")
    total = sum(map(len, failed.values()))
    print(f"{'all':<24} {len(cases):>5} played {total:>5} not passing, {time.monotonic() - started:.1f} s")
    if options.list:
        _write_list({case.id: case.area for case in cases}, failed)
        return 0
    return 1 if total else 0


def _write_list(played: dict[str, str], failed: dict[str, list[str]]) -> None:
    """Bring the list up to date for the cases *played* (``{case id: area}``), and say what became of it."""
    before = {case_id for entry in load_not_yet_passing().values() for case_id in entry["ids"]}
    now = before - played.keys() | {case_id for ids in failed.values() for case_id in ids}
    by_area: dict[str, list[str]] = {}
    for case in load_cases():
        if case.id in now:
            by_area.setdefault(case.area, []).append(case.id)
    content = {area: {"count": len(ids), "ids": ids} for area, ids in by_area.items()}
    NOT_YET_PASSING.write_text(json.dumps(content, indent=1) + "\n", "utf-8")
    print(f"{NOT_YET_PASSING.name}: {len(now)} cases, {len(now - before)} new, {len(before - now)} gone")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
