-- home: workspace
-- Note how far a running attempt is and what it has used so far. Usage adds up; the rest is replaced.
-- KEYS[1]  the workspace's root
-- ARGV     task, attempt, lease, percent ('' keeps), message ('' keeps), input tokens, output tokens, model ('' keeps),
--          cost in millionths, cached tokens (of the input), version of the price ('' none)
-- Returns  'noted', 'cancelled', 'stale' or 'unknown'; or {'over-budget', budget, agent, its lane, attempt}: the cost goes
--          beyond a hard budget, and the task has been stopped
local id, attempt, lease = ARGV[1], ARGV[2], ARGV[3]
local t, held = fence(id, attempt, lease)
if held == 'unknown' then return 'unknown' end
if held ~= 'held' and held ~= 'late' then
  if was_stopped(id, t) and t.attempt == attempt then return 'cancelled' end
  refuse('agent', 'task.progress', id, 'stale-attempt', t.corr)
  return 'stale'
end
local usage = read_usage(6)
local plan, over = charge_plan(id, t, usage.cost, usage.model)
if over then
  audit('control-plane', 'task.stop', id, 'budget-exceeded', t.corr, {status = t.status, attempt = tonumber(attempt)},
    {status = 'FAILED', code = 'budget-exceeded', budget = over})
end
if ARGV[4] ~= '' then redis.call('HSET', K.task(id), 'percent', ARGV[4]) end
if ARGV[5] ~= '' and may_keep(ARGV[5]) then redis.call('HSET', K.task(id), 'note', ARGV[5]) end
add_usage(id, t, usage, plan)
if over then
  local told = {'over-budget', over, t.agent, t.run_lane, tonumber(attempt)}
  local message = 'the budget ' .. over .. ' has no room for what the task costs'
  note_attempt(id, t, 'budget-exceeded', message, '0')
  fail_finally(id, t, 'budget-exceeded', message, '0')
  return told
end
if ARGV[4] ~= '' or ARGV[5] ~= '' then event('progress', id, t) end
return 'noted'
