"""
Visitors shared by all workers and hosts, in Redis.

What one worker writes the next request in another reads. An evaluation costs one round trip at most: it brings what changed of the
visitor since this worker last saw him, and takes along what earlier evaluations gave, which is not waited for.

While Redis is away the worker goes on with what it knows; what it learns meanwhile goes to Redis when that is back.

    <prefix>idle        sorted set: visitor codes by their last activity, in milliseconds since 1970
    <prefix>c:<code>    hash: the key of the code's record, and whether the code is a cross-device identifier
    <prefix>r:<key>     hash: a record, see `kameleoon.stores.redis_record`
    <prefix>ended       list: visitors whose session ended, with what they had not sent

A claim is the removal of a mark by a script, so that of all workers exactly one has it. All keys must live on one Redis node.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from kameleoon._visitor.record import Assignment, Visitor, VisitorRecord
from kameleoon._visitor.unsent import has_sendable, is_pending, take_unsent
from kameleoon.exceptions import KameleoonError
from kameleoon.logging.kameleoon_logger import KameleoonLogger
from kameleoon.stores.protocol import Claim, Ended
from kameleoon.stores.redis_record import MARK, decode_record, encode_record, fields_of_assignment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from kameleoon._visitor.facts import Fact
    from kameleoon._visitor.unsent import Unsent

_KEPT_LOCALLY = 10_000
"""Visitors that a worker remembers between requests, to go on with when Redis is away."""

_AT_ONCE = 500
_FIRST_TRY_AGAIN_S = 1.0
_GRACE_MS = 3_600_000
"""Keys live so much longer than their session, so that some worker finds what is unsent in them."""

# What all scripts begin with: ARGV 1 is the prefix, 2 now, 3 the session's duration, both in milliseconds.
_COMMON = """
local P, now, session = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local function is_live(code)
  local last = redis.call('ZSCORE', P .. 'idle', code)
  return last and now - tonumber(last) < session
end
local function touch(code, rid)
  redis.call('ZADD', P .. 'idle', now, code)
  redis.call('PEXPIRE', P .. 'c:' .. code, session + GRACE)
  redis.call('PEXPIRE', P .. 'r:' .. rid, session + GRACE)
end
local function finish(code)
  local rid, unique = unpack(redis.call('HMGET', P .. 'c:' .. code, 'r', 'u'))
  redis.call('DEL', P .. 'c:' .. code)
  redis.call('ZREM', P .. 'idle', code)
  if not rid then return end
  local key = P .. 'r:' .. rid
  local fields = redis.call('HGETALL', key)
  redis.call('RPUSH', P .. 'ended', cjson.encode({code, unique or '0', fields}))
  if redis.call('HINCRBY', key, '@n', -1) <= 0 then
    redis.call('DEL', key)
  else
    for place = 1, #fields, 2 do
      if string.sub(fields[place], 1, 1) == '!' then redis.call('HDEL', key, fields[place]) end
    end
    redis.call('HINCRBY', key, '@v', 1)
  end
end
local function open(code, rid, started)
  if redis.call('ZSCORE', P .. 'idle', code) then
    if is_live(code) then
      local known = redis.call('HGET', P .. 'c:' .. code, 'r')
      if known then return known end
    end
    finish(code)
  end
  redis.call('HSET', P .. 'c:' .. code, 'r', rid, 'u', '0')
  redis.call('HINCRBY', P .. 'r:' .. rid, '@n', 1)
  redis.call('HSETNX', P .. 'r:' .. rid, 't', started)
  -- A version of a record that Redis lost must not be taken for one of the record that takes its place.
  redis.call('HSETNX', P .. 'r:' .. rid, '@v', now)
  return rid, true
end
""".replace("GRACE", str(_GRACE_MS))

_SCRIPTS = {
    # code, 'touch' or 'look', the record and version that the worker has
    "read": """
local code = ARGV[4]
if not is_live(code) then return false end
local rid, unique = unpack(redis.call('HMGET', P .. 'c:' .. code, 'r', 'u'))
if not rid then return false end
if ARGV[5] == 'touch' then touch(code, rid) end
local version = redis.call('HGET', P .. 'r:' .. rid, '@v') or '0'
if rid == ARGV[6] and version == ARGV[7] then return {rid, unique, version} end
return {rid, unique, version, redis.call('HGETALL', P .. 'r:' .. rid)}
""",
    # code, record for a new visitor, his start, '0' '1' or '' for the identifier, most visitors,
    # number of values, then names and values, then names to remove
    "write": """
