-- home: fleet
-- Ask an agent's breaker whether it may take an attempt, and enter it as in hand. Sent with the claim: one round trip.
-- KEYS[1]  the fleet's root
-- ARGV     agent, task:attempt:lease
-- Returns  {'go' | 'refused', state, ms for which the agent shall take nothing}; an agent that is not registered goes.
--          The same call again goes again.
local id, call = ARGV[1], ARGV[2]
local r = rules_of(id)
if not r or redis.call('HEXISTS', K.calls(id), call) == 1 then return {'go', 'closed', 0} end
local found = standing(id, r)
if found.ms > 0 then return {'refused', found.state, found.ms} end
write_call(id, call, NOW, found.probe)
if found.model_probe then
  redis.call('ZREMRANGEBYSCORE', K.probes(found.model_probe), '-inf', NOW)
  redis.call('ZADD', K.probes(found.model_probe), NOW + r.lease_ms, id .. '|' .. call)
  redis.call('PEXPIRE', K.probes(found.model_probe), FORGET_MODEL_MS)
end
return {'go', found.state, 0}
