"""
A service's configuration, kept on disk: a process starts from it when the service is down, and one asks for all that share it.

Two files in the data directory for each site and environment: the last good configuration, replaced as a whole, and a lock that is there
while a process asks the service. The lock is a lease: one left behind by a process that died counts for nothing when it is over.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kameleoon._datafile.pieces import root_in_steps
from kameleoon._transport.configuration import Fetched
from kameleoon._transport.flow import at_leisure
from kameleoon._transport.message import MAX_BODY_BYTES, Pause
from kameleoon.logging.kameleoon_logger import KameleoonLogger

if TYPE_CHECKING:
    from collections.abc import Callable

    from kameleoon._sources.protocol import Source
    from kameleoon._transport.flow import Flow

STARTING_TOGETHER_S = 10.0
"""A process that starts takes what another one asked for so lately; processes of one server start together."""

_LEASE_MARGIN_S = 5.0
_LOOK_AGAIN_S = (0.02, 0.25)
_FORMAT = 2
_MAX_HEADER_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class _Kept:
    """
    What is in the file.

    Attributes:
        body: The configuration's JSON text.
        last_modified: As `Fetched.last_modified`.
        revision: As `Fetched.revision`.
        asked_s: When the service was asked whether it is the newest, in seconds since 1970.
        ts: The newest version that a stream announced and that was asked for, in milliseconds, 0 for none.
    """

    body: bytes
    last_modified: str | None
    revision: str | None
    asked_s: float
    ts: int


class KeptSource:
    """
    `Source` that asks another one and keeps its answers in a directory.

    Args:
        inner: The service.
        directory: Where files are kept; made when it is missing. It may be shared by processes.
        identity: What tells this configuration from others in the directory, such as its address.
        timeout_s: Seconds for one question to *inner*; others wait so long for its answer.
        wall_clock: Seconds since 1970.
    """

    def __init__(
        self,
        inner: Source,
        directory: Path,
        identity: str,
        timeout_s: float,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._inner = inner
        self._identity = identity
        self._timeout_s = timeout_s
        self._clock = wall_clock
        readable = re.sub(r"[^A-Za-z0-9-]+", "-", identity.partition("?")[0].rpartition("/")[2])[:40]
        name = f"configuration-{readable}-{hashlib.sha256(identity.encode()).hexdigest()[:12]}"
        self._path = directory / f"{name}.json"
        self._lease = _Lease(directory / f"{name}.lock", timeout_s + _LEASE_MARGIN_S, wall_clock)
        self._complaints: set[str] = set()

    @property
    def name(self) -> str:
        """As the source that is asked."""
        return self._inner.name

    @property
    def interval_s(self) -> float | None:
        """As the source that is asked."""
        return self._inner.interval_s

    def last_good(self) -> Fetched | None:
        """What was kept, however old; ``None`` when there is nothing that can be read."""
        kept = self._read()
        if kept is None:
            return None
        flow = self._decoded(kept)
        try:
            while True:
                next(flow)  # whoever asks this waits for it
        except StopIteration as stop:
            fetched: Fetched | None = stop.value
            return fetched

    def fetch(self, known: Fetched | None, ts: int | None, *, is_urgent: bool = False) -> Flow[Fetched | None]:
        """
        Look for a configuration newer than *known*, in the file if another process asked lately, else at the service.

        Args:
            known: What the client works with, or ``None``.
            ts: The version that a stream announced, in milliseconds, or ``None``.
            is_urgent: Whether something may have changed just now: only the service, or that very version, will do.

        Raises:
            FetchFailed: As the source that is asked.
        """
        look_again_s, ceiling_s = _LOOK_AGAIN_S
        waited_s = 0.0
        while True:
            kept = self._read()
            if kept is not None and self._is_fresh(kept, known, ts, is_urgent=is_urgent):
                if known is not None and known.body == kept.body:
                    return None
                fetched = yield from self._decoded(kept)
                if fetched is not None:
                    return fetched
            if self._lease.take() or waited_s >= self._timeout_s:
                break
            yield Pause(look_again_s)
            waited_s += look_again_s
            look_again_s = min(2 * look_again_s, ceiling_s)
        try:
            return (yield from self._ask(known, kept, ts))
        finally:
            self._lease.give_back()

    def _ask(self, known: Fetched | None, kept: _Kept | None, ts: int | None) -> Flow[Fetched | None]:
        base = known
        if kept is not None and known is not None and known.body == kept.body:
            base = replace(known, source_name=self.name, last_modified=kept.last_modified, revision=kept.revision)
        elif kept is not None:
            base = (yield from self._decoded(kept)) or known
        asked_s = self._clock()
        newer = yield from self._inner.fetch(base, ts)
        newest = base if newer is None else newer
        if newest is None:
            return None
        if newest.root:
            newest_ts = max(ts or 0, kept.ts if kept is not None else 0)
            self._write(_Kept(newest.body, newest.last_modified, newest.revision, asked_s, newest_ts))
        return _unless_known(newest, known)

    def _is_fresh(self, kept: _Kept, known: Fetched | None, ts: int | None, *, is_urgent: bool) -> bool:
        if is_urgent or ts is not None:
            return ts is not None and kept.ts >= ts
        age_s = self._clock() - kept.asked_s
        window_s = STARTING_TOGETHER_S if known is None else 0.9 * (self._inner.interval_s or 0.0)
        return 0 <= age_s < min(window_s, 0.9 * (self._inner.interval_s or window_s))

    def _read(self) -> _Kept | None:
        try:
            with self._path.open("rb") as file:
                header = json.loads(file.readline(_MAX_HEADER_BYTES))
                body = file.read(MAX_BODY_BYTES)
            return _kept(header, body, self._identity)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError) as error:
            self._complain(f"The kept configuration {self._path} cannot be read: {error!r}")
            return None

    def _write(self, kept: _Kept) -> None:
        header = {
            "format": _FORMAT,
            "identity": self._identity,
            "asked_s": kept.asked_s,
            "ts": kept.ts,
            "last_modified": kept.last_modified,
            "revision": kept.revision,
        }
        try:
            # The text as it came, after a line of its own: escaping a large one would take long.
            _replace(self._path, json.dumps(header).encode() + b"\n", kept.body)
            self._complaints.clear()
        except (OSError, ValueError) as error:
            # The error's own text would name a temporary file, another one each time.
            reason = getattr(error, "strerror", None) or type(error).__name__
            self._complain(f"The configuration cannot be kept in {self._path}: {reason}")

    def _decoded(self, kept: _Kept) -> Flow[Fetched | None]:
        """The configuration; ``None`` when the text is none."""
        try:
            root = yield from at_leisure(root_in_steps(kept.body))
        except (ValueError, RecursionError) as error:
            self._complain(f"The kept configuration {self._path} cannot be read: {error!r}")
            return None
        if not isinstance(root, dict):
            self._complain(f"The kept configuration {self._path} holds no object")
            return None
        return Fetched(kept.body, root, self.name, last_modified=kept.last_modified, revision=kept.revision)

    def _complain(self, text: str) -> None:
        if text not in self._complaints:
            self._complaints.add(text)
            KameleoonLogger.warning(text)


class _Lease:
    """
    The right to ask, held by one process at a time as far as files can tell; two at once ask twice and do no harm.

    Args:
        path: The lock file.
        lease_s: Seconds after which a lock counts for nothing.
        clock: Seconds since 1970.
    """

    def __init__(self, path: Path, lease_s: float, clock: Callable[[], float]) -> None:
        self._path = path
        self._lease_s = lease_s
        self._clock = clock
        self._token = ""

    def take(self) -> bool:
        """Take the right if nobody has it. Where no file can be written everybody has it."""
        token = secrets.token_hex(8)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            try:
                descriptor = os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
            except FileExistsError:
                if self._is_held():
                    return False
                _replace(self._path, token.encode())
                # Another process may have replaced it at the same moment: the last one has it.
                if self._path.read_bytes() != token.encode():
                    return False
            else:
                with os.fdopen(descriptor, "w") as file:
                    file.write(token)
        except OSError:
            return True
        self._token = token
        return True

    def give_back(self) -> None:
        """Let another process ask; without effect on a lock that somebody else took over."""
        token, self._token = self._token, ""
        with suppress(OSError):
            if token and self._path.read_bytes() == token.encode():
                self._path.unlink()

    def _is_held(self) -> bool:
        try:
            age_s = self._clock() - self._path.stat().st_mtime
        except FileNotFoundError:
            return False
        # A lock of the future was made before the clock was set back.
        return -self._lease_s < age_s < self._lease_s


def _kept(header: Any, body: bytes, identity: str) -> _Kept:
    """What the file's parts say; whatever the *header* lacks raises."""
    if header["format"] != _FORMAT or header["identity"] != identity:
        raise ValueError("it is of another version or site")
    validators = header["last_modified"], header.get("revision")
    # They go into headers of the next request.
    if any(value is not None and not (isinstance(value, str) and value.isprintable()) for value in validators):
        raise ValueError("its last_modified or revision is no header's text")
    return _Kept(body, *validators, float(header["asked_s"]), int(header["ts"]))


def _unless_known(fetched: Fetched, known: Fetched | None) -> Fetched | None:
    return None if known is not None and known.body == fetched.body else fetched


def _replace(path: Path, *contents: bytes) -> None:
    """Write a file so that whoever reads it sees the old content or the new one, whatever happens meanwhile."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            for content in contents:
                file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
