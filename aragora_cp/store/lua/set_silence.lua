-- home: fleet
-- Silence alerts until a time, or end a silence.
-- KEYS[1]  the fleet's root
-- ARGV     its name, JSON with `ends` ('' removes it), most silences
-- Returns  'set', 'removed', 'unknown' or 'full'
local name = ARGV[1]
local known = redis.call('HGET', K.silences(), name)
if ARGV[2] == '' then
  if not known then return 'unknown' end
  audit(CALLED_BY, 'silence.remove', name, 'accepted', CALLED_AS, cjson.decode(known), nil)
  redis.call('HDEL', K.silences(), name)
  return 'removed'
end
if not known and #silences() >= tonumber(ARGV[3]) then
  refuse(CALLED_BY, 'silence.set', name, 'quota-exceeded', CALLED_AS)
  return 'full'
end
local silence = cjson.decode(ARGV[2])
audit(CALLED_BY, 'silence.set', name, 'accepted', CALLED_AS, known and cjson.decode(known) or nil, silence)
redis.call('HSET', K.silences(), name, ARGV[2])
return 'set'
