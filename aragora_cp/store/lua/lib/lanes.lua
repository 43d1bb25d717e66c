-- The fleet's lanes follow from its agents: each agent that is not offline counts as a member of its lane, and with its
-- slots unless it drains or a breaker keeps it from taking work. An agent's record says what it is counted for, so
-- nothing is counted twice. `ejected` counts the members that are out by their own breakers.
local function count_in(lane, members, slots, ejected)
  if redis.call('HINCRBY', K.members(), lane, members) <= 0 then
    redis.call('HDEL', K.members(), lane)
    redis.call('HDEL', K.slots(), lane)
    redis.call('HDEL', K.lanes(), lane)
    redis.call('HDEL', K.ejected(), lane)
  else
    redis.call('HINCRBY', K.slots(), lane, slots)
    if ejected ~= 0 then redis.call('HINCRBY', K.ejected(), lane, ejected) end
  end
  redis.call('INCR', K.lanes_version())
end

-- Bring the counts in line with what the agent is now: `online` '1'/'0', `slots` that may take new work.
local function recount(id, lane, online, slots)
  local was = redis.call('HMGET', K.agent(id), 'counted_lane', 'counted_slots', 'counted_out')
  local had, was_out = was[1] and was[1] ~= '', tonumber(was[3] or '') or 0
  local out = online == '1' and state_of(load_breaker(K.agent(id))) ~= 'closed' and 1 or 0
  if had and online == '1' and was[1] == lane and tonumber(was[2]) == slots and was_out == out then return end
  if online == '1' then
    redis.call('HSET', K.lanes(), lane, redis.call('HGET', K.agent(id), 'lane_json'))
    count_in(lane, 1, slots, out)
    redis.call('HSET', K.agent(id), 'counted_lane', lane, 'counted_slots', slots, 'counted_out', out)
  else
    redis.call('HSET', K.agent(id), 'counted_lane', '', 'counted_slots', 0, 'counted_out', 0)
  end
  if had then count_in(was[1], -1, 0 - tonumber(was[2]), 0 - was_out) end  -- minus zero is no integer to every server
end

local function slots_of(id)
  local f = redis.call('HMGET', K.agent(id), 'concurrency', 'drain', 'stuck')
  if f[2] == '1' then return 0 end
  local slots = math.max(0, tonumber(f[1] or '0') - tonumber(f[3] or '0'))
  local model = model_of(id)
  for _, key in ipairs({K.agent(id), model}) do
    local b = load_breaker(key)
    if shut_for(b) > 0 then return 0 end
    if state_of(b) == 'half-open' then slots = math.min(slots, (rules_of(id) or {probes = 1}).probes) end
  end
  return slots
end

-- How many of a lane's agents may be out by their own breakers at once, of all that are not offline.
local function most_ejected(lane, joining, share)
  return math.floor((tonumber(redis.call('HGET', K.members(), lane) or '0') + joining) * share + 1e-9)
end
