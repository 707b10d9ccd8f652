"""
Whose configuration a client works with, and what follows from that: how it is compiled, what is told to whom of visitors, and whether our own
service takes part.

The only place that knows that there is more than one such service.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from kameleoon._engine.ruleset import compile_in_steps, compile_ruleset
from kameleoon._runtime.happenings import make_events
from kameleoon._sources.convert import NAME as CONVERT
from kameleoon._sources.convert import ConvertSource
from kameleoon._sources.kept import KeptSource
from kameleoon._sources.make import make_source
from kameleoon._sources.service import ServiceSource
from kameleoon._tracking.outbox import MAX_BYTES, MAX_LINES
from kameleoon._transport.message import FetchFailed
from kameleoon.destinations import Feed
from kameleoon.logging.kameleoon_logger import KameleoonLogger

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kameleoon._datafile.decode import Steps
    from kameleoon._datafile.model import Problem
    from kameleoon._engine.seam import AnyRuleset
    from kameleoon._sources.protocol import Source
    from kameleoon._transport.configuration import Fetched
    from kameleoon._transport.endpoints import Endpoints
    from kameleoon._visitor.record import VisitorRecord
    from kameleoon._visitor.unsent import Unsent
    from kameleoon.config import Settings
    from kameleoon.destinations.events import Event

_TOLD_PROBLEMS = 100
"""So many pieces of one configuration are told in the log, as far as they are found when it is compiled."""


class Compile(Protocol):
    """Compiles what a source found."""

    def __call__(self, fetched: Fetched) -> Steps[AnyRuleset]:
        """
        Compile *fetched*, in steps.

        Raises:
            FetchFailed: It is no configuration; the reason is for people.
        """


class MakeEvents(Protocol):
    """Makes events for destinations."""

    def __call__(self, ruleset: Any, code: str, record: VisitorRecord | None, unsent: Unsent) -> Iterator[Event]:
        """
        What was taken from a visitor, as events.

        Args:
            ruleset: In force.
            code: The visitor.
            record: All that is known of him, ``None`` when the store has forgotten him meanwhile.
            unsent: What was taken.
        """


@dataclass(frozen=True, slots=True)
class Backend:
    """
    What a client has by its settings.

    Attributes:
        source: Where configurations come from.
        compile: Makes rulesets of them.
        nothing: What is in force before the first one.
        is_served: Whether our own service is told of visitors, and asked about them.
        makes_requests: Whether anything at all goes over the network.
        make_events: Makes events for destinations.
        feeds: Destinations that the backend brings along.
        needs_project: Whether nothing can be told of visitors before the first configuration.
    """

    source: Source
    compile: Compile
    nothing: AnyRuleset
    is_served: bool
    makes_requests: bool
    make_events: MakeEvents = make_events
    feeds: tuple[Feed, ...] = ()
    needs_project: bool = False


def make_backend(settings: Settings, endpoints: Endpoints) -> Backend:
    """
    Choose by the settings.

    Raises:
        ConfigException: The setting ``source`` cannot be used.
    """
    service = ServiceSource(endpoints, settings.refresh_interval_s, settings.timeout_s)
    source = make_source(settings.source, service=service)
    if isinstance(source, ConvertSource):
        if source.environment is None and settings.environment is not None:
            source = replace(source, environment=settings.environment)
        compiler = _Compiler(settings, source)
        nothing = compiler.convert({"account_id": "0", "project": {"id": "0"}})
        from kameleoon.destinations.convert import ConvertTracking, convert_events  # noqa: PLC0415 - as `_Compiler.convert`

        return Backend(
            _kept(source, settings),
            compiler,
            nothing,
            is_served=False,
            makes_requests=True,
            make_events=convert_events,
            feeds=(Feed(ConvertTracking(source), most_events=MAX_LINES, most_bytes=MAX_BYTES),),
            needs_project=True,
        )
    is_served = settings.source is None or bool(settings.client_id)
    is_local = isinstance(settings.source, (str, Path, Mapping))
    return Backend(
        _kept(source, settings),
        _Compiler(settings, None),
        compile_ruleset({}),
        is_served,
        makes_requests=is_served or not is_local,
    )


class _Compiler:
    """By the name of the source: a source of the application's own may bring either kind of configuration."""

    def __init__(self, settings: Settings, convert: ConvertSource | None) -> None:
        self._settings = settings
        self._environment = settings.environment if convert is None else convert.environment
        self._providers = {} if convert is None else convert.providers
        self._bucketing = None if convert is None else convert.bucketing

    def __call__(self, fetched: Fetched) -> Steps[AnyRuleset]:
        if fetched.source_name == CONVERT:
            return self.convert(fetched.root)
        return (yield from compile_in_steps(fetched.root, _report, self._settings.regex_timeout_s))

    def convert(self, root: Mapping[str, object]) -> AnyRuleset:
        from kameleoon._convert.flags import ConvertFlags  # noqa: PLC0415 - costs those nothing who have no such project
        from kameleoon._convert.read import ProjectRefused  # noqa: PLC0415
        from kameleoon._convert.ruleset import compile_project  # noqa: PLC0415

        try:
            project = compile_project(
                root, environment=self._environment, providers=self._providers, bucketing=self._bucketing
            )
        except ProjectRefused as error:
            raise FetchFailed(f"Convert's configuration: {error}") from None
        for problem in project.problems[:_TOLD_PROBLEMS]:
            _report(problem)
        if len(project.problems) > _TOLD_PROBLEMS:
            KameleoonLogger.warning("%d more pieces are out of service", len(project.problems) - _TOLD_PROBLEMS)
        return ConvertFlags(project)


def _kept(source: Source, settings: Settings) -> Source:
    """The source, its answers kept on disk if that is wanted and it says what tells its configuration from others."""
    identity = getattr(source, "identity", None)
    if settings.data_dir is None or not isinstance(identity, str):
        return source
    return KeptSource(source, settings.data_dir, identity, settings.timeout_s)


def _report(problem: Problem) -> None:
    KameleoonLogger.warning("Out of service in the configuration: %s", str(problem))
