-- home: trail
-- Append a seal, unless somebody else has sealed since: a trail has one seal of each number, so it cannot fork.
-- KEYS[1]  the trail's root
-- ARGV     number of the seal that it was made after (0: none), then its fields and values, flat
-- Returns  1 when it stands, 0 when it came too late
local last = redis.call('XREVRANGE', K.seals(), '+', '-', 'COUNT', 1)[1]
if (last and number_of(last) or 0) ~= tonumber(ARGV[1]) then return 0 end
redis.call('XADD', K.seals(), string.format('%d-0', tonumber(ARGV[1]) + 1), unpack(ARGV, 2))
return 1
