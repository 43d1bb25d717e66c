-- home: fleet
-- Be the leader for a while longer, or become it when there is none. A new leader gets a new epoch, and every sweep
-- carries the epoch: one of a deposed leader changes nothing.
-- Leases and heartbeats are not judged for one heartbeat timeout after a gap in the leader's own ticks: the silence may
-- have been ours.
-- KEYS[1]  the fleet's root
-- ARGV     this monitor's token, lease ms, gap ms, hold-off ms
-- Returns  {epoch, judge 1/0, new 1/0}, or {0, 0, 0} while another one leads
local holder = redis.call('GET', K.leader())
-- A lease that has no end is no lease of ours: whatever left it there must not keep the fleet without a leader.
if holder and redis.call('PTTL', K.leader()) == -1 then holder = false end
if holder and holder ~= ARGV[1] then return {0, 0, 0} end
redis.call('SET', K.leader(), ARGV[1], 'PX', ARGV[2])
local new = 0
if not holder then
  redis.call('INCR', K.epoch())
  new = 1
  for _, workspace in ipairs(redis.call('ZRANGE', K.active(), 0, -1)) do redis.call('ZADD', K.active(), 0, workspace) end
end
local tick = redis.call('HMGET', K.tick(), 'at', 'judge_from')
local judge_from = tonumber(tick[2] or '0')
if not tick[1] or NOW - tonumber(tick[1]) > tonumber(ARGV[3]) then judge_from = NOW + tonumber(ARGV[4]) end
redis.call('HSET', K.tick(), 'at', NOW, 'judge_from', judge_from)
return {tonumber(redis.call('GET', K.epoch())), NOW >= judge_from and 1 or 0, new}
