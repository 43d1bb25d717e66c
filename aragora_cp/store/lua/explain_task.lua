-- home: workspace
-- Everything that decides whether a task runs, read at one moment. Changes nothing.
-- KEYS[1]  the workspace's root
-- ARGV     task, JSON of the lanes that the workspace may use, window, most sub-tasks to name
-- Returns  JSON of what was found, or nothing when there is no such task. Lists may come as {}: a reader takes both.
local id, window, most = ARGV[1], tonumber(ARGV[3]), tonumber(ARGV[4])
local t = load_routing(id)
if not t then return nil end
local more = redis.call('HMGET', K.task(id), 'started', 'finished', 'run_at', 'due_for', 'h' .. t.attempt)
local class = class_of(t)

-- Of every lane that serves the class (a named agent has one of its own): what this workspace has in it.
local lanes = {}
local function look(name)
  lanes[name] = {
    tickets = redis.call('ZCARD', K.released(name, t.prio)),
    running = tonumber(redis.call('HGET', K.load(), 'running:' .. name) or '0'),
  }
end
if t.target ~= '' then look(class) end
for _, lane in ipairs(read_lanes(ARGV[2])) do
  if lane_serves(lane, class) then look(lane.name) end
end

local room = room_to_run()
local since = t.lane ~= '' and redis.call('ZSCORE', K.released(t.lane, t.prio), id)
return cjson.encode({
  status = t.status, attempt = t.attempt, agent = t.agent, target = t.target, placement = t.placement, prio = t.prio,
  required = t.caps, lane = since and t.lane or '', ticket_since = since or '', due = t.due, parked = t.parked,
  due_for = more[4] or '', started = more[1] or '', finished = more[2] or '',
  error_code = more[5] and string.match(more[5], '^%d+|([^|]*)|') or '',
  waits_for = redis.call('SRANDMEMBER', K.awaiting(id), most), waits_for_count = redis.call('SCARD', K.awaiting(id)),
  ahead = redis.call('ZRANK', K.backlog(class, t.prio), id) or '', lanes = lanes, window = window * TENANT.weight,
  workspace_status = TENANT.status, max_running = TENANT.max_running or '',
  running = redis.call('ZCARD', K.running()), room = room == math.huge and '' or math.max(0, room),
})
