-- home: trail
-- What of a trail is not sealed yet. Refusals of an earlier minute that got no entry of their own get theirs here.
-- KEYS[1]  the trail's root
-- ARGV     most entries
-- Returns  {the last seal as {id, fields flat}, or nil; {id, fields flat} of each entry; now}
tell_uncounted()
local seal = redis.call('XREVRANGE', K.seals(), '+', '-', 'COUNT', 1)[1]
local start = seal and '(' .. field_of(seal, 'last') or '-'
return {seal or false, redis.call('XRANGE', K.audit(), start, '+', 'COUNT', ARGV[1]), NOW}
