-- A workspace's own waiting room. A class of tasks is one set of required capabilities, behind `private!` or `shared!`
-- when only agents of that pool will do; or one named agent (@id).
-- `waiting:<priority>` holds the classes that are not empty, by the place of their head, and is kept exact.
local PRIORITIES = {'0', '1', '2', '3'}

local function class_of(t)
  if t.target ~= '' then return '@' .. t.target end
  if t.placement == 'private' or t.placement == 'shared' then return t.placement .. '!' .. t.caps end
  return t.caps
end

local function refresh_head(class, prio)
  local head = redis.call('ZRANGE', K.backlog(class, prio), 0, 0, 'WITHSCORES')
  if #head == 0 then
    redis.call('ZREM', K.waiting(prio), class)
  else
    redis.call('ZADD', K.waiting(prio), head[2], class)
  end
end

-- Waits at the place it got when it was submitted: a retry stands before what came later. One that waits already (its
-- lane has gone) does not begin to wait anew.
local function enqueue(id, t)
  local class = class_of(t)
  redis.call('ZADD', K.backlog(class, t.prio), t.seq, id)
  refresh_head(class, t.prio)
  local since = tonumber(t.waiting_since) or NOW
  put(id, t, 'waiting_since', since, 'lane', '', 'due', '', 'parked', '', 'sent', '')
  if t.queue_timeout ~= '' then
    redis.call('ZADD', K.deadlines(), since + tonumber(t.queue_timeout) - tonumber(t.waited), id)
  end
end

local function leave_backlog(id, t)
  local class = class_of(t)
  if redis.call('ZREM', K.backlog(class, t.prio), id) == 1 then refresh_head(class, t.prio) end
end

-- Whether the agents of `lane` may run this class. A named agent's lane and its class carry the same name.
local function lane_serves(lane, class)
  if string.sub(class, 1, 1) == '@' or string.sub(lane.name, 1, 1) == '@' then return lane.name == class end
  local pool, capabilities = string.match(class, '^(%a+)!(.*)$')
  if pool and (pool == 'shared') ~= (lane.pool == 'shared') then return false end
  for capability in string.gmatch(capabilities or class, '[^+]+') do
    if not lane.has[capability] then return false end
  end
  return true
end

-- The task longest in its place among all classes that `lane` serves. Cost: one look per class that waits.
local function take_next(lane, prio)
  for _, class in ipairs(redis.call('ZRANGE', K.waiting(prio), 0, -1)) do
    if lane_serves(lane, class) then
      local id = redis.call('ZRANGE', K.backlog(class, prio), 0, 0)[1]
      redis.call('ZREM', K.backlog(class, prio), id)
      refresh_head(class, prio)
      return id
    end
  end
  return nil
end
