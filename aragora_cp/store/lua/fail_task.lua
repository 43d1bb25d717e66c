-- home: workspace
-- An attempt ended without a result: retry after its backoff, or fail for good.
-- KEYS[1]  the workspace's root
-- ARGV     task, attempt, lease, code, message, retryable (1/0), lost (1/0), chance in [0, 1), agent
-- Returns  {'retry' | 'failed' | 'ignored' | 'stale' | 'unknown', record flat}. 'ignored': the lease had run out and the
--          task waits again already; the reason is noted. The same write again answers as before.
local id, attempt, lease = ARGV[1], ARGV[2], ARGV[3]
local t, held = fence(id, attempt, lease)
if held == 'unknown' then return {'unknown'} end
local outcome
if held == 'held' or held == 'late' then
  t.agent = ARGV[9]
  local message = ARGV[5]
  if not may_keep(message) and ARGV[4] ~= 'unreadable' then
    message = 'the message was not encrypted, and has been left out'
  end
  outcome = fail_attempt(id, t, ARGV[4], message, ARGV[6], ARGV[7], tonumber(ARGV[8]), 'agent:' .. ARGV[9])
elseif held == 'closed' and t.status == 'FAILED' then
  outcome = 'failed'
elseif held == 'closed' and t.status == 'PENDING' then
  outcome = 'retry'
else
  refuse('agent:' .. ARGV[9], 'task.fail', id, 'stale-attempt', t.corr)
  outcome = 'stale'
end
return {outcome, redis.call('HGETALL', K.task(id))}
