"""
Play a small shop against the local server: ``make demo``.

Thousands of simulated visitors go through a real Flask application over real HTTP on this machine. Its handlers use the client, the
client sends to the local server, and what the server counted is compared with what the visitors did.

Exit codes: 0 when everything agrees, 1 when something differs, 2 when something that was given cannot be used; one line on
standard error then says what and where. 130 when it was interrupted before its end.
"""

from __future__ import annotations

import argparse
import errno
import os
import signal
import socket
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from report import Measured, check, difference_lines, event_lines, result_lines, unruled_lines, verdict_lines
from shop import NEWSLETTER, PURCHASE, make_app, serving
from tqdm import tqdm
from visitors import BUYERS, Crowd, SeededCodes, Visit

from kameleoon import KameleoonClientConfig, KameleoonClientFactory
from kameleoon.exceptions import ConfigException
from kameleoon.server.project_file import ProjectError, read_project
from kameleoon.server.serve import LOOPBACK, LocalServer, ServeError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from kameleoon import KameleoonClient
    from kameleoon.server.project import Project

PROJECT = Path(__file__).parents[2] / "sample-config" / "demo-project.yaml"
VISITORS = 3000
MOST_VISITORS = 100_000

# What the shop uses of a project: flags with the variables it reads, goals and custom data.
_FLAGS: Mapping[str, tuple[str, ...]] = {
    "checkout_design": ("title", "columns", "layout", "express_enabled"),
    "free_shipping": ("threshold",),
    "new_payment": (),
    "recommendations": (),
}
_GOALS = {PURCHASE: "purchase", NEWSLETTER: "newsletter"}
_CUSTOM_DATA = ("plan", "cart_value")

_FLUSH_S = 30.0


class _UsageError(Exception):
    """Something that was given cannot be used; the text says what and where, a line for each mistake."""


