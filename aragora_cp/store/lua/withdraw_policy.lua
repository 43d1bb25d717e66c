-- home: policy
-- Take a policy out of force, and its shadow. Its versions stay.
-- KEYS[1]  the scope's root
-- ARGV     name
-- Returns  1, or 0 when it was in no mode
local name = ARGV[1]
local gone = redis.call('HEXISTS', K.policies(), 'enforce:' .. name) + redis.call('HEXISTS', K.policies(), 'shadow:' .. name)
if gone == 0 then return 0 end
audit(CALLED_BY, 'policy.delete', name, 'accepted', CALLED_AS)
redis.call('HDEL', K.policies(), 'enforce:' .. name, 'shadow:' .. name)
local present = redis.call('HGET', K.policy(name), 'in_force')
if present then
  redis.call('HSET', K.policy(name), 'before', present)
  redis.call('HDEL', K.policy(name), 'in_force')
end
redis.call('HINCRBY', K.policies(), 'revision', 1)
return 1