local code = ARGV[4]
local rid, is_new = open(code, ARGV[5], ARGV[6])
local key = P .. 'r:' .. rid
if ARGV[7] ~= '' then redis.call('HSET', P .. 'c:' .. code, 'u', ARGV[7]) end
local place = 10
for _ = 1, tonumber(ARGV[9]) do
  redis.call('HSET', key, ARGV[place], ARGV[place + 1])
  place = place + 2
end
while ARGV[place] do
  redis.call('HDEL', key, ARGV[place])
  place = place + 1
end
local version = redis.call('HINCRBY', key, '@v', 1)
touch(code, rid)
local most = tonumber(ARGV[8])
while most > 0 and redis.call('ZCARD', P .. 'idle') > most do
  finish(redis.call('ZRANGE', P .. 'idle', 0, 0)[1])
end
return {rid, tostring(version), is_new and 1 or 0}
""",
    # code, the other code, record for a new visitor, his start
    "link": """
local code, other = ARGV[4], ARGV[5]
local rid = open(code, ARGV[6], ARGV[7])
touch(code, rid)
if redis.call('ZSCORE', P .. 'idle', other) then
  if redis.call('HGET', P .. 'c:' .. other, 'r') == rid and is_live(other) then return rid end
  finish(other)
end
redis.call('HSET', P .. 'c:' .. other, 'r', rid, 'u', redis.call('HGET', P .. 'c:' .. code, 'u') or '0')
redis.call('HINCRBY', P .. 'r:' .. rid, '@n', 1)
touch(other, rid)
return rid
""",
    # record, then marks and their values: removes each that is still the same
    "take": """
