"""What is to be looked at again, and when."""

from __future__ import annotations

import heapq

_CHUNK = 1024


class Agenda:
    """
    Codes, each filed under the second at which it is to be looked at.

    Who was active in the meantime is filed again only then, so that activity itself costs no bookkeeping.
    """

    __slots__ = ("_chunks", "_length", "_seconds", "_turned")

    def __init__(self) -> None:
        # In dictionaries of texts and `None`, which unlike lists are nothing for the garbage collector to go through; in small
        # ones, so that none is ever long in growing or in being turned round.
        self._chunks: dict[int, list[dict[str, None]]] = {}
        self._seconds: list[int] = []
        self._turned: set[int] = set()  # seconds whose first dictionary is turned round
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def add(self, second: int, code: str) -> None:
        """File *code* under *second*."""
        chunks = self._chunks.get(second)
        if chunks is None:
            chunks = self._chunks[second] = [{}]
            heapq.heappush(self._seconds, second)
        elif len(chunks[-1]) >= _CHUNK or (len(chunks) == 1 and second in self._turned):
            chunks.append({})
        codes = chunks[-1]
        if code not in codes:
            codes[code] = None
            self._length += 1

    def first(self) -> int:
        """
        The earliest second that has codes.

        Raises:
            IndexError: There is none.
        """
        return self._seconds[0]

    def pop(self) -> str:
        """
        Take out the code that was filed first under the earliest second.

        Raises:
            IndexError: There is none.
        """
        second = self._seconds[0]
        chunks = self._chunks[second]
        if second not in self._turned:  # only the last one can be taken out of a dictionary quickly
            chunks[0] = dict.fromkeys(reversed(chunks[0]))
            self._turned.add(second)
        code, _ = chunks[0].popitem()
        self._length -= 1
        if not chunks[0]:
            del chunks[0]
            self._turned.discard(second)
            if not chunks:
                del self._chunks[second]
                heapq.heappop(self._seconds)
        return code
