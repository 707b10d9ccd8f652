"""The command line of flags as code. Light: what a command needs is imported when it runs."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_MAX_CODES = 5_000_000
_URL = "https://api.kameleoon.com"
_ACCESS = "Access: KAMELEOON_CLIENT_ID and KAMELEOON_CLIENT_SECRET in the environment."


def add_commands(commands: Any) -> None:
    """
    Add the sub-commands of this room.

    Args:
        commands: What ``ArgumentParser.add_subparsers`` gave. Each command sets ``command``, a function of the parsed arguments that gives
            the exit code.
    """
    impact = commands.add_parser(
        "impact",
        help="say what a change of the project does to visitors",
        description="Decide visitors by two versions of a project and say who gets another variation, and why.",
    )
    impact.set_defaults(command=_later("run_impact"))
    impact.add_argument("old", metavar="OLD.yaml", help="the project as it is")
    impact.add_argument("new", metavar="NEW.yaml", help="the project as it would be")
    source = impact.add_mutually_exclusive_group()
    source.add_argument("--visitors", metavar="FILE", help="visitor codes, one a line (default: generated ones)")
    source.add_argument(
        "--generate", type=_count, default=100_000, metavar="COUNT", help="generated codes (default: %(default)s)"
    )
    impact.add_argument("--environment", metavar="NAME", help="environment (default: the project's default)")
    impact.add_argument("--json", action="store_true", help="write JSON")
    plan = commands.add_parser(
        "plan",
        help="show what would change on the service",
        description="Compare a project file with the service. " + _ACCESS,
    )
    plan.set_defaults(command=_later("run_plan"))
    apply = commands.add_parser(
        "apply",
        help="make the service hold what the project file says",
        description="Compare a project file with the service, ask, and make the changes. " + _ACCESS,
    )
    apply.set_defaults(command=_later("run_apply"))
    apply.add_argument("--yes", action="store_true", help="do not ask")
    for command in (plan, apply):
        command.add_argument("project", metavar="PROJECT.yaml", help="the project file")
        command.add_argument(
            "--delete",
            action="store_true",
            help="archive flags and delete what the file does not have; never without it",
        )
    pull = commands.add_parser(
        "pull",
        help="write the project file from what the service holds",
        description="Write a project file. " + _ACCESS,
    )
    pull.set_defaults(command=_later("run_pull"))
    pull.add_argument("site_code", metavar="SITE_CODE", help="the site")
    pull.add_argument("--output", metavar="FILE", help="where to write (default: standard output)")
    pull.add_argument("--force", action="store_true", help="overwrite the file")
    for command in (plan, apply, pull):
        command.add_argument("--url", default=_URL, help="another service, such as a local server")
        command.add_argument("--json", action="store_true", help="write JSON")


def _later(name: str) -> Callable[[argparse.Namespace], int]:
    def run(arguments: argparse.Namespace) -> int:
        from kameleoon.project_sync import commands  # noqa: PLC0415 - --help needs none of it

        return int(getattr(commands, name)(arguments))

    return run


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 9 and 1 <= int(text) <= _MAX_CODES):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to {_MAX_CODES:,}")
    return int(text)
