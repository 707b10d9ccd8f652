"""
OpenFeature's remote evaluation: contexts of any language to our visitor's record, answers of our engine to flags' values. No I/O.

Source:
    docs/local-server.md, "OpenFeature".
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from kameleoon._engine.choice import Refusal
from kameleoon._visitor.facts import Consented, Told
from kameleoon._visitor.record import Visitor, VisitorRecord
from kameleoon.data import (
    ApplicationVersion,
    Browser,
    BrowserType,
    Cookie,
    CustomData,
    Device,
    DeviceType,
    Geolocation,
    OperatingSystem,
    OperatingSystemType,
    PageView,
)
from kameleoon.server.decisions import values_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from kameleoon.server.decisions import Decider
    from kameleoon.server.project import Project

MAX_CODE_CHARACTERS = 255


class ContextError(Exception):
    """
    A context cannot be used.

    Attributes:
        code: OpenFeature's word for it.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Context:
    """
    Who asks.

    Attributes:
        code: The visitor code.
        record: What the context tells of the visitor.
        variable_key: Variable whose value is wanted in place of the flag's state.
    """

    code: str
    record: VisitorRecord
    variable_key: str | None


def read_context(body: object, project: Project, now_ms: int) -> Context:
    """
    A request's context.

    Args:
        body: The decoded JSON.
        project: Its custom data may be given by name.
        now_ms: Now, in ms since 1970.

    Raises:
        ContextError: The body has no context, the targeting key is missing, or a member that we know has a value that we cannot read.
    """
    if not isinstance(body, dict):
        raise ContextError("PARSE_ERROR", "the body must be a JSON object with a context")
    context = body.get("context", {})
    if not isinstance(context, dict):
        raise ContextError("INVALID_CONTEXT", "context must be an object")
    code = context.get("targetingKey")
    if code is None or code == "":
        raise ContextError("TARGETING_KEY_MISSING", "context.targetingKey is missing; it is the visitor code")
    if not isinstance(code, str) or len(code) > MAX_CODE_CHARACTERS or not _is_unicode(code):
        raise ContextError("INVALID_CONTEXT", f"targetingKey must be text of at most {MAX_CODE_CHARACTERS} characters")
    variable_key = context.get("variableKey")
    if variable_key is not None and not isinstance(variable_key, str):
        raise ContextError("INVALID_CONTEXT", "variableKey must be text")
    record = VisitorRecord(now_ms)
    visitor = Visitor(record, 0.0)
    for value in _data(context, project):
        Told(value, now_ms, sent=True).apply(visitor)
    consent = context.get("consent")
    if consent is not None:
        if not isinstance(consent, bool):
            raise ContextError("INVALID_CONTEXT", "consent must be true or false")
        Consented(consent).apply(visitor)
    return Context(code, record, variable_key)


def _data(context: Mapping[str, Any], project: Project) -> Iterator[object]:
    for datum in project.custom_data:
        if (given := context.get(datum.name)) is not None:
            values = [_text(datum.name, value) for value in (given if isinstance(given, list) else [given])]
            yield _built(datum.name, partial(CustomData, datum.index, *values))
    if (device := _word(context, "device")) is not None:
        yield _built("device", lambda: Device(DeviceType[device]))
    if (browser := _word(context, "browser")) is not None:
        version = context.get("browserVersion")
        yield _built("browser", lambda: Browser(BrowserType[browser], None if version is None else float(version)))
    if (system := _word(context, "os")) is not None:
        yield _built("os", lambda: OperatingSystem(OperatingSystemType[system]))
    places = [context.get(name) for name in ("country", "region", "city")]
    if places[0] is not None:
        yield _built("country", lambda: Geolocation(*places))
    if (version := context.get("appVersion")) is not None:
        yield _built("appVersion", lambda: ApplicationVersion(_text("appVersion", version)))
    if (cookies := context.get("cookies")) is not None:
        yield _built("cookies", lambda: Cookie({name: _text("cookies", value) for name, value in cookies.items()}))
    if (url := context.get("pageUrl")) is not None:
        yield _built("pageUrl", lambda: PageView(_text("pageUrl", url), context.get("pageTitle")))


def _word(context: Mapping[str, Any], name: str) -> str | None:
    value = context.get(name)
    if value is not None and not isinstance(value, str):
        raise ContextError("INVALID_CONTEXT", f"{name} must be text")
    return value.upper() if value is not None else None


def _text(name: str, value: object) -> str:
    """A value as custom data has it: what SDKs would have been told as text."""
    match value:
        case bool():
            return "true" if value else "false"
        case str() | int() | float() if _is_unicode(str(value)):
            return str(value)
    raise ContextError("INVALID_CONTEXT", f"{name} must be text, a number, or true or false")


def _is_unicode(text: str) -> bool:
    """Whether *text* can be sent; JSON may hold halves of characters."""
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


def _built(name: str, build: Callable[[], object]) -> object:
    try:
        return build()
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise ContextError("INVALID_CONTEXT", f"{name} is not understood") from error


def evaluate(decider: Decider, environment: str, key: str, context: Context, now_ms: int) -> dict[str, Any] | None:
    """
    One flag's answer.

    Args:
        decider: The engine over the project.
        environment: Whose rules count.
        key: A flag's key, or ``<flag>.<variable>``; a flag whose key has that form comes first.
        context: Who asks.
        now_ms: Now, in ms since 1970.

    Returns:
        ``key, value, reason, variant, metadata``; None when there is no such flag or variable.
    """
    flags = {flag.key for flag in decider.published.project.flags}
    flag_key, variable_key = key, context.variable_key
    if key not in flags:
        flag_key, _, variable_key = key.rpartition(".")
        if flag_key not in flags:
            return None
    choice = decider.decide(environment, flag_key, context.record, context.code, now_ms)
    value: Any = choice.is_active
    if variable_key is not None:
        values = values_of(choice)
        if variable_key not in values:
            return None
        value = values[variable_key]
    metadata = {"flag": flag_key, "experimentId": choice.experiment_id, "variationId": choice.variation_id}
    if choice.refusal is Refusal.CONSENT:
        metadata["refused"] = "consent"
    return {
        "key": key,
        "value": value,
        "reason": str(choice.reason),
        "variant": choice.variation_key,
        "metadata": {name: given for name, given in metadata.items() if given is not None},
    }


def evaluate_all(decider: Decider, environment: str, context: Context, now_ms: int) -> list[dict[str, Any]]:
    """Every flag's answer, and after each those of its variables; with a variable key, of the flags that have it."""
    answers: list[dict[str, Any] | None] = []
    for flag in decider.published.project.flags:
        answers.append(evaluate(decider, environment, flag.key, context, now_ms))
        if context.variable_key is None:
            keys = dict.fromkeys(key for variation in flag.variations for key in variation.variables)
            answers += [evaluate(decider, environment, f"{flag.key}.{key}", context, now_ms) for key in keys]
    return [answer for answer in answers if answer is not None]


def etag(answers: object) -> str:
    """Changes whenever an answer does."""
    text = json.dumps(answers, sort_keys=True, separators=(",", ":"))
    return f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'
