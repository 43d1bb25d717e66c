-- home: workspace
-- Renew all leases that an agent holds in one workspace, never beyond an attempt's own deadline.
-- KEYS[1]  the workspace's root
-- ARGV     lease ms, grace ms, then task, attempt, lease for each
-- Returns  one word each, in order: 'renewed', 'late' (ran out, nobody claimed since), 'unclaimed' (the ticket is in
--          hand, the claim is not made yet), 'cancelled', 'ended' or 'lost'
local lease_ms, grace = tonumber(ARGV[1]), tonumber(ARGV[2])
local answers, sums = {}, {}
for n = 3, #ARGV, 3 do
  local id, attempt, lease = ARGV[n], ARGV[n + 1], ARGV[n + 2]
  local t, held = fence(id, attempt, lease)
  local answer = 'lost'
  if held == 'held' then
    local lease_until = math.min(NOW + lease_ms, tonumber(t.deadline) + grace)
    redis.call('ZADD', K.running(), lease_until, id)
    redis.call('HSET', K.task(id), 'lease_until', lease_until)
    answer = 'renewed'
  elseif held == 'late' then
    answer = 'late'
  elseif t and t.attempt == attempt and t.closed == lease then
    answer = was_stopped(id, t) and 'cancelled' or 'ended'
  elseif t and t.status == 'PENDING' and tonumber(t.attempt) < tonumber(attempt) then
    answer = 'unclaimed'
  elseif t then
    refuse('agent', 'task.renew', id, 'stale-attempt', t.corr)
  end
  answers[#answers + 1] = answer
  sums[answer] = (sums[answer] or 0) + 1
end
for answer, n in pairs(sums) do count('lease_renewals|' .. answer, n) end
return answers
