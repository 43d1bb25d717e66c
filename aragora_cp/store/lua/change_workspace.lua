-- home: workspace
-- Change the given settings of a workspace, and no other. The status `deleting` is for good.
-- KEYS[1]  the workspace's root
-- ARGV     name and action for the audit, then settings and values, flat ('' none any more)
-- Returns  {'changed' | 'deleting' (refused), the record flat} or {'unknown'}
local status = redis.call('HGET', K.workspace(), 'status')
if not status then return {'unknown'} end
if status == 'deleting' then
  refuse(CALLED_BY or '', ARGV[2], ARGV[1], 'conflict', CALLED_AS or '')
  return {'deleting', redis.call('HGETALL', K.workspace())}
end
local before, after = {}, {}
for n = 3, #ARGV, 2 do
  before[ARGV[n]] = redis.call('HGET', K.workspace(), ARGV[n]) or ''
  after[ARGV[n]] = ARGV[n + 1]
end
audit(CALLED_BY or '', ARGV[2], ARGV[1], 'accepted', CALLED_AS or '', before, after)
if after.rate_limits then redis.call('DEL', K.limits()) end  -- what was counted was counted by others
for name, value in pairs(after) do
  if value == '' then redis.call('HDEL', K.workspace(), name) else redis.call('HSET', K.workspace(), name, value) end
end
return {'changed', redis.call('HGETALL', K.workspace())}
