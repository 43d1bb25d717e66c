-- home: workspace
-- A person lets a FAILED or CANCELLED task run again under its own id, with a fresh allowance; its history stays.
-- One that a policy had held is held again.
-- KEYS[1]  the workspace's root
-- ARGV     task, actor, correlation id, lanes JSON, window, the call's own id
-- Returns  {'pending' | 'held' | 'conflict' | 'unknown', tickets, record flat}, or {'budget', tickets, row of the budget
--          that has no room for it, what it would reserve}; the same call again answers 'pending' again
local id = ARGV[1]
local tickets = {}
local t = load_routing(id)
if not t then return {'unknown', tickets} end
if is_last_call(id, ARGV[6]) then return {'pending', tickets, redis.call('HGETALL', K.task(id))} end
if t.status ~= 'FAILED' and t.status ~= 'CANCELLED' then
  refuse(ARGV[2], 'task.retry', id, 'conflict', ARGV[3])
  return {'conflict', tickets, redis.call('HGETALL', K.task(id))}
end
local given = tonumber(redis.call('HGET', K.task(id), 'estimate') or '-1')
local plan, over = budget_plan(t.type, t.payer, given)
if over then
  refuse(ARGV[2], 'task.retry', id, 'budget-exceeded', ARGV[3])
  return {'budget', tickets, budget_row(over), string.format('%.0f', over.amount)}
end
local to = t.hold_quorum ~= '' and 'HELD' or 'PENDING'
audit(ARGV[2], 'task.retry', id, 'accepted', ARGV[3], {status = t.status}, {status = to})
note_call(id, ARGV[6])
move(id, t, to)
reserve(id, plan)
put(id, t, 'retries', 0, 'losses', 0, 'lease', '', 'closed', '', 'agent', '', 'waited', 0, 'waiting_since', '',
  'finished', '')
redis.call('HDEL', K.task(id), 'err_code', 'err_message', 'err_retryable', 'percent', 'note')
event('rerun', id, t)
if to == 'HELD' then
  local f = redis.call('HMGET', K.task(id), 'hold_ms', 'hold_version', 'hold_rules', 'hold_digest')
  ask(id, t, t.hold_quorum, tonumber(f[1]), f[2], f[3], f[4])
  put(id, t, 'rejected_by', '')
  return {'held', tickets, redis.call('HGETALL', K.task(id))}
end
enqueue(id, t)
place(t.prio, read_lanes(ARGV[4]), tonumber(ARGV[5]), tickets)
return {'pending', tickets, redis.call('HGETALL', K.task(id))}
