-- home: workspace
-- Enter a workspace, unless there is one of that name.
-- KEYS[1]  the workspace's root
-- ARGV     mark of this call (sent twice, it is answered alike), the workspace's name, then its settings, flat
-- Returns  {'created' | 'exists' | 'deleting', the record flat}
local seen = redis.call('HMGET', K.workspace(), 'status', 'mark')
if seen[1] and seen[2] ~= ARGV[1] then
  refuse(CALLED_BY or '', 'workspace.create', ARGV[2], 'conflict', CALLED_AS or '')
  return {seen[1] == 'deleting' and 'deleting' or 'exists', redis.call('HGETALL', K.workspace())}
end
if not seen[1] then
  local after = {}
  for n = 3, #ARGV, 2 do after[ARGV[n]] = ARGV[n + 1] end
  audit(CALLED_BY or '', 'workspace.create', ARGV[2], 'accepted', CALLED_AS or '', nil, after)
  redis.call('HSET', K.workspace(), 'status', 'active', 'mark', ARGV[1], 'created_at', NOW)
  if #ARGV > 2 then redis.call('HSET', K.workspace(), unpack(ARGV, 3)) end
end
return {'created', redis.call('HGETALL', K.workspace())}
