-- home: workspace
-- One bounded step of deleting a workspace: its keys first, so that nothing of it can be read any more; then its tasks,
-- each cancelled and removed; then, by name, whatever else it has. What is audited stays, for as long as that is kept.
-- KEYS[1]  the workspace's root
-- ARGV     epoch of the calling leader, most tasks, most names to look at, ms after which nobody takes it for alive any
--          more, last (1: it is empty, its own record may go)
-- Returns  {'more' | 'empty' (only its own record is left) | 'gone' | 'kept' (it is not being deleted) | 'deposed',
--          {agent, task, attempt} flat of the attempts that were cancelled}
local most, looks = tonumber(ARGV[2]), tonumber(ARGV[3])
if tonumber(redis.call('GET', K.epoch()) or '0') > tonumber(ARGV[1]) then return {'deposed', {}} end
if TENANT.status ~= 'deleting' then return {'kept', {}} end
redis.call('DEL', K.keys())

local stopped = {}
for _, id in ipairs(redis.call('ZRANGE', K.tasks(), 0, most - 1)) do
  local t = load_routing(id)
  if t and MOVES[t.status].CANCELLED then
    if t.status == 'RUNNING' then
      for _, part in ipairs({t.agent, id, t.attempt}) do stopped[#stopped + 1] = part end
    end
    finalise(id, t, 'CANCELLED')
  end
  if t then redis.call('ZREM', K.by(t.status), id) end
  redis.call('DEL', K.task(id), K.children(id), K.awaiting(id), K.awaited(id))
  redis.call('ZREM', K.tasks(), id)
end
redis.call('HSETNX', K.workspace(), 'closed_at', NOW)
local settled = tonumber(redis.call('HGET', K.workspace(), 'closed_at')) + tonumber(ARGV[4]) <= NOW
if not settled or redis.call('EXISTS', K.tasks()) == 1 then return {'more', stopped} end

if ARGV[5] == '1' then
  redis.call('DEL', K.workspace(), K.epoch())
  return {'gone', stopped}
end
local stays = {[K.workspace()] = true, [K.epoch()] = true, [K.audit()] = true, [K.seals()] = true, [K.refused()] = true}
local found = redis.call('SCAN', redis.call('HGET', K.workspace(), 'purged_to') or '0',
  'MATCH', KEYS[1] .. '*', 'COUNT', looks)
for _, key in ipairs(found[2]) do
  if not stays[key] then redis.call('UNLINK', key) end
end
redis.call('HSET', K.workspace(), 'purged_to', found[1])
return {found[1] == '0' and 'empty' or 'more', stopped}
