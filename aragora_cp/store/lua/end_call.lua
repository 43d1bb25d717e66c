-- home: fleet
-- Tell an agent's breaker, and its model's, how an attempt ended. Sent with the report: one round trip. An attempt that
-- is not in hand (told before, or judged lost) counts nothing.
-- KEYS[1]  the fleet's root
-- ARGV     agent, task:attempt:lease, outcome ('ok', 'failed', 'lost', 'upstream', 'throttled', 'none'), ms of the pause that
--          the upstream asked for (throttled)
-- Returns  {'counted' | 'ignored', state, ms for which the agent shall take nothing}
local id, call, outcome, pause = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local r = rules_of(id)
if not r then return {'ignored', 'closed', 0} end
local counted = redis.call('HEXISTS', K.calls(id), call) == 1
if counted and outcome == 'throttled' then
  -- Without a model's name the agent alone knows its upstream.
  local key, name = model_of(id)
  local b = load_breaker(key or K.agent(id))
  if after(b.paused_until) < pause then
    if after(b.paused_until) <= 0 then
      audit('agent:' .. id, key and 'model.pause' or 'agent.pause', name or id, 'accepted', '', nil, {seconds = pause / 1000})
    end
    standing_changed = true
    redis.call('HSET', b.key, 'paused_until', string.format('%d', NOW + pause))
    if key then redis.call('PEXPIRE', key, FORGET_MODEL_MS) end
  end
end
if counted then
  end_of_call(id, r, call, outcome)
  if standing_changed then recount_online(id) end
end
local found = standing(id, r)
return {counted and 'counted' or 'ignored', found.state, found.ms}
