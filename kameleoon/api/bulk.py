"""
Many items at once: maps, conversions, visitors to forget.

Items go out in batches as large as the service takes, one batch after the other. An item that cannot be sent is named in the report and the
rest goes on. With ``resume=FILE`` an interrupted job goes on after the last batch that was taken; the batch under way at that moment
is sent again, which changes nothing: maps are replaced, conversions keep their nonces, what is forgotten stays so.

Source:
    docs/data-api.md, "Bulk jobs".
"""

from __future__ import annotations

import csv
import hashlib
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeAlias

from kameleoon.api.data_events import check_visitor_code, conversion
from kameleoon.api.data_posts import EVENT_BYTES, MEMBER_BYTES, Posts, check_ttl, map_member
from kameleoon.api.errors import ApiError, TooLarge
from kameleoon.api.journal import Journal, ResumeMismatch
from kameleoon.api.twins import call
from kameleoon.exceptions import KameleoonError

if TYPE_CHECKING:
    from kameleoon._transport.flow import Flow

__all__ = ["BulkReport", "BulkStopped", "Conversion", "Refusal", "ResumeMismatch"]

Progress: TypeAlias = "bool | Callable[[int], None]"

_COLUMNS = ("visitor_code", "goal_id", "revenue", "negative", "metadata", "nonce")
_TRUTHS = {"": False, "false": False, "0": False, "no": False, "true": True, "1": True, "yes": True}
_MAX_FORGOTTEN_CODE = 100

