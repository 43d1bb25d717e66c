-- A circuit breaker: of an agent (its fields stand in the agent's own record) or of a model (a record of its own).
-- Closed: outcomes are counted in a window. Open: nothing is taken until `open_until`. Half-open is open whose time is
-- over: a few probes decide. Rules (JSON in the agent's record, written when it registers): docs/explanation/circuit-breakers.md
local BREAKER = {'breaker', 'open_until', 'trips', 'closed_at', 'passed', 'recent', 'forced', 'forced_until', 'spared',
  'paused_until'}
local FORGET_MODEL_MS = 7 * 86400 * 1000
local PROBE_LOOK_MS = 1000

local function load_breaker(key)
  local values = redis.call('HMGET', key, unpack(BREAKER))
  local b = {key = key}
  for n, name in ipairs(BREAKER) do b[name] = values[n] or '' end
  return b
end

local function rules_of(id)
  local text = redis.call('HGET', K.agent(id), 'rules')
  return text and cjson.decode(text)
end

-- The key and the name of the breaker of the model that an agent works with, or nil. Pools do not share one: no
-- workspace can pause another's agents by naming their model.
local function model_of(id)
  local f = redis.call('HMGET', K.agent(id), 'model', 'scope')
  if not f[1] or f[1] == '' then return nil end
  return K.model(f[2] .. '/' .. f[1]), f[2] .. '/' .. f[1]
end

local function after(text) return (tonumber(text) or 0) - NOW end

local function forced(b) return b.forced ~= '' and after(b.forced_until) > 0 and b.forced or nil end

local function state_of(b)
  local word = forced(b)
  if word then return word end
  if b.breaker ~= 'open' then return 'closed' end
  return after(b.open_until) > 0 and 'open' or 'half-open'
end

-- For how many ms the breaker stays open as things are, and an upstream's pause lasts: the longer.
local function shut_for(b)
  local left = math.max(0, after(b.paused_until))
  if state_of(b) == 'open' then
    left = math.max(left, after(forced(b) and b.forced_until or b.open_until))
  end
  return left
end

-- The window with one more outcome in it: no more than `calls`, none older than `window_ms`; oldest first, each 13
-- digits and a kind: s and l are done (l slowly), f and x failed (x slowly). Answers its text and how many are in it,
-- failed, and were slow.
local ENTRY = 14
local function count_of(text, kinds) return select(2, string.gsub(text, kinds, '')) end

local function with_outcome(b, r, kind)
  local text = b.recent
  local drop = math.max(0, #text / ENTRY - r.calls + 1) * ENTRY
  while drop < #text and tonumber(string.sub(text, drop + 1, drop + ENTRY - 1)) <= NOW - r.window_ms do
    drop = drop + ENTRY
  end
  text = string.sub(text, drop + 1) .. string.format('%013d', NOW) .. kind
  return text, #text / ENTRY, count_of(text, '[fx]'), count_of(text, '[lx]')
end

-- Whether this script has changed what some agent may take.
local standing_changed = false

-- Open time doubles with each trip up to the cap; one that has been closed for the longest open time starts anew.
local function open_breaker(b, r, name, why)
  standing_changed = true
  local trips = tonumber(b.trips) or 0
  if b.breaker ~= 'open' and b.closed_at ~= '' and NOW - tonumber(b.closed_at) >= r.open_most_ms then trips = 0 end
  local ms = math.min(r.open_ms * 2 ^ math.min(trips, 30), r.open_most_ms)
  audit('control-plane', name.kind .. '.trip', name.id, 'accepted', '', {breaker = state_of(b)},
    {breaker = 'open', why = why, seconds = ms / 1000, trips = trips + 1})
  redis.call('HSET', b.key, 'breaker', 'open', 'open_until', string.format('%d', NOW + ms), 'trips', trips + 1,
    'passed', 0, 'recent', '', 'spared', '')
end

local function close_breaker(b, name, why)
  standing_changed = true
  audit('control-plane', name.kind .. '.close', name.id, 'accepted', '', {breaker = state_of(b)},
    {breaker = 'closed', why = why})
  redis.call('HSET', b.key, 'breaker', '', 'closed_at', NOW, 'passed', 0, 'recent', '', 'spared', '')
end

-- Count one outcome. `may_open()`: whether the lane can spare the agent; one that it cannot goes on working, and is
-- noted once.
local function count_outcome(b, r, name, failed, slow, probe, may_open)
  if r.on ~= 1 or forced(b) then return end
  local state = state_of(b)
  if state == 'half-open' and probe then
    if failed or slow then
      open_breaker(b, r, name, failed and 'a probe failed' or 'a probe was slow')
    elseif (tonumber(b.passed) or 0) + 1 >= r.probes then
      close_breaker(b, name, 'its probes passed')
    else
      redis.call('HINCRBY', b.key, 'passed', 1)
    end
  elseif state == 'closed' then
    local text, calls, failures, slows = with_outcome(b, r, failed and (slow and 'x' or 'f') or slow and 'l' or 's')
    local bad = calls >= r.least and (failures >= calls * r.failure_rate and 'failures'
      or slows >= calls * r.slow_rate and 'slow calls')
    if bad and may_open() then
      open_breaker(b, r, name, string.format('%s: %d of %d', bad, bad == 'failures' and failures or slows, calls))
    elseif bad and b.spared == '' then
      audit('control-plane', name.kind .. '.spare', name.id, 'accepted', '', nil, {why = bad, calls = calls})
      redis.call('HSET', b.key, 'recent', text, 'spared', NOW)
    else
      redis.call('HSET', b.key, 'recent', text, 'spared', bad and b.spared or '')
    end
  end
end
