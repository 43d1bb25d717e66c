-- home: fleet
-- Give a token a new secret; the one before stays good for a while, and none older than that.
-- KEYS[1]  the fleet's root
-- ARGV     token id, scope that it must be of ('*' the platform, '' any), digest of the new secret, overlap ms
-- Returns  {'rotated', the record flat}, {'ended'} when it is revoked or expired, or {'unknown'}. The same digest again
--          answers 'rotated' again.
local id, digest = ARGV[1], ARGV[3]
local known = redis.call('HMGET', K.token(id), 'workspace', 'revoked_at', 'expires_at', 'digest')
if not known[1] then return {'unknown'} end
if ARGV[2] ~= '' and ARGV[2] ~= (known[1] == '' and '*' or known[1]) then return {'unknown'} end
if known[2] or (tonumber(known[3] or '') or math.huge) <= NOW then return {'ended'} end
if known[4] ~= digest then
  audit(CALLED_BY or '', 'token.rotate', id, 'accepted', CALLED_AS or '', nil, {workspace = known[1] == '' and '*' or known[1]})
  redis.call('HSET', K.token(id), 'digest', digest, 'old_digest', known[4], 'old_until', NOW + tonumber(ARGV[4]),
    'rotated_at', NOW)
  redis.call('PUBLISH', K.changes(), 'token:' .. id)
end
return {'rotated', redis.call('HGETALL', K.token(id))}
