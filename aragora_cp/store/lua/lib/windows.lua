-- Release: from the backlog into a lane's queue, only as far as the window of (workspace, lane, priority) is open.
-- Lanes come as JSON from the caller: {name, pool, capabilities, off, slots, running, tickets}; `off` is what its agents
-- could do and is switched off for this workspace, the last two are the leader's count over all workspaces. A ticket is {task, attempt, lane, priority, type, timeout in ms, correlation id}.
local function read_lanes(json)
  local lanes = cjson.decode(json)
  for _, lane in ipairs(lanes) do
    lane.has = {}
    for _, capability in ipairs(lane.capabilities) do lane.has[capability] = true end
  end
  return lanes
end

local function needs_what_is_off(t, lane)
  for _, capability in ipairs(lane.off or {}) do
    if string.find('+' .. t.caps .. '+', '+' .. capability .. '+', 1, true) then return true end
  end
  return false
end

local function ticket(id, lane_name, prio)
  local f = redis.call('HMGET', K.task(id), 'attempt', 'type', 'timeout', 'corr')
  return {id, tonumber(f[1]) + 1, lane_name, tonumber(prio), f[2], tonumber(f[3]), f[4] or ''}
end

local function count_tickets(lane_name, by)
  if redis.call('HINCRBY', K.load(), 'tickets:' .. lane_name, by) <= 0 then
    redis.call('HDEL', K.load(), 'tickets:' .. lane_name)
  end
end

local function release(id, lane_name, prio, out)
  redis.call('ZADD', K.released(lane_name, prio), NOW, id)
  redis.call('HSET', K.task(id), 'lane', lane_name)
  count_tickets(lane_name, 1)
  out[#out + 1] = ticket(id, lane_name, prio)
end

local function leave_window(id, t)
  if t.lane ~= '' and redis.call('ZREM', K.released(t.lane, t.prio), id) == 1 then count_tickets(t.lane, -1) end
end

-- Tickets per free slot, smaller is better; a lane without a free slot comes after every lane that has one.
local function crowding(lane)
  local mine = 0
  for _, prio in ipairs(PRIORITIES) do mine = mine + redis.call('ZCARD', K.released(lane.name, prio)) end
  local tickets = math.max(mine, lane.tickets)
  local running = math.max(lane.running, tonumber(redis.call('HGET', K.load(), 'running:' .. lane.name) or '0'))
  local free = lane.slots - running
  if free > 0 then return tickets / free end
  return 1e6 + tickets / math.max(lane.slots, 1)
end

-- Let out what the windows of `lanes` allow at one priority, each task into the least crowded lane. The window is the
-- configured one times the workspace's weight; no more go out than may run.
local function place(prio, lanes, window, out)
  if redis.call('ZCARD', K.waiting(prio)) == 0 then return end
  local room = room_to_run()
  window = window * TENANT.weight
  local open = {}
  for _, lane in ipairs(lanes) do
    if redis.call('ZCARD', K.released(lane.name, prio)) < window then open[#open + 1] = lane end
  end
  while #open > 0 and room > 0 do
    local best = 1
    if #open > 1 then
      local least = crowding(open[1])
      for n = 2, #open do
        local crowd = crowding(open[n])
        if crowd < least then best, least = n, crowd end
      end
    end
    local lane = open[best]
    local id = take_next(lane, prio)
    if id then
      release(id, lane.name, prio, out)
      room = room - 1
    end
    if not id or redis.call('ZCARD', K.released(lane.name, prio)) >= window then table.remove(open, best) end
  end
end
