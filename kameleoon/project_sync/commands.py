"""
The sub-commands ``plan``, ``apply``, ``pull`` and ``impact``: output, exit codes, errors in one line.

Exit codes: 0 done or nothing to do; 1 stopped on the way, run it again; 2 something that was given cannot be used; 3 changes are left to
be made (``plan``, or ``apply`` that was not confirmed).
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kameleoon.api.automation import AutomationApi, Credentials
from kameleoon.api.data_events import check_visitor_code
from kameleoon.api.errors import ApiError, CredentialsRefused
from kameleoon.project_sync.calls import Blocked
from kameleoon.project_sync.plan import apply_plan, make_plan
from kameleoon.project_sync.pull import make_project
from kameleoon.project_sync.remote import NoSuchSite, read_remote
from kameleoon.server.project_file import ProjectError, read_project
from kameleoon.server.project_out import write_project

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Sequence

    from kameleoon.project_sync.impact import FlagImpact
    from kameleoon.project_sync.plan import Action, Plan

DONE, STOPPED, UNUSABLE, PENDING = 0, 1, 2, 3

_GENERATED = 100_000
_MAX_CODES = 5_000_000


class Unusable(Exception):
    """Something that was given cannot be used; the text says what, in whole lines."""


def run_impact(arguments: argparse.Namespace) -> int:
    """Run ``kameleoon impact``."""
    return guarded("impact", lambda: _impact(arguments))


def run_plan(arguments: argparse.Namespace) -> int:
    """Run ``kameleoon plan``."""
    return guarded("plan", lambda: _plan(arguments, is_applied=False))


def run_apply(arguments: argparse.Namespace) -> int:
    """Run ``kameleoon apply``."""
    return guarded("apply", lambda: _plan(arguments, is_applied=True))


def run_pull(arguments: argparse.Namespace) -> int:
    """Run ``kameleoon pull``."""
    return guarded("pull", lambda: _pull(arguments))


def guarded(command: str, work: Callable[[], int]) -> int:
    """
    Run *work*, and print what cannot be used on standard error.

    Returns:
        What *work* returns, or `UNUSABLE`.
    """
    try:
        return work()
    except (Unusable, ProjectError, NoSuchSite, CredentialsRefused) as error:
        complain(command, str(error).splitlines())
        return UNUSABLE
    except ApiError as error:
        complain(command, [*str(error).splitlines(), "nothing was changed"])
        return STOPPED


def complain(command: str, lines: Iterable[str]) -> None:
    """Print *lines* on standard error, each with the command's name."""
    for line in lines:
        print(f"kameleoon {command}: {line}", file=sys.stderr)  # noqa: T201 - a command line speaks on standard error


def say(text: str) -> None:
    """Print a result."""
    print(text, flush=True)  # noqa: T201 - what the user waits for


def _service(arguments: argparse.Namespace) -> AutomationApi:
    names = ("KAMELEOON_CLIENT_ID", "KAMELEOON_CLIENT_SECRET")
    if missing := [name for name in names if not os.environ.get(name)]:
        raise Unusable(f"{' and '.join(missing)} missing in the environment")
    try:
        return AutomationApi(Credentials(*(os.environ[name] for name in names)), base_url=arguments.url)
    except ValueError as error:
        raise Unusable(f"--url: {error}") from error


def _plan(arguments: argparse.Namespace, *, is_applied: bool) -> int:
    project = read_project(arguments.project)
    with _service(arguments) as api:
        plan = make_plan(project, read_remote(api, project.site_code), delete=arguments.delete)
        if plan.conflicts:
            raise Unusable("\n".join(plan.conflicts))
        if not arguments.json:
            for line in _plan_lines(plan, project.site_code, arguments.url):
                say(line)
        done: list[Action] = []
        code = (PENDING if plan.actions else DONE) if not is_applied else _apply(arguments, plan, api, done)
    if arguments.json:
        say(json.dumps(_plan_json(plan, project.site_code, done), indent=2, ensure_ascii=False))
    return code


def _apply(arguments: argparse.Namespace, plan: Plan, api: AutomationApi, done: list[Action]) -> int:
    if not plan.actions:
        return DONE
    if not arguments.yes and not _is_confirmed(len(plan.actions), is_silent=arguments.json):
        complain("apply", ["not confirmed, nothing was changed"])
        return PENDING

    def told(action: Action) -> None:
        done.append(action)
        if not arguments.json:
            say(f"done {len(done)} of {len(plan.actions)}: {action.verb} {action.what}")

    try:
        apply_plan(plan, api, told)
    except (ApiError, Blocked, KeyboardInterrupt) as error:
        why = "interrupted" if isinstance(error, KeyboardInterrupt) else str(error)
        under_way = plan.actions[len(done)]
        complain(
            "apply",
            [
                f"{under_way.verb} {under_way.what}: {why}",
                f"{len(done)} of {len(plan.actions)} changes are done; run it again to make the rest",
            ],
        )
        return STOPPED
    return DONE


def _is_confirmed(changes: int, *, is_silent: bool) -> bool:
    if is_silent or not sys.stdin.isatty():
        raise Unusable("there is nobody to ask; pass --yes to make the changes")
    try:
        answer = input(f"Make {'this change' if changes == 1 else f'these {changes} changes'}? [y/N] ")
    except (EOFError, KeyboardInterrupt):
        return False
    return answer.strip().lower() in {"y", "yes"}


_SIGNS = {"create": "+", "update": "~", "delete": "-"}


def _plan_lines(plan: Plan, site_code: str, url: str) -> Iterable[str]:
    yield f"{site_code} at {url}"
    for action in plan.actions:
        yield f"  {_SIGNS[action.verb]} {action.what}"
        yield from (f"      {detail}" for detail in action.details)
    yield from (f"  left alone, not in the file: {what}" for what in plan.left_alone)
    yield from (f"  note: {note}" for note in plan.notes)
    counts = Counter(action.verb for action in plan.actions)
    said = ", ".join(f"{counts[verb]} to {verb}" for verb in _SIGNS if counts[verb])
    yield said or "nothing to do"


def _plan_json(plan: Plan, site_code: str, done: Sequence[Action]) -> dict[str, Any]:
    return {
        "site": site_code,
        "changes": [
            {"action": action.verb, "what": action.what, "details": list(action.details), "done": action in done}
            for action in plan.actions
        ],
        "leftAlone": plan.left_alone,
        "notes": plan.notes,
    }


def _pull(arguments: argparse.Namespace) -> int:
    if arguments.output is not None and Path(arguments.output).exists() and not arguments.force:
        raise Unusable(f"{arguments.output} is there already; pass --force to overwrite it")
    with _service(arguments) as api:
        try:
            pulled = make_project(read_remote(api, arguments.site_code))
        except ValueError as error:
            raise Unusable(f"what the service holds has no form as a project: {error}") from error
    text = write_project(pulled.project)
    complain("pull", [f"left out: {what}" for what in pulled.left_out])
    if arguments.output is not None:
        try:
            _write_whole(Path(arguments.output), text)
        except OSError as error:
            raise Unusable(f"{arguments.output} cannot be written: {error.strerror or error}") from error
    if arguments.json:
        about: dict[str, Any] = {"site": arguments.site_code, "leftOut": pulled.left_out}
        about |= {"project": text} if arguments.output is None else {"output": arguments.output}
        say(json.dumps(about, indent=2, ensure_ascii=False))
    elif arguments.output is None:
        sys.stdout.write(text)
    return DONE


def _write_whole(path: Path, text: str) -> None:
    """Write so that the file is the old or the new one at every moment."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


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
