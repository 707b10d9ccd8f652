"""
The sub-commands ``impact``, and what they have in common with the others of this room: output, exit codes, errors in one line.

Exit codes: 0 done or nothing to do; 1 stopped on the way, run it again; 2 something that was given cannot be used; 3 changes are left to
be made (``plan``, or ``apply`` that was not confirmed).
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kameleoon.api.data_events import check_visitor_code
from kameleoon.server.project_file import ProjectError, read_project

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Sequence

    from kameleoon.project_sync.impact import FlagImpact

DONE, STOPPED, UNUSABLE, PENDING = 0, 1, 2, 3

_GENERATED = 100_000
_MAX_CODES = 5_000_000


class Unusable(Exception):
    """Something that was given cannot be used; the text says what, in whole lines."""


def run_impact(arguments: argparse.Namespace) -> int:
    """Run ``kameleoon impact``."""
    return guarded("impact", lambda: _impact(arguments))


def guarded(command: str, work: Any) -> int:
    """
    Run *work*, and print what cannot be used on standard error.

    Returns:
        What *work* returns, or `UNUSABLE`.
    """
    try:
        return int(work())
    except (Unusable, ProjectError) as error:
        complain(command, str(error).splitlines())
        return UNUSABLE


def complain(command: str, lines: Iterable[str]) -> None:
    """Print *lines* on standard error, each with the command's name."""
    for line in lines:
        print(f"kameleoon {command}: {line}", file=sys.stderr)  # noqa: T201 - a command line speaks on standard error


def say(text: str) -> None:
    """Print a result."""
    print(text, flush=True)  # noqa: T201 - what the user waits for


def _impact(arguments: argparse.Namespace) -> int:
    from kameleoon.project_sync.impact import generated_codes, impact  # noqa: PLC0415 - compiles the engine

    before, after = read_project(arguments.old), read_project(arguments.new)
    environment = arguments.environment or after.default_environment
    for path, project in ((arguments.old, before), (arguments.new, after)):
        if environment not in project.environments:
            raise Unusable(f"{path} has no environment {environment!r}; it has {', '.join(project.environments)}")
    codes = list(generated_codes(arguments.generate)) if arguments.visitors is None else _read_codes(arguments.visitors)
    try:
        found = impact(before, after, environment, codes, now_ms=int(time.time() * 1000))
    except ValueError as error:
        raise Unusable(str(error)) from error
    if arguments.json:
        say(
            json.dumps(
                {
                    "environment": environment,
                    "visitors": len(codes),
                    "generated": arguments.visitors is None,
                    "flags": [flag.to_json() for flag in found],
                },
                indent=2,
                ensure_ascii=False,
            )
        )
    else:
        for line in _impact_lines(found, environment, len(codes), is_generated=arguments.visitors is None):
            say(line)
    return DONE


def _impact_lines(found: Sequence[FlagImpact], environment: str, visitors: int, *, is_generated: bool) -> Iterable[str]:
    yield f"{visitors:,} {'generated codes' if is_generated else 'visitors'} in {environment}"
    for flag in found:
        if not flag.changed:
            continue
        yield f"{flag.key}: {flag.changed:,} get another variation ({flag.changed / visitors:.2%})"
        for reason, count in flag.reasons.items():
            yield f"    {count:>9,}  {reason}"
        for (old, new), count in flag.moves.items():
            yield f"    {count:>9,}  {old or '(no answer)'} -> {new or '(no answer)'}"
    unchanged = sum(not flag.changed for flag in found)
    yield f"{unchanged} of {len(found)} flags unchanged"


def _read_codes(path: str) -> list[str]:
    codes: dict[str, None] = {}
    try:
        with Path(path).open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, 1):
                code = line.rstrip("\r\n")
                if not code:
                    continue
                try:
                    check_visitor_code(code)
                except ValueError as error:
                    raise Unusable(f"{path}:{number}: {error}") from error
                codes[code] = None
                if len(codes) > _MAX_CODES:
                    raise Unusable(f"{path} has more than {_MAX_CODES:,} visitor codes")
    except (OSError, UnicodeDecodeError) as error:
        raise Unusable(f"{path} cannot be read: {error}") from error
    if not codes:
        raise Unusable(f"{path} has no visitor code")
    return list(codes)
