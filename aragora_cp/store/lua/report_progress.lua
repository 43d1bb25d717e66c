-- home: workspace
-- Note how far a running attempt is and what it has used so far. Usage adds up; the rest is replaced.
-- KEYS[1]  the workspace's root
-- ARGV     task, attempt, lease, percent ('' keeps), message ('' keeps), input tokens, output tokens, model ('' keeps),
--          cost in millionths
-- Returns  'noted', 'cancelled', 'stale' or 'unknown'
local id, attempt, lease = ARGV[1], ARGV[2], ARGV[3]
local t, held = fence(id, attempt, lease)
if held == 'unknown' then return 'unknown' end
if held ~= 'held' and held ~= 'late' then
  if t.status == 'CANCELLED' and t.attempt == attempt then return 'cancelled' end
  refuse('agent', 'task.progress', id, 'stale-attempt', t.corr)
  return 'stale'
end
if ARGV[4] ~= '' then redis.call('HSET', K.task(id), 'percent', ARGV[4]) end
if ARGV[5] ~= '' and may_keep(ARGV[5]) then redis.call('HSET', K.task(id), 'note', ARGV[5]) end
add_usage(id, ARGV[6], ARGV[7], ARGV[8], ARGV[9])
if ARGV[4] ~= '' or ARGV[5] ~= '' then event('progress', id, t) end
return 'noted'