local key, won = P .. 'r:' .. ARGV[4], {}
for place = 5, #ARGV, 2 do
  if redis.call('HGET', key, ARGV[place]) == ARGV[place + 1] then
    redis.call('HDEL', key, ARGV[place])
    won[#won + 1] = ARGV[place]
  end
end
if #won > 0 then redis.call('HINCRBY', key, '@v', 1) end
return won
""",
    # how many
    "expire": """
local over = redis.call('ZRANGEBYSCORE', P .. 'idle', '-inf', now - session, 'LIMIT', 0, ARGV[4])
for _, code in ipairs(over) do finish(code) end
local ended = {}
for _ = 1, tonumber(ARGV[4]) do
  local one = redis.call('LPOP', P .. 'ended')
  if not one then break end
  ended[#ended + 1] = one
end
return ended
""",
}


class _Shared:
    """
    A record as this worker knows it.

    Attributes:
        rid: Its key.
        fields: Its fields, with what is not in Redis yet.
        version: The version in Redis that *fields* hold, ``""`` when they may be older.
        changes: What is not in Redis yet; ``None`` for a field that is to be removed.
        record: The record itself.
        tokens: Names of its conversions.
    """

    __slots__ = ("__weakref__", "changes", "fields", "record", "rid", "tokens", "version")

    def __init__(self, rid: str) -> None:
        self.rid = rid
        self.fields: dict[str, str] = {}
        self.version = ""
        self.changes: dict[str, str | None] = {}
        self.record = VisitorRecord(0)
        self.tokens: list[str] = []

    def load(self, fields: dict[str, str], version: str) -> None:
        """Take over what Redis has, under what it does not have yet."""
        self.fields = {name: text for name, text in fields.items() if not name.startswith("@")}
        for name, text in self.changes.items():
            if text is None:
                self.fields.pop(name, None)
            else:
                self.fields[name] = text
        self.version = version
        self.record, self.tokens = decode_record(self.fields)

    def set(self, changes: dict[str, str | None]) -> None:
        """Note what is known to have changed in the record."""
        self.changes |= changes
        for name, text in changes.items():
            if text is None:
                self.fields.pop(name, None)
            else:
                self.fields[name] = text

    def note(self) -> None:
        """The record has changed: find out in which fields."""
        marks = {name: text for name, text in self.fields.items() if name.startswith(MARK)}
        fields = encode_record(self.record, self.tokens, marks)
        self.changes |= {name: text for name, text in fields.items() if self.fields.get(name) != text}
        self.changes |= dict.fromkeys(self.fields.keys() - fields.keys())
        self.fields = fields


class _Known:
    """One code as this worker knows it; *is_unique* is what is not in Redis yet, ``None`` for nothing."""

    __slots__ = ("is_unique", "last_s", "shared", "visitor")

    def __init__(self, shared: _Shared, last_s: float, *, is_unique: bool) -> None:
        self.shared = shared
        self.last_s = last_s
        self.visitor = Visitor(shared.record, last_s, is_unique=is_unique)
        self.is_unique: bool | None = None


class RedisStore:
    """
    A `VisitorStore` in Redis, for ``visitor_store=RedisStore(url="redis://…")``. Needs the extra ``redis``.

    The threads of one process take turns. A round trip is bounded by *timeout_s*; while Redis is away it is tried again after a
    second, so that evaluations do not wait for it each time.

    Args:
        url: As ``redis.Redis.from_url`` takes it. It may hold a password and is never logged.
        session_s: A session's duration in seconds; the client's own setting without it.
        prefix: What all keys begin with; ``kameleoon:<site code>:`` without it.
        max_visitors: Codes kept at most, 0 for as many as Redis holds.
        timeout_s: Seconds for connecting and for each answer.
        wall_clock: Seconds since 1970, as all workers see them.

    Raises:
        KameleoonError: The package ``redis`` is missing.
    """

    def __init__(
        self,
        url: str,
        *,
        session_s: float | None = None,
        prefix: str | None = None,
        max_visitors: int = 0,
        timeout_s: float = 0.25,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        try:
            import redis  # noqa: PLC0415 - an extra
        except ImportError as error:
            raise KameleoonError("RedisStore needs the extra redis: pip install 'kameleoon-sdk[redis]'") from error
        self._error = redis.RedisError
        self._no_script = redis.exceptions.NoScriptError
        self._redis: Any = redis.Redis.from_url(
            url, decode_responses=True, socket_timeout=timeout_s, socket_connect_timeout=timeout_s
        )
        self._session_s = session_s
        self._prefix = prefix
        self._max_visitors = max_visitors
        self._wall_clock = wall_clock
        self._lock = threading.RLock()
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._shared: WeakValueDictionary[str, _Shared] = WeakValueDictionary()
        self._dirty: dict[str, _Known] = {}
        self._shas: dict[str, str] = {}
        self._away_until_s = 0.0
        self._is_away = False

    def __repr__(self) -> str:
        return f"RedisStore(prefix={self._prefix!r})"

    def bind(self, site_code: str, session_s: float) -> None:
        """Called by the client that uses the store: its site and its sessions, unless the store was told otherwise."""
        if self._prefix is None:
            self._prefix = f"kameleoon:{site_code}:"
        if self._session_s is None:
            self._session_s = session_s

    def __len__(self) -> int:
        with self._lock:
            found = self._ask(lambda pipe: pipe.zcard(f"{self._prefix}idle"))
            return len(self._known) if found is None else int(found[-1])

    def read(self, code: str) -> Visitor | None:
        """See `VisitorStore.read`."""
        return self._look(code, "touch")

    def peek(self, code: str) -> Visitor | None:
        """See `VisitorStore.peek`."""
        return self._look(code, "look")

    def write(self, code: str, facts: Iterable[Fact], now_ms: int) -> Visitor:
        """See `VisitorStore.write`. It is in Redis when this returns, unless Redis is away."""
        with self._lock:
            self._look(code, "touch")
            known = self._local(code) or self._make(code, now_ms)
            was_unique = known.visitor.is_unique
            for fact in facts:
                fact.apply(known.visitor)
            if known.visitor.is_unique != was_unique:
                known.is_unique = known.visitor.is_unique
            known.last_s = self._wall_clock()
            known.shared.note()
            self._dirty[code] = known
            self._ask(None)
            return known.visitor

    def assign(
        self,
        code: str,
        visitor: Visitor | None,  # noqa: ARG002 - another thread may have replaced its record
        experiment_id: int,
        variation_id: int,
        is_delivery: bool,
        unsent: bool,
        now_ms: int,
    ) -> Visitor:
        """See `VisitorStore.assign`. It goes to Redis with the next round trip, whichever that is, at the latest to send it."""
        with self._lock:
            known = self._local(code) or self._make(code, now_ms)
            given = Assignment(experiment_id, variation_id, is_delivery, now_ms, unsent)
            known.shared.record.give(given)
            known.shared.set(fields_of_assignment(experiment_id, given))
            known.last_s = self._wall_clock()
            self._dirty[code] = known
            return known.visitor

    def link(self, code: str, other: str, now_ms: int) -> None:
        """See `VisitorStore.link`. While Redis is away the codes are linked in this worker alone."""
        with self._lock:
            known = self._local(code) or self._make(code, now_ms)
            answers = self._ask(lambda pipe: self._script(pipe, "link", code, other, known.shared.rid, str(now_ms)))
            rid = known.shared.rid if answers is None else answers[-1]
            if rid != known.shared.rid:
                known.shared.version = ""
            linked = self._known[other] = _Known(known.shared, self._wall_clock(), is_unique=known.visitor.is_unique)
            if answers is None:
                self._dirty[other] = linked

    def claim(self, codes: Sequence[str], *, consent_required: bool) -> list[Claim]:
        """See `VisitorStore.claim`. Two round trips for all *codes* together."""
        claims: list[Claim] = []
        with self._lock:
            for start in range(0, len(codes), _AT_ONCE):
                claims += self._claim(codes[start : start + _AT_ONCE], consent_required)
        return claims

    def codes(self) -> list[tuple[str, bool]]:
        """See `VisitorStore.codes`."""
        with self._lock:
            earliest = f"({self._now_ms() - self._session_ms}"
            found = self._ask(lambda pipe: pipe.zrangebyscore(f"{self._prefix}idle", earliest, "+inf"))
            if found is None:
                return [(code, has_sendable(known.visitor.record)) for code, known in self._known.items()]
            codes: list[str] = found[-1]
            return [(code, self._has_sendable(code)) for code in self._refresh(codes)]

    def pending(self) -> list[str]:
        """See `VisitorStore.pending`."""
        found = ((code, self.peek(code)) for code, is_sendable in self.codes() if is_sendable)
        return [code for code, visitor in found if visitor is not None and is_pending(visitor.record)]

    def expire(self) -> list[list[Ended]]:
        """See `VisitorStore.expire`."""
        ended: list[Ended] = []
        with self._lock:
            while True:
                found = self._ask(lambda pipe: self._script(pipe, "expire", str(_AT_ONCE)))
                batch = [] if found is None else found[-1]
                for text in batch:
                    code, is_unique, flat = json.loads(text)
                    fields = dict(zip(flat[::2], flat[1::2], strict=True))
                    record, _ = decode_record({name: value for name, value in fields.items() if name[0] != "@"})
                    ended.append(Ended(code, Visitor(record, 0.0, is_unique=is_unique == "1")))
                    if self._known.get(code) is not None and self._is_over(self._known[code]):
                        del self._known[code]
                if len(batch) < _AT_ONCE:
                    return [ended]

    def after_fork_in_child(self) -> None:
        """See `VisitorStore.after_fork_in_child`: what is in Redis is anybody's, what is not there yet is the parent's."""
        self._lock = threading.RLock()
        self._known, self._dirty, self._shared = OrderedDict(), {}, WeakValueDictionary()

    def close(self) -> None:
        """See `VisitorStore.close`. The visitors stay in Redis."""
        with self._lock:
            self._ask(None)
            self._known.clear()
            self._dirty.clear()
            self._redis.close()

    # --- what this worker knows ---------------------------------------------------------------------------------------

    def _look(self, code: str, how: str) -> Visitor | None:
        with self._lock:
            known = self._known.get(code)
            shared = None if known is None else known.shared
            answers = self._ask(lambda pipe: self._read(pipe, code, how, shared))
            known = self._local(code) if answers is None else self._take_over(code, answers[-1])
            if known is not None and how == "touch":
                known.last_s = self._wall_clock()
            return None if known is None else known.visitor

    def _read(self, pipe: Any, code: str, how: str, shared: _Shared | None) -> None:
        rid, version = (shared.rid, shared.version) if shared else ("", "")
        if shared is not None and version:
            # What is pushed on the same trip makes it newer; if only that does, nothing has to come back.
            version = str(int(version) + sum(known.shared is shared for known in self._dirty.values()))
        self._script(pipe, "read", code, how, rid, version)

    def _take_over(self, code: str, answer: list[Any] | None) -> _Known | None:
        """Bring what this worker knows of *code* up to what Redis answered."""
        known = self._known.get(code)
        if not answer:
            if known is not None and code not in self._dirty:
                del self._known[code]
                return None
            return self._local(code)
        rid, is_unique, version, *rest = answer
        if known is None or known.shared.rid != rid:
            shared = self._shared.get(rid)
            if shared is None:
                shared = self._shared[rid] = _Shared(rid)
            known = self._remember(code, _Known(shared, self._wall_clock(), is_unique=is_unique == "1"))
        if rest:
            flat = rest[0]
            known.shared.load(dict(zip(flat[::2], flat[1::2], strict=True)), version)
        known.visitor.record = known.shared.record
        if known.is_unique is None:
            known.visitor.is_unique = is_unique == "1"
        self._known.move_to_end(code)
        return known

    def _make(self, code: str, now_ms: int) -> _Known:
        shared = _Shared(os.urandom(12).hex())
        self._shared[shared.rid] = shared
        shared.record = VisitorRecord(now_ms)
        shared.note()
        known = self._dirty[code] = _Known(shared, self._wall_clock(), is_unique=False)
        return self._remember(code, known)

    def _remember(self, code: str, known: _Known) -> _Known:
        self._known[code] = known
        if len(self._known) > _KEPT_LOCALLY:
            oldest = next(iter(self._known))
            self._known.pop(oldest)
            self._dirty.pop(oldest, None)
        return known

    def _local(self, code: str) -> _Known | None:
        known = self._known.get(code)
        return None if known is None or self._is_over(known) else known

    def _is_over(self, known: _Known) -> bool:
        return self._wall_clock() - known.last_s >= self._session_ms / 1000

    def _refresh(self, codes: Sequence[str]) -> list[str]:
        for start in range(0, len(codes), _AT_ONCE):
            some = codes[start : start + _AT_ONCE]

            def read_all(pipe: Any, some: Sequence[str] = some) -> None:
                for code in some:
                    known = self._known.get(code)
                    self._read(pipe, code, "look", None if known is None else known.shared)

            answers = self._ask(read_all)
            for code, answer in zip(some, [] if answers is None else answers[-len(some) :], strict=False):
                self._take_over(code, answer)
        return [code for code in codes if code in self._known]

    def _has_sendable(self, code: str) -> bool:
        return has_sendable(self._known[code].visitor.record)

    # --- claims -------------------------------------------------------------------------------------------------------

    def _claim(self, codes: Sequence[str], consent_required: bool) -> list[Claim]:
        self._refresh(codes)
        wanted: list[tuple[str, _Known, list[str]]] = []
        for code in codes:
            known = self._known.get(code)
            if known is not None:
                wanted.append((code, known, self._marks_to_take(known, consent_required)))
        asked = [(known, marks) for _, known, marks in wanted if marks]

        def take_all(pipe: Any) -> None:
            for known, marks in asked:
                pairs = [part for mark in marks for part in (mark, known.shared.fields[mark])]
                self._script(pipe, "take", known.shared.rid, *pairs)

        answers = self._ask(take_all) if asked else []
        won = {}
        for place, (known, marks) in enumerate(asked):
            if answers is None:
                # Only what Redis does not know of is certainly this worker's.
                mine = [mark for mark in marks if mark in known.shared.changes]
            else:
                mine = answers[place - len(asked)]
            won[id(known)] = mine
        taken = {code: self._take(known, set(won.get(id(known), ())), consent_required) for code, known, _ in wanted}
        return [Claim(code, taken.get(code)) for code in codes]

    def _marks_to_take(self, known: _Known, consent_required: bool) -> list[str]:
        marks = {name for name in known.shared.fields if name.startswith(MARK)}
        if not marks:
            return []
        record, tokens = decode_record(known.shared.fields)
        take_unsent(Visitor(record, 0.0, is_unique=known.visitor.is_unique), consent_required=consent_required)
        return sorted(marks - encode_record(record, tokens, known.shared.fields).keys())

    def _take(self, known: _Known, won: set[str], consent_required: bool) -> Unsent:
        shared = known.shared
        mine = {name: text for name, text in shared.fields.items() if not name.startswith(MARK) or name in won}
        record, _ = decode_record(mine)
        unsent = take_unsent(Visitor(record, 0.0, is_unique=known.visitor.is_unique), consent_required=consent_required)
        if won:
            for mark in won:
                shared.changes.pop(mark, None)
                shared.fields.pop(mark, None)
            shared.version = ""
            shared.record, shared.tokens = decode_record(shared.fields)
            known.visitor.record = shared.record
        return unsent

    # --- Redis --------------------------------------------------------------------------------------------------------

    def _ask(self, add: Callable[[Any], object] | None) -> list[Any] | None:
        """One round trip: what is not in Redis yet, and then what *add* asks. ``None`` while Redis is away."""
        if self._prefix is None or self._session_s is None:
            raise KameleoonError("a RedisStore without session_s and prefix belongs to a client")
        if self._is_away and time.monotonic() < self._away_until_s:
            return None
        pushed = list(self._dirty.items())
        if not pushed and add is None:
            return []
        for _ in range(2):
            pipe = self._redis.pipeline(transaction=False)
            try:
                if not self._shas:
                    shas = {name: self._redis.script_load(_COMMON + body) for name, body in _SCRIPTS.items()}
                    self._shas = shas
                for code, known in pushed:
                    self._push(pipe, code, known)
                if add is not None:
                    add(pipe)
                answers: list[Any] = pipe.execute()
            except self._no_script:
                # Redis was started anew, or somebody flushed its scripts.
                self._shas = {}
                continue
            except (self._error, OSError) as error:
                self._go_away(error)
                return None
            self._come_back()
            self._note_pushed(pushed, answers)
            return answers
        return None

    def _script(self, pipe: Any, name: str, *arguments: str) -> None:
        pipe.evalsha(self._shas[name], 0, str(self._prefix), str(self._now_ms()), str(self._session_ms), *arguments)

    def _push(self, pipe: Any, code: str, known: _Known) -> None:
        shared = known.shared
        sets = [part for name, text in shared.changes.items() if text is not None for part in (name, text)]
        removed = [name for name, text in shared.changes.items() if text is None]
        unique = "" if known.is_unique is None else str(int(known.is_unique))
        started = shared.fields.get("t", "0")
        self._script(
            pipe,
            "write",
            code,
            shared.rid,
            started,
            unique,
            str(self._max_visitors),
            str(len(sets) // 2),
            *sets,
            *removed,
        )

    def _note_pushed(self, pushed: list[tuple[str, _Known]], answers: list[Any]) -> None:
        for (code, known), (rid, version, is_new) in zip(pushed, answers, strict=False):
            self._dirty.pop(code, None)
            shared = known.shared
            shared.changes.clear()
            known.is_unique = None
            if rid != shared.rid:
                # Another worker made the visitor first, and the changes went into his record.
                self._known.pop(code, None)
            elif is_new and shared.version:
                # Redis lost him: it gets back what this worker knows, save marks that another may have claimed.
                shared.changes = {name: text for name, text in shared.fields.items() if not name.startswith(MARK)}
                known.is_unique = known.visitor.is_unique
                self._dirty[code] = known
            # When another worker wrote as well, the next look brings everything.
            is_alone = shared.version and int(version) == int(shared.version) + 1
            shared.version = version if is_alone else ""

    def _go_away(self, error: Exception) -> None:
        self._away_until_s = time.monotonic() + _FIRST_TRY_AGAIN_S
        if not self._is_away:
            self._is_away = True
            KameleoonLogger.error(
                "Redis cannot be reached; visitors are known to this process only: %s", type(error).__name__
            )

    def _come_back(self) -> None:
        if self._is_away:
            self._is_away = False
            KameleoonLogger.warning("Redis is reached again; visitors are shared")

    @property
    def _session_ms(self) -> int:
        return int((self._session_s or 0.0) * 1000)

    def _now_ms(self) -> int:
        return int(self._wall_clock() * 1000)
