-- home: workspace
-- One person's approval of a held task; the last one that is needed lets it go. It counts for one payload under one
-- version of the policy: is either another by now, all approvals are void, and they are asked anew.
-- KEYS[1]  the workspace's root
-- ARGV     task, actor, correlation id, SHA-1 of the payload as the caller read it, the payload's digest, JSON of what
--          the policy says now {version, rules, quorum, expires_ms}, lanes JSON, window, mark of this call
-- Returns  {'released' | 'approved' | 'asked-again' | 'own' | 'late' | 'not-held' | 'moved' (read the payload anew) |
--          'unknown', tickets, record flat without payload}. The same approval again is answered again.
local id, actor, corr = ARGV[1], ARGV[2], ARGV[3]
local tickets = {}
local function answer(word) return {word, tickets, without(id, {payload = true})} end
local t = load_routing(id)
if not t then return {'unknown', tickets} end

local approved, count = {}, 0
for each in string.gmatch(t.approved_by, '%S+') do
  approved[each] = true
  count = count + 1
end
if t.status ~= 'HELD' then
  if approved[actor] then return answer('released') end
  return answer('not-held')
end
local f = redis.call('HMGET', K.task(id), 'actor', 'hold_until', 'hold_version', 'hold_digest', 'payload', 'run_at', 'hold_mark')
if is_own(t, f[1], actor) then return answer('own') end
if tonumber(f[2]) <= NOW then
  reject_held(id, t, 'control-plane', corr, 'it was not approved in time')
  return answer('late')
end
if redis.sha1hex(f[5]) ~= ARGV[4] then return answer('moved') end

if f[7] == ARGV[9] then return answer('asked-again') end
local now = cjson.decode(ARGV[6])
if f[3] ~= now.version or f[4] ~= ARGV[5] then
  audit(actor, 'task.approve', id, 'asked-again', corr, {policy_version = f[3], approved_by = t.approved_by},
    {policy_version = now.version})
  ask(id, t, now.quorum, now.expires_ms, now.version, now.rules, ARGV[5])
  put(id, t, 'hold_mark', ARGV[9])
  event('held', id, t)
  return answer('asked-again')
end
if approved[actor] then return answer('approved') end

local released = count + 1 >= tonumber(t.hold_quorum)
audit(actor, 'task.approve', id, 'accepted', corr, {status = 'HELD'}, {status = released and 'PENDING' or 'HELD',
  approvals = count + 1, policy_version = now.version})
put(id, t, 'approved_by', count == 0 and actor or t.approved_by .. ' ' .. actor)
event('approved', id, t)
if not released then return answer('approved') end
redis.call('ZREM', K.held(), id)
move(id, t, 'PENDING')
let_in(id, t, tonumber(f[6] or '') or 0, read_lanes(ARGV[7]), tonumber(ARGV[8]), tickets)
event('released', id, t)
return answer('released')
