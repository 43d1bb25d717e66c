-- home: fleet
-- Revoke a token, for good; it is remembered for a while, so that its holder is told why. The first time counts:
-- revoking it again changes nothing.
-- KEYS[1]  the fleet's root
-- ARGV     token id, scope that it must be of ('*' the platform, '' any), ms for which it is remembered
-- Returns  1, or 0 when there is no such token
local id = ARGV[1]
local known = redis.call('HMGET', K.token(id), 'workspace', 'revoked_at')
if not known[1] then return 0 end
local scope = known[1] == '' and '*' or known[1]
if ARGV[2] ~= '' and ARGV[2] ~= scope then return 0 end
if not known[2] then
  audit(CALLED_BY or '', 'token.revoke', id, 'accepted', CALLED_AS or '', nil, {workspace = scope})
  redis.call('HSET', K.token(id), 'revoked_at', NOW)
  redis.call('ZREM', K.tokens(scope), id)
  redis.call('ZADD', K.ending(scope), NOW + tonumber(ARGV[3]), id)
  redis.call('PEXPIRE', K.token(id), ARGV[3])
  redis.call('PUBLISH', K.changes(), 'token:' .. id)
end
return 1
