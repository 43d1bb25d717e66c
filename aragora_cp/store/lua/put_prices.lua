-- home: trail
-- Set all prices: a new version, which never changes. The oldest version beyond those kept goes.
-- KEYS[1]  the root of the platform's or of a workspace's keys
-- ARGV     the prices, JSON; versions kept
-- Returns  {version, now}
local version = tonumber(redis.call('HGET', K.prices(), 'current') or '0') + 1
audit(CALLED_BY, 'prices.put', tostring(version), 'accepted', CALLED_AS, {version = version - 1}, {version = version})
redis.call('HSET', K.prices(), 'current', version, 'v' .. version, ARGV[1], 'at' .. version, NOW)
redis.call('HDEL', K.prices(), 'v' .. (version - tonumber(ARGV[2])), 'at' .. (version - tonumber(ARGV[2])))
return {version, NOW}
