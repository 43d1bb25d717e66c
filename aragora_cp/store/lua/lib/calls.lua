-- Attempts that an agent has in hand, as its breaker sees them: entered with the claim, taken out with the outcome. So
-- each attempt counts once, however often its end is told, and one whose end nobody tells counts as lost.
-- `calls:<handle>`: task:attempt:lease -> began, last seen, whether it is a probe.
local function read_call(text)
  local began, seen, probe = string.match(text, '^(%d+):(%d+):(%d)$')
  return tonumber(began), tonumber(seen), probe == '1'
end

local function write_call(id, call, began, probe)
  redis.call('HSET', K.calls(id), call, string.format('%d:%d:%s', began, NOW, probe and '1' or '0'))
end

-- Whether the agent's lane can spare it.
local function can_eject(id, r)
  local f = redis.call('HMGET', K.agent(id), 'lane', 'counted_lane')
  if not f[1] then return false end
  local joining = f[2] == f[1] and 0 or 1
  return tonumber(redis.call('HGET', K.ejected(), f[1]) or '0') + 1 <= most_ejected(f[1], joining, r.share)
end

-- Probes of a model that are out: leases by the call, and one that runs out makes room for another.
local function model_probes(name)
  return redis.call('ZCOUNT', K.probes(name), '(' .. NOW, '+inf')
end

local function count_for_agent(id, r, failed, slow, probe)
  count_outcome(load_breaker(K.agent(id)), r, {kind = 'agent', id = id}, failed, slow, probe,
    function() return can_eject(id, r) end)
end

local function count_for_model(id, r, call, failed)
  local key, name = model_of(id)
  if not key then return end
  local probe = redis.call('ZREM', K.probes(name), id .. '|' .. call) == 1
  if failed ~= nil then
    count_outcome(load_breaker(key), r, {kind = 'model', id = name}, failed, false, probe, function() return true end)
    if redis.call('EXISTS', key) == 1 then redis.call('PEXPIRE', key, FORGET_MODEL_MS) end
  end
end

-- Take a call out with its outcome: 'ok', 'failed' or 'lost' (the agent), 'upstream' (the model), 'none'.
local function end_of_call(id, r, call, outcome)
  local entry = redis.call('HGET', K.calls(id), call)
  if not entry then return false end
  local began, _, probe = read_call(entry)
  local slow = NOW - began >= r.slow_ms
  if outcome == 'ok' then
    count_for_agent(id, r, false, slow, probe)
    count_for_model(id, r, call, false)
  elseif outcome == 'failed' or outcome == 'lost' then
    count_for_agent(id, r, true, slow, probe)
    count_for_model(id, r, call, nil)
  else
    count_for_model(id, r, call, outcome == 'upstream' or nil)
  end
  redis.call('HDEL', K.calls(id), call)
  return true
end

-- The agent's process has gone with all that it had in hand.
local function lose_calls(id)
  local r = rules_of(id)
  if not r then return end
  for _, call in ipairs(redis.call('HKEYS', K.calls(id))) do end_of_call(id, r, call, 'lost') end
end

-- A heartbeat: what the process has in hand is seen; what it has not spoken of for a whole lease is lost.
local function see_calls(id, r, running)
  local flat = redis.call('HGETALL', K.calls(id))
  if #flat == 0 then return end
  local held = {}
  for _, task in ipairs(running) do held[task] = true end
  for n = 1, #flat, 2 do
    local began, seen, probe = read_call(flat[n + 1])
    if held[string.match(flat[n], '^[^:]*')] then
      write_call(id, flat[n], began, probe)
    elseif NOW - seen > r.lease_ms then
      end_of_call(id, r, flat[n], 'lost')
    end
  end
end

local function free_probes(id, r, b)
  local out = tonumber(b.passed) or 0
  for _, entry in ipairs(redis.call('HVALS', K.calls(id))) do
    local _, _, probe = read_call(entry)
    if probe then out = out + 1 end
  end
  return r.probes - out
end

-- What the agent is to know: its breaker's state ('paused': it is the model's, or an upstream's word) and for how many
-- ms it shall take nothing. `probe` and `model_probe`: whether what it takes now is one.
local function standing(id, r)
  local b = load_breaker(K.agent(id))
  local state, left = state_of(b), shut_for(b)
  local found = {state = left > 0 and state ~= 'open' and 'paused' or state, ms = left}
  if left == 0 and state == 'half-open' then
    found.probe = true
    if free_probes(id, r, b) <= 0 then found.ms = PROBE_LOOK_MS end
  end
  local key, name = model_of(id)
  local m = key and load_breaker(key)
  if m and shut_for(m) > found.ms then
    found.state, found.ms = state == 'open' and 'open' or 'paused', shut_for(m)
  elseif m and found.ms == 0 and state_of(m) == 'half-open' then
    found.model_probe = name
    if (tonumber(m.passed) or 0) + model_probes(name) >= r.probes then found.state, found.ms = 'paused', PROBE_LOOK_MS end
  end
  return found
end

-- Members have left the lane: an agent that it cannot spare any more is let in again.
local function let_in_again(id, r)
  local b = load_breaker(K.agent(id))
  if b.breaker ~= 'open' or forced(b) then return end
  local lane = redis.call('HGET', K.agent(id), 'counted_lane')
  if not lane or lane == '' then return end
  if tonumber(redis.call('HGET', K.ejected(), lane) or '0') > most_ejected(lane, 0, r.share) then
    close_breaker(b, {kind = 'agent', id = id}, 'its lane cannot spare it')
  end
end

local function recount_online(id)
  local lane = redis.call('HGET', K.agent(id), 'counted_lane')
  if lane and lane ~= '' then recount(id, lane, '1', slots_of(id)) end
end
