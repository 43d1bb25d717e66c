-- The fleet's lanes follow from its agents: each agent that is not offline counts as a member of its lane, and with its
-- slots unless it drains. An agent's record says what it is counted for, so nothing is counted twice.
local function count_in(lane, members, slots)
  if redis.call('HINCRBY', K.members(), lane, members) <= 0 then
    redis.call('HDEL', K.members(), lane)
    redis.call('HDEL', K.slots(), lane)
    redis.call('HDEL', K.lanes(), lane)
  else
    redis.call('HINCRBY', K.slots(), lane, slots)
  end
  redis.call('INCR', K.lanes_version())
end

-- Bring the counts in line with what the agent is now: `online` '1'/'0', `slots` that may take new work.
local function recount(id, lane, online, slots)
  local was = redis.call('HMGET', K.agent(id), 'counted_lane', 'counted_slots')
  local had = was[1] and was[1] ~= ''
  if had and online == '1' and was[1] == lane and tonumber(was[2]) == slots then return end
  if online == '1' then
    redis.call('HSET', K.lanes(), lane, redis.call('HGET', K.agent(id), 'lane_json'))
    count_in(lane, 1, slots)
    redis.call('HSET', K.agent(id), 'counted_lane', lane, 'counted_slots', slots)
  else
    redis.call('HSET', K.agent(id), 'counted_lane', '', 'counted_slots', 0)
  end
  if had then count_in(was[1], -1, 0 - tonumber(was[2])) end  -- minus zero is no integer to every server
end

local function slots_of(id)
  local f = redis.call('HMGET', K.agent(id), 'concurrency', 'drain', 'stuck')
  if f[2] == '1' then return 0 end
  return math.max(0, tonumber(f[1] or '0') - tonumber(f[3] or '0'))
end
