-- home: workspace
-- Cancel a task that is not final. From here on every write of the agent that runs it is refused.
-- KEYS[1]  the workspace's root
-- ARGV     task, actor, correlation id, the call's own id
-- Returns  {'cancelled' | 'final' | 'unknown', agent that runs it or '', attempt, children, record flat}; the same call
--          again answers 'cancelled' again
local id = ARGV[1]
local t = load_routing(id)
if not t then return {'unknown'} end
local children = redis.call('SMEMBERS', K.children(id))
if is_last_call(id, ARGV[4]) then
  return {'cancelled', t.agent, t.attempt, children, redis.call('HGETALL', K.task(id))}
end
if MOVES[t.status].CANCELLED == nil then
  refuse(ARGV[2], 'task.cancel', id, 'already-final', ARGV[3])
  return {'final', '', t.attempt, children, redis.call('HGETALL', K.task(id))}
end
local agent = t.status == 'RUNNING' and t.agent or ''
audit(ARGV[2], 'task.cancel', id, 'accepted', ARGV[3], {status = t.status}, {status = 'CANCELLED'})
note_call(id, ARGV[4])
finalise(id, t, 'CANCELLED')
return {'cancelled', agent, t.attempt, children, redis.call('HGETALL', K.task(id))}
