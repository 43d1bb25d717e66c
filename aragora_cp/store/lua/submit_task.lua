-- home: workspace
-- Admit one task: record, place in its class, idempotency key, event and audit entry, or nothing at all; then release.
-- KEYS[1]  the workspace's root
-- ARGV[1]  control JSON: id, idem, idem_digest, idem_also (another digest of the same body, '' none), idem_ms,
--          cache, delay_ms, run_at, window, actor, parent, corr, placement ('' the workspace's own), limits (the
--          platform's rate limits), type, estimate (of its cost in millionths, -1 none), encrypt (1: required, whatever
--          the settings say), decision (what the policy said, see lib/decisions.lua; none when it was not asked),
--          hold (quorum, expires_ms, digest; none when no approval is needed)
-- ARGV[2]  JSON of the lanes that can serve it
-- ARGV[3]  the payload
-- ARGV[4…] the record's other fields and values, flat
-- Returns  {'created' | 'existing' | 'cached' | 'conflict', task id, tickets, the answering record without its payload,
--          rate limits as they stand ('created' only)}; or {'quota', rate limits, name, limit, used}, or {'rate-limited',
--          rate limits, name, limit, period ms, ms until it lets one more in}, or {'budget', rate limits, row of the budget
--          that has no room for it, what it would reserve}, or {'suspended'}, or {'not-encrypted'}:
--          nothing has changed. Checks come before anything is taken: refused by one, it costs nothing with the others.
-- Run twice with one id it answers 'created' twice.
local control = cjson.decode(ARGV[1])
local id = control.id
local tickets = {}
-- The idempotency key stands for `task` from now on.
local function remember(task)
  if control.idem == '' then return end
  redis.call('SET', K.idem(control.idem), control.idem_digest .. ' ' .. task, 'PX', control.idem_ms)
end
local function answer(word, task) return {word, task, tickets, without(task, {payload = true})} end

if redis.call('EXISTS', K.task(id)) == 1 then return answer('created', id) end
if control.idem ~= '' then
  local seen = redis.call('GET', K.idem(control.idem))
  if seen then
    local digest, earlier = string.match(seen, '^(%S+) (%S+)$')
    if redis.call('EXISTS', K.task(earlier)) == 1 then
      if digest ~= control.idem_digest and digest ~= control.idem_also then
        refuse(control.actor, 'task.submit', earlier, 'idempotency-conflict', control.corr)
        return answer('conflict', earlier)
      end
      return answer('existing', earlier)
    end
  end
end
-- What needs approval is not answered from the cache: the answer would go round those who are to approve it.
if control.cache ~= '' and not control.hold then
  local earlier = redis.call('GET', K.cache(control.cache))
  if earlier and redis.call('HGET', K.task(earlier), 'status') == 'COMPLETED' then
    remember(earlier)
    return answer('cached', earlier)
  end
end

if TENANT.status ~= 'active' then
  refuse(control.actor, 'task.submit', id, TENANT.status, control.corr)
  return {TENANT.status}
end
if control.encrypt == 1 then TENANT.encrypted = true end
if not may_keep(ARGV[3]) then return {'not-encrypted'} end
local limits = rate_standing(control.limits, control.actor)
if TENANT.max_pending then
  local used = redis.call('ZCARD', K.by('PENDING')) + redis.call('ZCARD', K.by('HELD'))
  if used >= TENANT.max_pending then
    refuse(control.actor, 'task.submit', id, 'quota-exceeded', control.corr)
    return {'quota', rate_rows(limits), 'max_pending', TENANT.max_pending, used}
  end
end
local closed = rate_refusal(limits)
if closed then
  refuse(control.actor, 'task.submit', id, 'rate-limited', control.corr)
  rate_note(limits)
  return {'rate-limited', rate_rows(limits), closed.name, closed.limit, math.ceil(closed.period * 1000),
    math.ceil(closed.over / 1000)}
end
local payer = payer_of(control.actor, control.parent)
local plan, over = budget_plan(control.type, payer, control.estimate)
if over then
  refuse(control.actor, 'task.submit', id, 'budget-exceeded', control.corr)
  return {'budget', rate_rows(limits), budget_row(over), string.format('%.0f', over.amount)}
end

local fields = {'payload', ARGV[3], 'payer', payer}
for n = 4, #ARGV do fields[#fields + 1] = ARGV[n] end
local decision, hold = control.decision, control.hold
local status = hold and 'HELD' or 'PENDING'
audit(control.actor, 'task.submit', id, 'accepted', control.corr, nil, {status = status,
  decision = decision and decision.id, rules = decision and table.concat(decision.rules, ' '),
  policy_version = decision and decision.version})
rate_take(limits)
reserve(id, plan)
if decision then
  note_decision(decision, control.actor, id)
  fields[#fields + 1] = 'decision'
  fields[#fields + 1] = decision.id
end
redis.call('HSET', K.task(id), unpack(fields))
redis.call('HSET', K.task(id), 'status', status, 'created', NOW, 'seq', redis.call('INCR', K.seq()))
if control.placement == '' then redis.call('HSET', K.task(id), 'placement', TENANT.placement) end
redis.call('ZADD', K.tasks(), NOW, id)
redis.call('ZADD', K.by(status), NOW, id)
remember(id)
if control.parent ~= '' and redis.call('EXISTS', K.task(control.parent)) == 1 then
  redis.call('SADD', K.children(control.parent), id)
end

local t = load_routing(id)
event('submitted', id, t)
local due = math.max(control.run_at, control.delay_ms > 0 and NOW + control.delay_ms or 0)
if hold then
  if due > NOW then redis.call('HSET', K.task(id), 'run_at', due) end
  ask(id, t, hold.quorum, hold.expires_ms, decision.version, table.concat(decision.rules, ' '), hold.digest)
  redis.call('HSET', K.task(id), 'hold_request', decision.request)
  event('held', id, t)
else
  let_in(id, t, due, read_lanes(ARGV[2]), control.window, tickets)
end
local created = answer('created', id)
created[5] = rate_rows(limits)
return created
