"""The command line of flags as code. Light: what a command needs is imported when it runs."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_MAX_CODES = 5_000_000


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


def _later(name: str) -> Callable[[argparse.Namespace], int]:
    def run(arguments: argparse.Namespace) -> int:
        from kameleoon.project_sync import commands  # noqa: PLC0415 - --help needs none of it

        return int(getattr(commands, name)(arguments))

    return run


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 9 and 1 <= int(text) <= _MAX_CODES):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to {_MAX_CODES:,}")
    return int(text)
