-- home: workspace
-- What waits and what runs, by class of tasks. Changes nothing. Bounded: it looks at no more classes and tasks than it is
-- told; counts of what lies beyond are left out, and the answer says that it is not complete.
-- KEYS[1]  the workspace's root
-- ARGV     most classes, most tasks to look at
-- Returns  {now, complete (1/0), pending, running, delayed, completed, failed and cancelled in the last minute,
--          counters of leases and tickets by lane (flat), rows}; a row is {class, waiting at each of the four
--          priorities, since when the head of its lines waits ('' nothing does), running}
local most, looks = tonumber(ARGV[1]), tonumber(ARGV[2])
local rows, found, complete = {}, {}, 1

local function row_of(class)
  if found[class] then return found[class] end
  if #rows == most then
    complete = 0
    return nil
  end
  rows[#rows + 1] = {class, 0, 0, 0, 0, '', 0}
  found[class] = rows[#rows]
  return found[class]
end

local function waits(class, nth, count, since)
  local row = row_of(class)
  if not row then return end
  row[1 + nth] = row[1 + nth] + count
  if since and since ~= '' and (row[6] == '' or tonumber(since) < tonumber(row[6])) then row[6] = since end
end

-- The tasks of a set, as far as the looks go.
local function each(key, act)
  if looks <= 0 then
    if redis.call('EXISTS', key) == 1 then complete = 0 end
    return
  end
  local ids = redis.call('ZRANGE', key, 0, looks - 1)
  if redis.call('ZCARD', key) > #ids then complete = 0 end
  looks = looks - #ids
  for _, id in ipairs(ids) do
    local t = load_routing(id)
    if t then act(t) end
  end
end

for nth, prio in ipairs(PRIORITIES) do
  for _, class in ipairs(redis.call('ZRANGE', K.waiting(prio), 0, most)) do
    local head = redis.call('ZRANGE', K.backlog(class, prio), 0, 0)[1]
    if head then
      local since = redis.call('HGET', K.task(head), 'waiting_since')
      waits(class, nth, redis.call('ZCARD', K.backlog(class, prio)), since)
    end
  end
end

local load = redis.call('HGETALL', K.load())
for n = 1, #load, 2 do
  local lane = string.match(load[n], '^tickets:(.+)$')
  if lane then
    for nth, prio in ipairs(PRIORITIES) do
      each(K.released(lane, prio), function(t) waits(class_of(t), nth, 1, t.waiting_since) end)
    end
  end
end

each(K.running(), function(t)
  local row = row_of(class_of(t))
  if row then row[7] = row[7] + 1 end
end)

local function lately(status) return redis.call('ZCOUNT', K.by(status), NOW - 60000, '+inf') end
return {NOW, complete, redis.call('ZCARD', K.by('PENDING')), redis.call('ZCARD', K.running()),
  redis.call('ZCARD', K.delayed()), lately('COMPLETED'), lately('FAILED'), lately('CANCELLED'), load, rows}
