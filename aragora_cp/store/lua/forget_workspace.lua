-- home: fleet
-- One bounded step of deleting a workspace: its tokens and agents; at last its place in the list.
-- KEYS[1]  the fleet's root
-- ARGV     epoch of the calling leader, workspace, most of each kind, last (1: off the list when none is left)
-- Returns  1 when none is left, else 0; or 'deposed'
local workspace, last = ARGV[2], tonumber(ARGV[3]) - 1
if tonumber(redis.call('GET', K.epoch()) or '0') ~= tonumber(ARGV[1]) then return 'deposed' end
for _, index in ipairs({K.tokens(workspace), K.ending(workspace)}) do
  for _, id in ipairs(redis.call('ZRANGE', index, 0, last)) do
    redis.call('DEL', K.token(id))
    redis.call('ZREM', index, id)
  end
end
for _, id in ipairs(redis.call('ZRANGE', K.agents(workspace), 0, last)) do
  recount(id, '', '0', 0)
  redis.call('ZREM', K.beats(), id)
  redis.call('ZREM', K.offline(), id)
  redis.call('ZREM', K.agents(workspace), id)
  redis.call('ZREM', K.lost(), id)
  redis.call('DEL', K.agent(id), K.calls(id))
end
if redis.call('EXISTS', K.tokens(workspace), K.ending(workspace), K.agents(workspace)) > 0 then return 0 end
if ARGV[4] == '1' then redis.call('ZREM', K.workspaces(), workspace) end
return 1
