-- home: workspace
-- Take a result, once. A late one counts as long as nobody else has claimed the task.
-- KEYS[1]  the workspace's root
-- ARGV     task, attempt, lease, result, agent, lanes JSON (to place what this lets run), window, input tokens,
--          output tokens, model ('' keeps), cost in millionths, cached tokens, version of the price ('' none)
-- Returns  {'finished' | 'stale' | 'unknown', tickets, record flat}; the same write again answers 'finished' again.
local id, attempt, lease = ARGV[1], ARGV[2], ARGV[3]
local tickets = {}
local t, held = fence(id, attempt, lease)
if held == 'unknown' then return {'unknown', tickets} end
if held == 'closed' and t.status == 'COMPLETED' then return {'finished', tickets, redis.call('HGETALL', K.task(id))} end
if held ~= 'held' and held ~= 'late' then
  refuse('agent:' .. ARGV[5], 'task.finish', id, 'stale-attempt', t.corr)
  return {'stale', tickets, redis.call('HGETALL', K.task(id))}
end
if not may_keep(ARGV[4]) then
  -- Encryption has been required since the claim: another attempt, by an agent that can.
  refuse('agent:' .. ARGV[5], 'task.finish', id, 'not-encrypted', t.corr)
  if held == 'held' then
    back_to_pending(id, t, false)
    enqueue(id, t)
  end
  return {'stale', tickets, redis.call('HGETALL', K.task(id))}
end
audit('agent:' .. ARGV[5], 'task.finish', id, held == 'late' and 'accepted-late' or 'accepted', t.corr,
  {status = t.status, attempt = tonumber(attempt)}, {status = 'COMPLETED'})
put(id, t, 'result', ARGV[4], 'agent', ARGV[5])
local usage = read_usage(8)
add_usage(id, t, usage, (charge_plan(id, t, usage.cost, usage.model)))
local woken = finalise(id, t, 'COMPLETED')
local cache = redis.call('HMGET', K.task(id), 'cache', 'cache_ms')
if cache[1] and cache[1] ~= '' then redis.call('SET', K.cache(cache[1]), id, 'PX', cache[2]) end
if woken or TENANT.max_running then
  local lanes = read_lanes(ARGV[6])
  for _, prio in ipairs(PRIORITIES) do place(prio, lanes, tonumber(ARGV[7]), tickets) end
end
return {'finished', tickets, redis.call('HGETALL', K.task(id))}
