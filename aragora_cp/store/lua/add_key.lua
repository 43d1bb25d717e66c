-- home: workspace
-- Give the workspace a new key, which encrypts from now on; unless somebody else has given it one since.
-- KEYS[1]  the workspace's root
-- ARGV     id of the key that encrypts so far ('' none), id of the new key, the new key wrapped, a wrapped key for digests
--          (kept only when there is none)
-- Returns  the keys, flat, as they are now
if (redis.call('HGET', K.keys(), 'current') or '') == ARGV[1] then
  -- The first one is no operation of anybody's: it comes with the first value.
  if ARGV[1] ~= '' then audit(CALLED_BY, 'keys.rotate', ARGV[2], 'accepted', CALLED_AS, {current = ARGV[1]}) end
  redis.call('HSET', K.keys(), ARGV[2], ARGV[3], 'current', ARGV[2])
  redis.call('HSETNX', K.keys(), 'digest', ARGV[4])
end
return redis.call('HGETALL', K.keys())
