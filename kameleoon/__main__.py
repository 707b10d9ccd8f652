"""
The command line: ``kameleoon serve PROJECT.yaml``, ``kameleoon export``.

Exit codes: 0 after a clean stop, 2 when something that was given cannot be used; one line on standard error then says what and where.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from kameleoon._version import __version__
from kameleoon.project_sync.arguments import add_commands

if TYPE_CHECKING:
    from collections.abc import Sequence


class _UsageError(Exception):
    """The command line is not understood."""


class _Parser(argparse.ArgumentParser):
    """Leaves it to `main` to print errors, in one line."""

    def error(self, message: str) -> NoReturn:
        raise _UsageError(f"{self.prog}: {message} (see {self.prog} --help)")


def main(argv: Sequence[str] | None = None) -> int:
    """
    Run one command.

    Args:
        argv: Arguments without the program's name; by default those of the process.

    Returns:
        The exit code.

    Raises:
        SystemExit: After ``--help`` and ``--version``, with code 0.
    """
    try:
        arguments = _parser().parse_args(argv)
        return int(arguments.command(arguments))
    except _UsageError as error:
        print(error, file=sys.stderr)  # noqa: T201 - a command line speaks on standard error
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="kameleoon", description="Feature flags and experiments for Python back ends.")
    parser.add_argument("--version", action="version", version=f"kameleoon {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    serve = commands.add_parser(
        "serve", help="run the local server", description="Run the local server for one project or several."
    )
    serve.set_defaults(command=_serve)
    serve.add_argument(
        "projects",
        metavar="PROJECT.yaml",
        nargs="+",
        help="project files, a site each, the first the main one; see docs/local-server.md",
    )
    serve.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default: %(default)s, this machine only)"
    )
    serve.add_argument(
        "--port", type=_port, default=8085, help="port to listen on, 0 for a free one (default: %(default)s)"
    )
    serve.add_argument(
        "--database", metavar="FILE", default=":memory:", help="SQLite file for events (default: in memory)"
    )
    serve.add_argument(
        "--environment", metavar="NAME", help="environment of clients that name none (default: production)"
    )
    serve.add_argument("--token", help="what page and API ask for; needed with a --host that other machines reach")
    serve.add_argument("--rate-limits", action="store_true", help="keep the service's rate limits")
    serve.add_argument("--strict", action="store_true", help="refuse events of unknown sites and of bots with 403")
    serve.add_argument(
        "--fail",
        metavar="WHAT:PART",
        action="append",
        default=[],
        help="fail on purpose: 500:0.2, reset:0.1; may be repeated",
    )
    serve.add_argument("--latency", metavar="MS", type=_milliseconds, default=0.0, help="answer later on purpose")
    export = commands.add_parser(
        "export",
        help="write the project of a local server as its file",
        description="Write the project as it is now, with what the page and the API changed.",
    )
    export.set_defaults(command=_export)
    source = export.add_mutually_exclusive_group()
    source.add_argument("--url", default="http://127.0.0.1:8085", help="a running local server (default: %(default)s)")
    source.add_argument("--database", metavar="FILE", help="the database of a local server, running or not")
    export.add_argument("--site", metavar="CODE", help="site code (default: the main or only one)")
    export.add_argument("--output", metavar="FILE", help="where to write (default: standard output)")
    export.add_argument("--token", help="the server's token, if it has one")
    add_commands(commands)
    return parser


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= 65_535):
        raise argparse.ArgumentTypeError(f"{text!r} is no port, expected 0 to 65535")
    return int(text)


def _milliseconds(text: str) -> float:
    if not (text.isascii() and text.isdigit() and len(text) <= 6):
        raise argparse.ArgumentTypeError(f"{text!r} is no time, expected milliseconds from 0 to 999999")
    return float(text)


def _serve(arguments: argparse.Namespace) -> int:
    # Only now, so that --help and mistakes in the command line need no server.
    from kameleoon.server.faults import parse_faults  # noqa: PLC0415
    from kameleoon.server.project_file import ProjectError, read_project  # noqa: PLC0415
    from kameleoon.server.serve import ServeError, run  # noqa: PLC0415

    def announce(url: str) -> None:
        codes = ", ".join(project.site_code for project in projects)
        print(f"Serving {codes} at {url} (stop with Ctrl+C)", flush=True)  # noqa: T201 - what the user waits for

    def report(line: str) -> None:
        print(f"kameleoon serve: {line}", file=sys.stderr, flush=True)  # noqa: T201 - a command line speaks on standard error

    try:
        try:
            faults = parse_faults(arguments.fail, arguments.latency)
        except ValueError as error:
            raise _UsageError(f"kameleoon serve: --fail: {error}") from error
        projects = [read_project(path) for path in arguments.projects]
        known = list(dict.fromkeys(name for project in projects for name in project.environments))
        if arguments.environment is not None and arguments.environment not in known:
            raise _UsageError(
                f"kameleoon serve: --environment: {', '.join(arguments.projects)} has no {arguments.environment!r}; it has"
                f" {', '.join(known)}"
            )
        by_code: dict[str, str] = {}
        for path, project in zip(arguments.projects, projects, strict=True):
            if other := by_code.get(project.site_code):
                raise _UsageError(f"kameleoon serve: {path}: has the site code {project.site_code!r}, as {other} has")
            by_code[project.site_code] = path
        run(
            projects,
            host=arguments.host,
            port=arguments.port,
            database=arguments.database,
            environment=arguments.environment,
            announce=announce,
            watched=[Path(path) for path in arguments.projects],
            report=report,
            token=arguments.token,
            faults=faults,
            rate_limits=arguments.rate_limits,
            strict=arguments.strict,
        )
    except (ProjectError, ServeError) as error:
        for line in str(error).splitlines():
            print(f"kameleoon serve: {line}", file=sys.stderr)  # noqa: T201 - a command line speaks on standard error
        return 2
    return 0


def _export(arguments: argparse.Namespace) -> int:
    from kameleoon.server.export import ExportError, read_changed  # noqa: PLC0415 - only now, as for serve

    try:
        text = read_changed(url=arguments.url, database=arguments.database, token=arguments.token, site=arguments.site)
        if arguments.output is None:
            sys.stdout.write(text)
        else:
            Path(arguments.output).write_text(text, encoding="utf-8")
    except (ExportError, OSError) as error:
        print(f"kameleoon export: {error}", file=sys.stderr)  # noqa: T201 - a command line speaks on standard error
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