class _Parser(argparse.ArgumentParser):
    """Leaves it to `main` to print errors, in one line."""

    def error(self, message: str) -> NoReturn:
        raise _UsageError(f"{message} (see --help)")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo; returns the exit code."""
    try:
        arguments = _parser().parse_args(argv)
        return _play(arguments)
    except (_UsageError, ProjectError, ServeError, ConfigException) as error:
        for line in str(error).splitlines():
            print(f"demo: {line}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="play.py", description="Play a small shop against the local server.", allow_abbrev=False)
    parser.add_argument(
        "--visitors", metavar="N", type=_visitors, default=VISITORS, help="how many (default: %(default)s)"
    )
    parser.add_argument("--keep", action="store_true", help="keep server and shop up until Ctrl+C")
    parser.add_argument("--port", type=_port, default=0, help="the local server's port (default: a free one)")
    parser.add_argument("--shop-port", type=_port, default=0, help="the shop's port (default: a free one)")
    parser.add_argument(
        "--project", metavar="FILE", type=Path, default=PROJECT, help="the project (default: %(default)s)"
    )
    return parser


def _visitors(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= MOST_VISITORS):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of visitors, expected 1 to {MOST_VISITORS}")
    return int(text)


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) <= 65_535):
        raise argparse.ArgumentTypeError(f"{text!r} is no port, expected 0 to 65535")
    return int(text)


def _play(arguments: argparse.Namespace) -> int:
    project = read_project(arguments.project)
    _refuse_unfit(project, arguments.project)
    # A proxy of the machine is for the world outside; everything here is on loopback.
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = ",".join(filter(None, [os.environ.get("no_proxy"), LOOPBACK]))
    interrupted = threading.Event()
    with ExitStack() as stack:
        for number in (signal.SIGINT, signal.SIGTERM):
            stack.callback(signal.signal, number, signal.signal(number, lambda *_: interrupted.set()))
        server = stack.enter_context(LocalServer(project, port=arguments.port))
        listening = stack.enter_context(_listening(arguments.shop_port))
        client = stack.enter_context(_client(project, server.url))
        shop_url = f"http://{LOOPBACK}:{listening.getsockname()[1]}"
        stack.enter_context(serving(SeededCodes(make_app(client, SeededCodes.next_code)), listening))

        print(
            f"Demo shop: {arguments.visitors:,} visitors, a Flask application and the local server, all on this machine"
        )
        print(f"  local server  {server.url}  with {_short(arguments.project)}")
        print(f"  shop          {shop_url}", flush=True)
        began = time.monotonic()
        crowd = Crowd(shop_url, arguments.visitors, _designs(project))
        visits = _send(crowd, arguments.visitors, interrupted)
        if interrupted.is_set():
            print("demo: interrupted before its end, nothing was compared", file=sys.stderr)
            return 130
        client.flush(timeout=_FLUSH_S)
        if not arguments.keep:
            client.close(_FLUSH_S)
        seconds = time.monotonic() - began
        measured = Measured(server.results(), server.counters(), server.events(), client.stats())
        is_right = _report(measured, visits, seconds)
        if arguments.keep:
            print(f"\nResults: {server.url}    Shop: {shop_url}    Ctrl+C ends both", flush=True)
            interrupted.wait()
    return 0 if is_right else 1


def _listening(port: int) -> socket.socket:
    try:
        return socket.create_server((LOOPBACK, port))
    except OSError as error:
        reason = (
            "the port is in use"
            if error.errno == errno.EADDRINUSE
            else f"cannot listen: {os.strerror(error.errno or 0)}"
        )
        raise _UsageError(
            f"{LOOPBACK}:{port}: {reason}; choose another with --shop-port, or 0 for a free one"
        ) from error


def _client(project: Project, url: str) -> KameleoonClient:
    # The local server gives a token for any id and secret.
    config = KameleoonClientConfig("demo id", "demo secret", environment=project.default_environment, base_url=url)
    client = KameleoonClientFactory.create(project.site_code, config)
    if not client.wait_init(10_000):
        client.close()
        raise _UsageError(f"{url}: the client got no configuration from the local server")
    return client


def _send(crowd: Crowd, count: int, interrupted: threading.Event) -> list[Visit]:
    """Let the visitors in, with a progress bar on a terminal and a few lines elsewhere."""
    visits = []
    tqdm.monitor_interval = 0  # no thread of its own
    is_terminal = sys.stderr.isatty()
    with tqdm(total=count, unit=" visitors", desc="  playing", ncols=98, leave=False, disable=not is_terminal) as bar:
        for visit in crowd.visits():
            visits.append(visit)
            bar.update()
            if not is_terminal and len(visits) * 4 // count > (len(visits) - 1) * 4 // count:
                print(f"  {len(visits):,} of {count:,} visitors are through", file=sys.stderr, flush=True)
            if interrupted.is_set():
                crowd.stop()
    return visits


def _report(measured: Measured, visits: Sequence[Visit], seconds: float) -> bool:
    """Print everything; returns whether all agrees."""
    requests = sum(len(visit.pages) + len(visit.conversions) for visit in visits)
    print(f"  {len(visits):,} visitors made {requests:,} requests in {seconds:.1f} s")
    _section("Orders", result_lines(measured.results, _GOALS[PURCHASE], people="buyers", acts="orders"))
    built_in = ", ".join(f"{design} {percent}%" for design, percent in BUYERS.items())
    _section(
        "",
        (
            *verdict_lines(measured.results, _GOALS[PURCHASE], acts="buyers"),
            *unruled_lines(measured.results, visits),
            f"(How the visitors were made, before other flags: {built_in} buy.)",
        ),
    )
    _section(
        "Newsletter",
        result_lines(measured.results, _GOALS[NEWSLETTER], people="joined", acts="times"),
    )
    _section("Events", event_lines(measured))
    checks = check(measured, visits)
    _section("Checked against what the visitors saw and did", (one.line() for one in checks))
    differences = list(difference_lines(checks))
    if differences:
        sys.stdout.flush()
        for line in differences:
            print(f"demo: {line}", file=sys.stderr)
        return False
    print("\nEverything agrees.", flush=True)
    return True


def _section(title: str, lines: Iterable[str]) -> None:
    print()
    if title:
        print(title.upper())
    for line in lines:
        print(line)


def _short(path: Path) -> str:
    return os.path.relpath(path) if path.resolve().is_relative_to(Path.cwd()) else str(path)


def _refuse_unfit(project: Project, path: Path) -> None:
    """
    Refuse a project that lacks what the shop uses.

    Raises:
        _UsageError: It does; a line for each thing.
    """
    missing = list(_missing(project))
    if missing:
        raise _UsageError("\n".join(f"{path}: the demo shop needs {thing}" for thing in missing))


def _missing(project: Project) -> Iterator[str]:
    flags = {flag.key: flag for flag in project.flags}
    for key, variables in _FLAGS.items():
        if key not in flags:
            yield f"the flag {key!r}"
            continue
        for variation in flags[key].variations:
            for name in variables:
                if name not in variation.variables:
                    yield f"the variable {name!r} in variation {variation.key!r} of the flag {key!r}"
    goals = {goal.id: goal.key for goal in project.goals}
    for number, name in _GOALS.items():
        if goals.get(number) != name:
            yield f"the goal {name!r} with the id {number}"
    names = {datum.name for datum in project.custom_data}
    for name in _CUSTOM_DATA:
        if name not in names:
            yield f"the custom data {name!r}"
    if project.consent.required:
        yield "consent: not_required, as it does not ask its visitors"


def _designs(project: Project) -> dict[str, dict[str, Any]]:
    flag = next(flag for flag in project.flags if flag.key == "checkout_design")
    return {
        variation.key: {name: variable.value for name, variable in variation.variables.items()}
        for variation in flag.variations
    }


if __name__ == "__main__":
    sys.exit(main())
