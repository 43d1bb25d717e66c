-- home: workspace
-- A person rejects a held task: it has failed.
-- KEYS[1]  the workspace's root
-- ARGV     task, actor, correlation id, the message that its error has
-- Returns  {'rejected' | 'own' | 'not-held' | 'unknown', record flat without payload}. The same again is answered again.
local id, actor, corr = ARGV[1], ARGV[2], ARGV[3]
local function answer(word) return {word, without(id, {payload = true})} end
local t = load_routing(id)
if not t then return {'unknown'} end
local f = redis.call('HMGET', K.task(id), 'actor', 'rejected_by')
if t.status ~= 'HELD' then
  if t.status == 'FAILED' and f[2] == actor then return answer('rejected') end
  return answer('not-held')
end
if is_own(t, f[1], actor) then return answer('own') end
reject_held(id, t, actor, corr, may_keep(ARGV[4]) and ARGV[4] or 'the message was not encrypted, and has been left out')
put(id, t, 'rejected_by', actor)
return answer('rejected')
