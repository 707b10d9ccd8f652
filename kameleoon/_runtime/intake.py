"""
What applications tell of a visitor, made into facts: names resolved, local data marked, mappings found.

Source:
    Recorded cases in ``tests/vectors/visitor_data.json``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kameleoon._visitor.facts import Fact, Identified, MappedFrom, Told, can_be_told
from kameleoon.data import Conversion, CustomData, PageView, UniqueIdentifier
from kameleoon.exceptions import VisitorCodeInvalid
from kameleoon.logging.kameleoon_logger import KameleoonLogger

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kameleoon._datafile.model import Catalogue
    from kameleoon.stores import VisitorStore

MAX_CODE_LENGTH = 255
"""Longest visitor code, in characters."""

_UNKNOWN_INDEX = -1


def check_code(code: str) -> None:
    """
    Refuse a visitor code the service cannot take.

    Raises:
        VisitorCodeInvalid: *code* is empty, no text, or longer than 255 characters.
    """
    if not code:
        raise VisitorCodeInvalid("empty visitor code")
    if not isinstance(code, str):
        raise VisitorCodeInvalid(f"expected a str, not {type(code).__name__}")
    if len(code) > MAX_CODE_LENGTH:
        raise VisitorCodeInvalid(f"is longer than {MAX_CODE_LENGTH} chars")


def take_in(
    store: VisitorStore, catalogue: Catalogue, code: str, data: Iterable[object], now_ms: int, *, track: bool = True
) -> None:
    """
    Add *data* to a visitor.

    Args:
        store: Where the visitor is.
        catalogue: The custom data the configuration knows.
        code: The visitor code, checked.
        data: Data objects; ``None`` is skipped, and anything unknown is skipped with a warning.
        now_ms: Now, in milliseconds since 1970.
        track: ``False`` keeps the data for targeting only; it counts as sent.

    Raises:
        VisitorCodeInvalid: The code holds half of a surrogate pair, so that nothing of the visitor could ever be sent.
    """
    if not code.isascii():
        try:
            code.encode()
        except UnicodeEncodeError as error:
            raise VisitorCodeInvalid(f"cannot be encoded as UTF-8: {error.reason}") from None
    facts: list[Fact] = []
    for item in data:
        if item is None:
            continue
        if isinstance(item, UniqueIdentifier):
            facts.append(Identified(item.value))
        elif not can_be_told(item):
            KameleoonLogger.warning("Data of the type %s is not supported and was left out", type(item).__name__)
        elif isinstance(item, CustomData):
            facts += _custom_data(store, catalogue, code, item, now_ms, track=track)
        elif isinstance(item, PageView) and not item.url:
            KameleoonLogger.error("A page view without a URL was left out")
        elif isinstance(item, Conversion):
            facts.append(Told(_resolved_conversion(item, catalogue), now_ms, sent=not track))
        else:
            facts.append(Told(item, now_ms, sent=not track))
    store.write(code, facts, now_ms)


def map_to_itself(store: VisitorStore, mapping_index: int, code: str, now_ms: int) -> None:
    """Tell the service that *code* stands for itself, as it must know of identifiers that were never mapped."""
    store.write(code, [MappedFrom(code), Told(CustomData(mapping_index, code), now_ms, maps=True)], now_ms)


def _resolve(datum: CustomData, catalogue: Catalogue) -> CustomData | None:
    """The custom data with its index, ``None`` when the configuration does not know its name."""
    if datum.index != _UNKNOWN_INDEX:
        return datum
    index = catalogue.index_by_name.get(datum.name) if datum.name is not None else None
    return None if index is None else datum.at(index)


def _custom_data(
    store: VisitorStore, catalogue: Catalogue, code: str, datum: CustomData, now_ms: int, *, track: bool
) -> list[Fact]:
    resolved = _resolve(datum, catalogue)
    if resolved is None:
        KameleoonLogger.error("Custom data %s is not known to the configuration and was left out", datum.name)
        return []
    entry = catalogue.by_index.get(resolved.index)
    sent = not track or (entry is not None and entry.local_only)
    user = resolved.values[0] if resolved.values else None
    if resolved.index != catalogue.mapping_index or not user:
        return [Told(resolved, now_ms, sent=sent)]
    if user != code:
        store.link(code, str(user), now_ms)
    return [MappedFrom(code), Told(resolved, now_ms, sent=sent, maps=True)]


def _resolved_conversion(conversion: Conversion, catalogue: Catalogue) -> Conversion:
    if not conversion.metadata:
        return conversion
    resolved = [(datum, _resolve(datum, catalogue)) for datum in conversion.metadata]
    for datum, known in resolved:
        if known is None:
            KameleoonLogger.warning("Conversion metadata %s is not known and was left out", datum.name)
    metadata = [known for _, known in resolved if known is not None]
    return Conversion(conversion.goal_id, conversion.revenue, conversion.negative, metadata)
