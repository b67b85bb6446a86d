"""The scripts that the server runs: each is one command, and nothing comes between its steps.

All names of a script begin with the same `prefix{…}`, so a cluster keeps their entries together.
The scripts use nothing that is newer than Redis 5.
"""

from __future__ import annotations

MAX_ENTRY = 65_536
"""Bytes to read of an entry: four times what Okta's longest tokens need. A longer entry is not from
this package, and cannot be decrypted after it was cut."""

MAX_DISCARDED = 100
"""Discarded tokens to remember of an identity; the ones that end first are forgotten."""

_CALL = """
local function call(otherwise, ...) -- a writer without a key may have stored another type
    local reply = redis.pcall(...)
    if type(reply) ~= "table" or not reply.err then return reply end
    if string.find(reply.err, "WRONGTYPE", 1, true) then return otherwise end
    return redis.call(...)
end
"""

_READ = f"""
{_CALL}
local function read(name) return call("\1", "getrange", name, 0, {MAX_ENTRY}) end
"""

_NOW = """
local time = redis.call("time")
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""

_END_LEASE = f"""
{_CALL}
local function end_lease(name, lease)
    if call(false, "get", name) == lease then redis.call("del", name) end
end
"""

_NOTIFY = """
local function notify(command, channel)
    redis.pcall(command, channel, "") -- the user may have no right to it
end
"""

LOOK = f"""
{_READ}
{_NOW}
local found = {{}}
for at = 2, #KEYS do found[at] = {{read(KEYS[at]), redis.call("pttl", KEYS[at])}} end
found[1] = call({{}}, "zrevrangebyscore", KEYS[1], "+inf", now, "limit", 0, {MAX_DISCARDED})
return found
"""
"""Return the discarded tokens (key 1), and of each other key the entry and its milliseconds."""

READ = f"""
{_READ}
local found = {{}}
for at = 1, #KEYS do found[at] = {{read(KEYS[at]), redis.call("pttl", KEYS[at])}} end
return found
"""
"""Return of each key the entry and its milliseconds."""

SETTLE = f"""
{_END_LEASE}
{_NOTIFY}
end_lease(KEYS[1], ARGV[1])
if KEYS[3] then redis.call("del", KEYS[3]) end
notify(ARGV[4], ARGV[5])
redis.call("set", KEYS[2], ARGV[2], "px", ARGV[3])
"""
"""End the lease of key 1 with an identifier, set the entry of key 2 for some milliseconds, delete
the entry of key 3, and notify. The lease ends even if the server has no memory for the entry."""

END_LEASE = f"""
{_END_LEASE}
{_NOTIFY}
end_lease(KEYS[1], ARGV[1])
if KEYS[2] then redis.call("del", KEYS[2]) end
if ARGV[2] then notify(ARGV[2], ARGV[3]) end
"""
"""End the lease of key 1 with an identifier, delete the entry of key 2, and notify."""

EXTEND_LEASE = f"""
{_CALL}
if call(false, "get", KEYS[1]) == ARGV[1] then redis.call("pexpire", KEYS[1], ARGV[2]) end
"""
"""Let the lease of key 1 with an identifier end some milliseconds from now."""

DISCARD = f"""
{_READ}
{_NOW}
{_NOTIFY}
if not call(false, "zadd", KEYS[2], now + ARGV[2], ARGV[1]) then
    redis.call("del", KEYS[2])
    redis.call("zadd", KEYS[2], now + ARGV[2], ARGV[1])
end
redis.call("zremrangebyrank", KEYS[2], 0, -{MAX_DISCARDED} - 1)
if redis.call("pttl", KEYS[2]) < tonumber(ARGV[2]) then
    redis.call("pexpire", KEYS[2], ARGV[2])
end
if KEYS[3] then redis.call("set", KEYS[3], ARGV[5], "px", ARGV[2]) end
notify(ARGV[3], ARGV[4])
return read(KEYS[1])
"""
"""Remember a discarded token (key 2) for some milliseconds, set the entry of key 3 for as long,
notify, and return the entry of key 1."""

DELETE_IF_EQUAL = f"""
{_CALL}
if call(false, "get", KEYS[1]) == ARGV[1] then redis.call("del", KEYS[1]) end
"""
"""Delete the entry of key 1 if it is the given one."""

SET_IF_LONGER = """
if redis.call("pttl", KEYS[1]) < tonumber(ARGV[1]) then
    redis.call("set", KEYS[1], ARGV[2], "px", ARGV[1])
end
"""
"""Set the entry of key 1 for some milliseconds, unless it stays longer already."""

REPLACE = f"""
{_READ}
{_NOTIFY}
if read(KEYS[1]) ~= ARGV[1] then return 0 end
redis.call("set", KEYS[1], ARGV[2], "px", ARGV[3])
notify(ARGV[4], ARGV[5])
return 1
"""
"""Set the entry of key 1 for some milliseconds if it is still the given one, and notify."""