MAX_LISTED = 10_000
"""Refused items that a report names; beyond that it counts them."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """
    An item that was not taken.

    Attributes:
        place: The line of a CSV file on which the row ends, else the position of the item, from 1.
        what: The item's key, visitor code or row, shortened.
        reason: Why, for people.
    """

    place: int
    what: str
    reason: str


@dataclass(frozen=True, slots=True)
class BulkReport:
    """
    What became of a bulk job.

    Attributes:
        read: Items read, those of earlier runs included.
        sent: Items that the service took, those of earlier runs included. It checks the content of events later and says nothing.
        resumed: Items that earlier runs had settled.
        refused: Items that were not taken, in their order; at most `MAX_LISTED` of them.
        refused_count: How many they are in all.
        requests: Requests of this run.
    """

    read: int = 0
    sent: int = 0
    resumed: int = 0
    refused: tuple[Refusal, ...] = ()
    refused_count: int = 0
    requests: int = 0

    def __str__(self) -> str:
        earlier = f" ({self.resumed} settled by earlier runs)" if self.resumed else ""
        lines = [f"{self.read} read{earlier}, {self.sent} sent, {self.refused_count} refused"]
        lines += [f"  {refusal.place}: {refusal.what}: {refusal.reason}" for refusal in self.refused]
        return "\n".join(lines)


class BulkStopped(KameleoonError):
    """
    A bulk job ended before its end; ``__cause__`` is the `ApiError`.

    Attributes:
        report: What was settled until then.
    """

    def __init__(self, text: str, report: BulkReport) -> None:
        super().__init__(text)
        self.args = (text, report)
        self.report = report


@dataclass(frozen=True, slots=True)
class Conversion:
    """
    One conversion to import. The service counts it at the moment it arrives; there is no way to give an earlier time.

    Attributes:
        visitor_code: 1 to 255 characters.
        goal_id: The goal, above 0.
        revenue: Finite.
        negative: The conversion is taken back.
        metadata: ``{custom data index: values}``.
        nonce: 16 hex characters; by default made from the resume file and the position, so that it is the same when the job goes on.
    """

    visitor_code: str
    goal_id: int
    revenue: float = 0.0
    negative: bool = False
    metadata: Mapping[int, Sequence[str]] | None = None
    nonce: str | None = None


@dataclass(frozen=True, slots=True)
class _Row:
    """One item of an input: its place for people and what it is, or why it cannot be read."""

    place: int
    value: Any
    problem: str | None = None


@dataclass(slots=True)
class _Tally:
    read: int = 0
    resumed: int = 0
    requests: int = 0
    refused: list[Refusal] = field(default_factory=list)
    refused_count: int = 0

    def refuse(self, row: _Row, reason: str) -> None:
        """Note an item that cannot be sent."""
        self.refused_count += 1
        if len(self.refused) < MAX_LISTED:
            self.refused.append(Refusal(row.place, _shown(row.value), reason))


class BulkCalls(Posts):
    """The bulk jobs."""

    @call
    def import_maps(
        self,
        maps: Iterable[tuple[str, Mapping[str, Any]]] | Mapping[str, Mapping[str, Any]],
        *,
        ttl_hours: int | None = None,
        progress: Progress = False,
        resume: Path | str | None = None,
    ) -> Flow[BulkReport]:
        """
        Store many maps.

        Args:
            maps: ``(key, {field: value})`` pairs, or a mapping. Read once, lazily; an empty map deletes.
            ttl_hours: Life of the maps in hours, 1 to 8784; by default the service's 2208.
            progress: ``True`` for a progress bar on standard error, if ``tqdm`` is installed; or a function that is told the number of
                items settled so far.
            resume: File that keeps how far the job has come. Given a file of an interrupted job, it goes on; of a finished job, it does
                nothing.

        Returns:
            What was sent, and what was refused and why.

        Raises:
            ValueError: *ttl_hours* is out of its range.
            ResumeMismatch: The file is of another job, or the input is another one.
            BulkStopped: The service cannot be reached or refuses everything; what was settled is kept.
        """
        check_ttl(ttl_hours)
        pairs: Iterable[Any] = maps.items() if isinstance(maps, Mapping) else maps
        job = f"maps of {self._site_code}" + (f" for {ttl_hours} h" if ttl_hours else "")

        def prepare(row: _Row, _position: int, _seed: str) -> bytes:
            try:
                key, value = row.value
            except (TypeError, ValueError):
                raise ValueError("not a pair of key and map") from None
            return map_member(key, value)

        return (
            yield from self._bulk(
                job,
                _numbered(pairs),
                prepare,
                lambda body: self._put_map_body(body, ttl_hours),
                (MEMBER_BYTES, b","),
                Journal.open(resume, job),
                _Bar(progress, maps),
            )
        )

    @call
    def import_conversions(
        self,
        source: Path | str | Iterable[Conversion],
        *,
        delimiter: str = ",",
        progress: Progress = False,
        resume: Path | str | None = None,
    ) -> Flow[BulkReport]:
        """
        Store many conversions.

        Args:
            source: Conversions, or the path of a CSV file (UTF-8) with the columns ``visitor_code`` and ``goal_id`` and, if wanted,
                ``revenue``, ``negative`` (true or false), ``metadata`` (a JSON object ``{custom data index: values}``), ``nonce``.
            delimiter: Of the CSV file.
            progress: As for `import_maps`.
            resume: As for `import_maps`.

        Returns:
            What was sent, and what was refused and why; bad rows stop nothing.

        Raises:
            OSError: The CSV file cannot be read.
            ValueError: The CSV file's header has no such columns, or others.
            ResumeMismatch: As for `import_maps`.
            BulkStopped: As for `import_maps`.
        """
        job = f"conversions of {self._site_code}"

        def prepare(row: _Row, position: int, seed: str) -> bytes:
            given = row.value
            if not isinstance(given, Conversion):
                raise ValueError(f"not a Conversion but {type(given).__name__}")  # noqa: TRY004 - a refusal of one item
            return _conversion_line(given, _nonce(seed, position))

        if isinstance(source, str | Path):
            with Path(source).open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
                rows = _csv_rows(file, str(source), delimiter)
                journal = Journal.open(resume, job)
                return (yield from self._import_events(job, rows, prepare, journal, _Bar(progress, None)))
        journal = Journal.open(resume, job)
        return (yield from self._import_events(job, _numbered(source), prepare, journal, _Bar(progress, source)))

    @call
    def forget(
        self, codes: Iterable[str], *, progress: Progress = False, resume: Path | str | None = None
    ) -> Flow[BulkReport]:
        """
        Erase visitors from the service. It answers before it does so; what exactly it erases, and when, is not documented.

        Args:
            codes: Visitor codes of 1 to 100 characters without line breaks.
            progress: As for `import_maps`.
            resume: As for `import_maps`.

        Raises:
            TypeError: *codes* is a single text.
            ResumeMismatch: As for `import_maps`.
            BulkStopped: As for `import_maps`.
        """
        if isinstance(codes, str):
            raise TypeError("codes must be a collection of visitor codes, not one text")
        job = f"visitors of {self._site_code} to forget"

        def prepare(row: _Row, _position: int, _seed: str) -> bytes:
            code = row.value
            check_visitor_code(code if isinstance(code, str) else "")
            if len(code) > _MAX_FORGOTTEN_CODE or len(code.splitlines()) != 1 or code != code.strip():
                raise ValueError(f"a code is 1 to {_MAX_FORGOTTEN_CODE} characters without line breaks or outer spaces")
            return _utf8(code)

        return (
            yield from self._bulk(
                job,
                _numbered(codes),
                prepare,
                self._post_forget,
                (MEMBER_BYTES, b"\n"),
                Journal.open(resume, job),
                _Bar(progress, codes),
            )
        )

    def _import_events(
        self,
        job: str,
        rows: Iterable[_Row],
        prepare: Callable[[_Row, int, str], bytes],
        journal: Journal,
        bar: _Bar,
    ) -> Flow[BulkReport]:
        def send(body: bytes) -> Flow[None]:
            return self._post_events("/visit/events", body)

        return (yield from self._bulk(job, rows, prepare, send, (EVENT_BYTES, b"\n"), journal, bar))

    def _bulk(
        self,
        job: str,
        rows: Iterable[_Row],
        prepare: Callable[[_Row, int, str], bytes],
        send: Callable[[bytes], Flow[None]],
        shape: tuple[int, bytes],
        journal: Journal,
        bar: _Bar,
    ) -> Flow[BulkReport]:
        limit_bytes, separator = shape
        tally = _Tally()
        fingerprint = hashlib.sha256()
        batch: list[tuple[_Row, bytes]] = []
        size = 0

        def report() -> BulkReport:
            refused = [*tally.refused, *(Refusal(*refusal) for refusal in journal.refused)]
            refused.sort(key=lambda refusal: refusal.place)
            count = tally.refused_count + len(journal.refused)
            return BulkReport(
                tally.read, journal.sent, tally.resumed, tuple(refused[:MAX_LISTED]), count, tally.requests
            )

        def settle() -> Flow[None]:
            if batch:
                sent, refused = yield from _send_batch(batch, send, separator, tally)
                journal.sent += sent
                journal.refused += refused
            journal.done, journal.digest = tally.read, fingerprint.hexdigest()
            journal.save()
            bar.at(tally.read)

        earlier = journal.done
        try:
            for row in rows:
                piece = None
                try:
                    piece = _piece(
                        row, prepare(row, tally.read, journal.seed) if row.problem is None else b"", limit_bytes
                    )
                except ValueError as error:
                    tally.refuse(row, str(error))
                is_settled = tally.read < earlier
                if journal.finished and not is_settled:
                    raise ResumeMismatch(f"{job} was finished, and the input has grown since; nothing was sent")
                if piece is not None and not is_settled:
                    if batch and size + len(separator) + len(piece) > limit_bytes:
                        yield from settle()
                        batch, size = [], 0
                    size += len(piece) + (len(separator) if batch else 0)
                    batch.append((row, piece))
                tally.read += 1
                fingerprint.update(repr((row.value, row.problem)).encode("utf-8", "backslashreplace"))
                if is_settled and tally.read == earlier:
                    _check_same(journal, fingerprint.hexdigest())
                    tally.resumed = earlier
                    bar.at(earlier)
            if tally.read < earlier:
                raise ResumeMismatch(f"the input of {job} is shorter than when the job was begun; nothing was sent")
            if not journal.finished:
                yield from settle()
                batch = []
                journal.finished = True
                journal.save()
        except ApiError as error:
            kept = " It goes on there with the same resume file." if journal.path is not None else ""
            raise BulkStopped(f"stopped after {journal.done} items: {error.args[0]}.{kept}", report()) from error
        finally:
            bar.close()
        return report()


def _piece(row: _Row, piece: bytes, limit_bytes: int) -> bytes:
    if row.problem is not None:
        raise ValueError(row.problem)
    if len(piece) > limit_bytes:
        raise ValueError(f"it has {len(piece)} bytes, more than {limit_bytes}")
    return piece


def _check_same(journal: Journal, digest: str) -> None:
    if digest != journal.digest:
        raise ResumeMismatch(
            f"the first {journal.done} items are not those that {journal.path} was begun with; nothing was sent"
        )


def _send_batch(
    batch: Sequence[tuple[_Row, bytes]], send: Callable[[bytes], Flow[None]], separator: bytes, tally: _Tally
) -> Flow[tuple[int, list[tuple[int, str, str]]]]:
    """Send a batch, in halves when it is too large for the service after all."""
    tally.requests += 1
    try:
        yield from send(separator.join(piece for _, piece in batch))
    except TooLarge as error:
        if len(batch) == 1:
            row = batch[0][0]
            return 0, [(row.place, _shown(row.value), str(error.args[0]))]
    else:
        return len(batch), []
    middle = len(batch) // 2
    sent, refused = yield from _send_batch(batch[:middle], send, separator, tally)
    more, others = yield from _send_batch(batch[middle:], send, separator, tally)
    return sent + more, refused + others


def _numbered(items: Iterable[Any]) -> Iterator[_Row]:
    return (_Row(place, item) for place, item in enumerate(items, 1))


def _shown(value: Any) -> str:
    if isinstance(value, Conversion):
        value = value.visitor_code
    elif isinstance(value, tuple) and value:
        value = value[0]
    text = str(value).encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= 60 else text[:59] + "…"


def _nonce(seed: str, position: int) -> str:
    return hashlib.sha256(f"{seed}:{position}".encode()).hexdigest()[:16].upper()


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise ValueError("the text is not UTF-8") from None


def _conversion_line(given: Conversion, nonce: str) -> bytes:
    goal_id: object = given.goal_id
    revenue: object = given.revenue
    if not isinstance(goal_id, int) or isinstance(goal_id, bool) or not 0 < goal_id < 2**63:
        raise ValueError(f"goal_id must be a whole number above 0, not {goal_id!r}")
    if not isinstance(revenue, int | float) or not _is_finite(revenue):
        raise ValueError(f"revenue must be a finite number, not {revenue!r}")
    check_visitor_code(given.visitor_code or "")
    _utf8(given.visitor_code)
    try:
        event = conversion(
            given.goal_id,
            visitor_code=given.visitor_code,
            revenue=given.revenue,
            negative=given.negative,
            metadata=given.metadata,
            nonce=given.nonce or nonce,
        )
        return event.line().encode()
    except UnicodeEncodeError:
        raise ValueError("the metadata is not UTF-8") from None
    except (TypeError, AttributeError, RecursionError):
        raise ValueError("the metadata or the nonce is of another type than a conversion has") from None


def _is_finite(number: float) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:  # an integer beyond a float's range
        return False


def _csv_rows(file: IO[str], name: str, delimiter: str) -> Iterator[_Row]:
    reader = csv.reader(file, delimiter=delimiter, strict=True)
    try:
        header = [column.strip() for column in next(reader, [])]
    except csv.Error as error:
        raise ValueError(f"{name}: the header cannot be read: {error}") from error
    unknown = [column for column in header if column not in _COLUMNS]
    missing = [column for column in _COLUMNS[:2] if column not in header]
    if unknown or missing or len(set(header)) != len(header):
        said = [f"no column {column}" for column in missing] + [f"unknown column {column!r}" for column in unknown]
        raise ValueError(
            f"{name}: {'; '.join(said) or 'a column is here twice'}; the first line names the columns, of {', '.join(_COLUMNS)}"
        )

    def rows() -> Iterator[_Row]:
        while True:
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield _Row(reader.line_num, "", f"not CSV: {error}")
                continue
            if not cells:
                continue
            if len(cells) != len(header):
                yield _Row(reader.line_num, cells[0], f"{len(cells)} cells, expected {len(header)}")
                continue
            row = dict(zip(header, cells, strict=True))
            try:
                yield _Row(reader.line_num, _read_row(row))
            except ValueError as error:
                yield _Row(reader.line_num, row["visitor_code"], str(error))

    return rows()


def _read_row(row: Mapping[str, str]) -> Conversion:
    goal, revenue = row["goal_id"].strip(), row.get("revenue", "").strip()
    if not (goal.isascii() and goal.isdigit() and len(goal) < 19):
        raise ValueError(f"goal_id {goal!r} is not a whole number")
    try:
        amount = float(revenue or "0") if revenue.isascii() and "_" not in revenue else math.nan
    except ValueError:
        amount = math.nan
    if not math.isfinite(amount):
        raise ValueError(f"revenue {revenue!r} is not a number such as 12.50")
    truth = row.get("negative", "").strip().lower()
    if truth not in _TRUTHS:
        raise ValueError(f"negative {truth!r} is neither true nor false")
    metadata: Any = None
    if text := row.get("metadata", "").strip():
        try:
            metadata = json.loads(text)
        except (ValueError, RecursionError):
            metadata = ()
        if not isinstance(metadata, dict) or not all(isinstance(values, list) for values in metadata.values()):
            raise ValueError("metadata is not a JSON object of arrays")
    return Conversion(
        row["visitor_code"], int(goal), amount, _TRUTHS[truth], metadata, row.get("nonce", "").strip() or None
    )


class _Bar:
    """A progress bar, a function, or nothing."""

    def __init__(self, progress: Progress, items: object) -> None:
        self._tell: Callable[[int], None] | None = None
        self._bar: Any = None
        if callable(progress):
            self._tell = progress
        elif progress:
            try:
                from tqdm import tqdm  # noqa: PLC0415 - optional
            except ImportError:
                return
            self._bar = tqdm(total=len(items) if isinstance(items, Sized) else None, unit=" items")

    def at(self, done: int) -> None:
        """Show that *done* items are settled."""
        if self._tell is not None:
            self._tell(done)
        if self._bar is not None:
            self._bar.update(done - self._bar.n)

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()
