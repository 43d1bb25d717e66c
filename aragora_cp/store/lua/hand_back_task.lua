-- home: workspace
-- An agent gives an attempt back without using up a retry: it stops, or the task waits for its sub-tasks.
-- KEYS[1]  the workspace's root
-- ARGV     task, attempt, lease, lanes JSON, window, ms until it may run again (0: at once, at its place),
--          then the sub-tasks to wait for
-- Returns  {'pending' | 'stale' | 'unknown', tickets}
local id, attempt, lease = ARGV[1], ARGV[2], ARGV[3]
local tickets = {}
local t, held = fence(id, attempt, lease)
if held == 'unknown' then return {'unknown', tickets} end
if held == 'closed' and t.status == 'PENDING' then return {'pending', tickets} end
if held == 'late' then return {'pending', tickets} end
if held ~= 'held' then
  refuse('agent', 'task.hand-back', id, 'stale-attempt', t.corr)
  return {'stale', tickets}
end
audit('agent:' .. t.agent, 'task.hand-back', id, 'accepted', t.corr, {status = t.status, attempt = tonumber(attempt)},
  {status = 'PENDING'})
back_to_pending(id, t, false)
local open = 0
for n = 7, #ARGV do
  local status = redis.call('HGET', K.task(ARGV[n]), 'status')
  if status == 'HELD' or status == 'PENDING' or status == 'RUNNING' then
    redis.call('SADD', K.awaiting(id), ARGV[n])
    redis.call('SADD', K.awaited(ARGV[n]), id)
    open = open + 1
  end
end
if open > 0 then
  put(id, t, 'parked', NOW, 'lane', '', 'waiting_since', '')
  event('waiting-for-subtasks', id, t)
elseif ARGV[6] ~= '0' then
  delay_until(id, t, NOW + tonumber(ARGV[6]), 'no-key')
  event('handed-back', id, t)
else
  enqueue(id, t)
  event('handed-back', id, t)
  place(t.prio, read_lanes(ARGV[4]), tonumber(ARGV[5]), tickets)
end
return {'pending', tickets}
