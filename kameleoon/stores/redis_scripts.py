"""
What is done in Redis as one: scripts, so that of all workers exactly one has what is to be had once.

    <prefix>idle        sorted set: visitor codes by their last activity, in milliseconds since 1970
    <prefix>c:<code>    hash: the key of the code's record, and whether the code is a cross-device identifier
    <prefix>r:<key>     hash: a record, see `kameleoon.stores.redis_record`, and beside it
                            @v  its version, one more with each change
                            @n  how many codes lead to it
                            @<worker>  the number of that worker's last write, so that one that comes twice, or late, changes nothing
    <prefix>over        sorted set: sessions that ended, by the time from which a worker may take them
    <prefix>e:<id>      text: such a session, with what it had not sent
    <prefix>ends        number of sessions that ended so far

All keys must live on one Redis node.
"""

from __future__ import annotations

import hashlib

from kameleoon.stores.redis_record import NOT_HANDED_ON

GRACE_MS = 3_600_000
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
  if not rid then return {} end
  local key = P .. 'r:' .. rid
  local fields = redis.call('HGETALL', key)
  local id = rid .. ':' .. ARGV[2] .. ':' .. code
  redis.call('SET', P .. 'e:' .. id, cjson.encode({code, unique or '0', fields}), 'PX', session + GRACE)
  redis.call('ZADD', P .. 'over', redis.call('INCR', P .. 'ends'), id)
  if redis.call('HINCRBY', key, '@n', -1) <= 0 then
    redis.call('DEL', key)
  else
    for place = 1, #fields, 2 do
      if string.sub(fields[place], 1, 1) == '!' then redis.call('HDEL', key, fields[place]) end
    end
    redis.call('HINCRBY', key, '@v', 1)
  end
  return fields
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
""".replace("GRACE", str(GRACE_MS))

_BODIES = {
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
    # code, record for a new visitor, his start, '0' '1' or '' for the identifier, most visitors, worker, number of this write,
    # number of values, then name, value and number of the write that brought it first, then names to remove and such numbers
    "write": """
local code = ARGV[4]
local rid, is_new = open(code, ARGV[5], ARGV[6])
local key, by, number = P .. 'r:' .. rid, '@' .. ARGV[9], tonumber(ARGV[10])
local last = tonumber(redis.call('HGET', key, by) or '0')
local version
-- Several codes of one record are told of with one number.
if number >= last and ARGV[7] ~= '' then redis.call('HSET', P .. 'c:' .. code, 'u', ARGV[7]) end
if number > last then
  local place = 12
  for _ = 1, tonumber(ARGV[11]) do
    if tonumber(ARGV[place + 2]) > last then redis.call('HSET', key, ARGV[place], ARGV[place + 1]) end
    place = place + 3
  end
  while ARGV[place] do
    if tonumber(ARGV[place + 1]) > last then redis.call('HDEL', key, ARGV[place]) end
    place = place + 2
  end
  redis.call('HSET', key, by, ARGV[10])
  version = redis.call('HINCRBY', key, '@v', 1)
else
  version = redis.call('HGET', key, '@v')
end
touch(code, rid)
local most = tonumber(ARGV[8])
while most > 0 and redis.call('ZCARD', P .. 'idle') > most do
  finish(redis.call('ZRANGE', P .. 'idle', 0, 0)[1])
end
return {rid, tostring(version), is_new and 1 or 0}
""",
    # code, the other code, record for a new visitor, his start, '1' to add what was known of the other
    "link": """
local code, other = ARGV[4], ARGV[5]
local rid = open(code, ARGV[6], ARGV[7])
local key = P .. 'r:' .. rid
touch(code, rid)
if redis.call('ZSCORE', P .. 'idle', other) then
  if redis.call('HGET', P .. 'c:' .. other, 'r') == rid and is_live(other) then return rid end
  local was_live = is_live(other)
  local fields = finish(other)
  if ARGV[8] == '1' and was_live then
    local own = {OWN}
    for place = 1, #fields, 2 do
      local name = fields[place]
      local first = string.sub(name, 1, 1)
      if first ~= '!' and first ~= '@' and not own[name] then
        redis.call('HSETNX', key, name, fields[place + 1])
      end
    end
    redis.call('HINCRBY', key, '@v', 1)
  end
end
redis.call('HSET', P .. 'c:' .. other, 'r', rid, 'u', redis.call('HGET', P .. 'c:' .. code, 'u') or '0')
redis.call('HINCRBY', key, '@n', 1)
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
    # how many, for how long nobody else may have them, in milliseconds, then ids of those that are done with
    "expire": """
for place = 6, #ARGV do
  redis.call('ZREM', P .. 'over', ARGV[place])
  redis.call('DEL', P .. 'e:' .. ARGV[place])
end
local over = redis.call('ZRANGEBYSCORE', P .. 'idle', '-inf', now - session, 'LIMIT', 0, ARGV[4])
for _, code in ipairs(over) do finish(code) end
local taken = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', P .. 'over', '-inf', now, 'LIMIT', 0, ARGV[4])) do
  local text = redis.call('GET', P .. 'e:' .. id)
  if text then
    redis.call('ZADD', P .. 'over', now + tonumber(ARGV[5]), id)
    taken[#taken + 1] = {id, text}
  else
    redis.call('ZREM', P .. 'over', id)
  end
end
return {redis.call('ZCARD', P .. 'idle'), taken}
""",
}

_OWN = ", ".join(f"{name} = true" for name in sorted(NOT_HANDED_ON))

SCRIPTS = {name: _COMMON + body.replace("OWN", _OWN) for name, body in _BODIES.items()}
"""``{name: script}``"""

SHAS = {name: hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest() for name, text in SCRIPTS.items()}
"""``{name: what Redis knows the script by once it was loaded}``"""
