-- home: fleet
-- Enter a token, unless its scope has as many as it may have.
-- KEYS[1]  the fleet's root
-- ARGV     token id, scope ('*' the platform, or a workspace, which must be listed), most tokens of the scope ('' any
--          number), ms until it expires ('' never), ms for which an expired one is remembered, then the record's fields
--          and values, flat
-- Returns  {'issued', the record flat}, {'quota', limit, used} or {'unknown'}: there is no such workspace.
--          The same token again answers 'issued' again.
local id, scope, limit, lasts = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local MOST_ENDED = 1000
if redis.call('EXISTS', K.token(id)) == 1 then return {'issued', redis.call('HGETALL', K.token(id))} end
if scope ~= '*' and not redis.call('ZSCORE', K.workspaces(), scope) then return {'unknown'} end
for _, ended in ipairs(redis.call('ZRANGEBYSCORE', K.ending(scope), '-inf', NOW, 'LIMIT', 0, MOST_ENDED)) do
  redis.call('ZREM', K.ending(scope), ended)
  redis.call('ZREM', K.tokens(scope), ended)
end
local used = redis.call('ZCARD', K.tokens(scope))
if limit and used >= limit then
  refuse(CALLED_BY or '', 'token.issue', id, 'quota-exceeded', CALLED_AS or '', {workspace = scope})
  return {'quota', limit, used}
end
local after = {workspace = scope}
for n = 6, #ARGV, 2 do
  if ARGV[n] ~= 'digest' then after[ARGV[n]] = ARGV[n + 1] end
end
audit(CALLED_BY or '', 'token.issue', id, 'accepted', CALLED_AS or '', nil, after)
redis.call('HSET', K.token(id), 'workspace', scope == '*' and '' or scope, 'created_at', NOW, unpack(ARGV, 6))
redis.call('ZADD', K.tokens(scope), 0, id)
if lasts then
  redis.call('HSET', K.token(id), 'expires_at', NOW + lasts)
  redis.call('ZADD', K.ending(scope), NOW + lasts, id)
  redis.call('PEXPIREAT', K.token(id), NOW + lasts + tonumber(ARGV[5]))
end
return {'issued', redis.call('HGETALL', K.token(id))}
