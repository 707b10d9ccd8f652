"""How far a bulk job has come, on disk, so that it goes on where it was interrupted and does nothing twice."""

from __future__ import annotations

import json
import os
import secrets
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kameleoon.exceptions import KameleoonError

_VERSION = 1


class ResumeMismatch(KameleoonError):
    """The resume file belongs to another job, or the input is not the one it was begun with. Nothing was sent."""


@dataclass(slots=True)
class Journal:
    """
    State of one job.

    Attributes:
        path: The file, or ``None`` to keep nothing.
        job: What is done, to whom and how, as text; a resume file of another job is refused.
        seed: Random; nonces are made from it, so that an item keeps its nonce when the job goes on.
        done: Items of the input that are settled, from the first.
        digest: Fingerprint of those items.
        sent: How many of them the service took.
        refused: ``[place, what, reason]`` of those that the service refused.
        finished: Whether the job came to its end.
    """

    path: Path | None
    job: str
    seed: str = field(default_factory=lambda: secrets.token_hex(16))
    done: int = 0
    digest: str = ""
    sent: int = 0
    refused: list[tuple[int, str, str]] = field(default_factory=list)
    finished: bool = False

    @classmethod
    def open(cls, path: Path | str | None, job: str) -> Journal:
        """
        Read a resume file, or begin one.

        Raises:
            ResumeMismatch: It belongs to another job, or is no resume file.
            OSError: It cannot be read or written.
        """
        if path is None:
            return cls(None, job)
        place = Path(path)
        try:
            text = place.read_bytes()
        except FileNotFoundError:
            begun = cls(place, job)
            begun.save()  # The seed must be on disk before anything is sent with it.
            return begun
        try:
            read: Any = json.loads(text)
            known = cls(
                place,
                str(read["job"]),
                str(read["seed"]),
                int(read["done"]),
                str(read["digest"]),
                int(read["sent"]),
                [(int(at), str(what), str(reason)) for at, what, reason in read["refused"]],
                bool(read["finished"]),
            )
            is_ours = read["version"] == _VERSION
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            raise ResumeMismatch(f"{place} is not a resume file of a bulk job") from error
        if not is_ours or known.job != job:
            raise ResumeMismatch(f"{place} belongs to another job ({known.job}, not {job})")
        return known

    def save(self) -> None:
        """Write the state; the file is whole at every moment."""
        if self.path is None:
            return
        written = {
            "version": _VERSION,
            "job": self.job,
            "seed": self.seed,
            "done": self.done,
            "digest": self.digest,
            "sent": self.sent,
            "refused": self.refused,
            "finished": self.finished,
        }
        temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}.tmp")
        try:
            with temporary.open("w", encoding="utf-8") as file:
                json.dump(written, file, ensure_ascii=True)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self.path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
