-- home: policy
-- Put an earlier version of a policy in force again; its shadow goes.
-- KEYS[1]  the scope's root
-- ARGV     mark of this call (sent twice, it is answered alike), name, number ('' the one before the present one)
-- Returns  the number that is in force now, or '' when there is no such version
local mark, name, number = ARGV[1], ARGV[2], ARGV[3]
local key = K.policy(name)
local f = redis.call('HMGET', key, 'mark', 'in_force', 'before')
if f[1] == mark then return f[2] end
if number == '' then number = f[3] or '' end
local row = number ~= '' and redis.call('HGET', key, number)
if not row then
  return ''
end
audit(CALLED_BY, 'policy.rollback', name, 'accepted', CALLED_AS, {version = f[2] or ''}, {version = number})
redis.call('HSET', key, 'mark', mark, 'in_force', number)
if f[2] and f[2] ~= number then redis.call('HSET', key, 'before', f[2]) end
redis.call('HDEL', K.policies(), 'shadow:' .. name)
redis.call('HSET', K.policies(), 'enforce:' .. name, row)
redis.call('HINCRBY', K.policies(), 'revision', 1)
return number
