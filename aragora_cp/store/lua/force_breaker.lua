-- home: fleet
-- An operator holds an agent's breaker open or closed for a time, or gives it back to itself, fresh.
-- KEYS[1]  the fleet's root
-- ARGV     agent, 'open' | 'closed' | 'auto', reason, ms
-- Returns  'ok' or 'unknown'
local id, word = ARGV[1], ARGV[2]
local scope = redis.call('HGET', K.agent(id), 'scope')
if not scope then return 'unknown' end
local b = load_breaker(K.agent(id))
audit(CALLED_BY, 'agent.breaker', id, 'accepted', CALLED_AS, {breaker = state_of(b), forced = forced(b)},
  {forced = word ~= 'auto' and word or nil, reason = ARGV[3], seconds = tonumber(ARGV[4]) / 1000, workspace = scope})
redis.call('HSET', K.agent(id), 'breaker', '', 'open_until', '', 'trips', 0, 'closed_at', '', 'passed', 0, 'recent', '',
  'spared', '', 'paused_until', '', 'forced', word ~= 'auto' and word or '',
  'forced_until', string.format('%d', NOW + tonumber(ARGV[4])), 'forced_by', CALLED_BY, 'forced_reason', ARGV[3])
recount_online(id)
return 'ok'
