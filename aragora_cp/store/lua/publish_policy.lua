-- home: policy
-- Keep a new version of a policy, which never changes, and put it in force, or in its place as a shadow.
-- KEYS[1]  the scope's root
-- ARGV     mark of this call (sent twice, it is answered alike), name, mode, the document, most policies, versions kept
-- Returns  {number, time} or {'full'}
local mark, name, mode, document = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local key = K.policy(name)
local seen = redis.call('HMGET', key, 'mark', 'last', 'marked_at')
if seen[1] == mark then return {tonumber(seen[2]), tonumber(seen[3])} end
local others = redis.call('HLEN', K.policies())
if redis.call('HEXISTS', K.policies(), mode .. ':' .. name) == 0 and others > tonumber(ARGV[5]) then
  return {'full'}
end
local number = tonumber(seen[2] or '0') + 1
local row = number .. ' ' .. NOW .. ' ' .. document
audit(CALLED_BY, 'policy.publish', name, 'accepted', CALLED_AS, nil,
  {version = number, mode = mode, source_sha1 = redis.sha1hex(cjson.decode(document).source)})
redis.call('HSET', key, number, row, 'last', number, 'mark', mark, 'marked_at', NOW)
redis.call('HDEL', key, number - tonumber(ARGV[6]))
redis.call('HDEL', K.policies(), 'shadow:' .. name)
if mode == 'enforce' then
  local present = redis.call('HGET', key, 'in_force')
  if present then redis.call('HSET', key, 'before', present) end
  redis.call('HSET', key, 'in_force', number)
end
redis.call('HSET', K.policies(), mode .. ':' .. name, row)
redis.call('HINCRBY', K.policies(), 'revision', 1)
return {number, NOW}
