-- home: workspace
-- One look of the monitor at one workspace: timers, lost leases, windows, tickets, clean-up. Each part is bounded.
-- KEYS[1]  the workspace's root
-- ARGV[1]  JSON: epoch, judge (lost leases may be judged), window, most (of each kind a look), grace (ms beyond a time
--          limit), retention (ms), resend (ms after which a missing ticket is sent again), move (ms after which a ticket
--          goes to an idle lane), ageing (ms of waiting that raise a ticket by one priority), short (lanes whose queue holds fewer tickets than are out), idle (lanes with a free
--          slot and an empty queue), reserved (ms after which it is looked whether a task that has reserved money is there)
-- ARGV[2]  JSON of the lanes that this workspace may use
-- ARGV[3]  chance in [0, 1)
-- Returns  {'swept', ms of the next look (0: next tick, -1: none), tickets, load flat, repairs flat, counts since the last
--          look flat, {pending, delayed, running, ms since when the oldest waits ('' none), {class, since …} that wait and no
--          lane serves}}, {'deposed'}, or {'deleting'}: there is nothing to look after any more
local c = cjson.decode(ARGV[1])
local lanes, chance = read_lanes(ARGV[2]), tonumber(ARGV[3])
local tickets, repairs = {}, {}

local seen = tonumber(redis.call('GET', K.epoch()) or '0')
if seen > c.epoch then return {'deposed'} end
if seen < c.epoch then redis.call('SET', K.epoch(), c.epoch) end
if TENANT.status == 'deleting' then return {'deleting'} end
local retention = TENANT.retention or c.retention

local function repaired(kind, by)
  repairs[kind] = (repairs[kind] or 0) + (by or 1)
end

-- How much there is, and what waits: the head of each queue, whatever their length.
local MOST_UNSERVED = 20
local function since_of(id) return id and tonumber(redis.call('HGET', K.task(id), 'waiting_since') or '') end
local function gauges(usable)
  local oldest, unserved = nil, {}
  local function older(since) if since and (not oldest or since < oldest) then oldest = since end end
  for _, prio in ipairs(PRIORITIES) do
    for _, class in ipairs(redis.call('ZRANGE', K.waiting(prio), 0, -1)) do
      local since = since_of(redis.call('ZRANGE', K.backlog(class, prio), 0, 0)[1])
      older(since)
      local served = false
      for _, lane in ipairs(usable) do served = served or lane_serves(lane, class) end
      if not served and #unserved < 2 * MOST_UNSERVED then
        unserved[#unserved + 1] = class
        unserved[#unserved + 1] = since or NOW
      end
    end
  end
  for _, lane in ipairs(usable) do
    for _, prio in ipairs(PRIORITIES) do
      older(since_of(redis.call('ZRANGE', K.released(lane.name, prio), 0, 0)[1]))
    end
  end
  return {redis.call('ZCARD', K.by('PENDING')), redis.call('ZCARD', K.delayed()), redis.call('ZCARD', K.running()),
    oldest or '', unserved}
end

for _, id in ipairs(redis.call('ZRANGEBYSCORE', K.delayed(), '-inf', NOW, 'LIMIT', 0, c.most)) do
  redis.call('ZREM', K.delayed(), id)
  local t = load_routing(id)
  if t and t.status == 'PENDING' then enqueue(id, t) end
end

for _, id in ipairs(redis.call('ZRANGEBYSCORE', K.deadlines(), '-inf', NOW, 'LIMIT', 0, c.most)) do
  redis.call('ZREM', K.deadlines(), id)
  local t = load_routing(id)
  if t and t.status == 'PENDING' then
    audit('monitor', 'task.expire', id, 'failed', t.corr, {status = t.status}, {status = 'FAILED', code = 'expired'})
    fail_finally(id, t, 'expired', 'no agent took the task within its queue_timeout', '0')
    repaired('expired')
  end
end

for _, id in ipairs(redis.call('ZRANGEBYSCORE', K.held(), '-inf', NOW, 'LIMIT', 0, c.most)) do
  redis.call('ZREM', K.held(), id)
  local t = load_routing(id)
  if t and t.status == 'HELD' then
    reject_held(id, t, 'monitor', t.corr, 'it was not approved in time')
    repaired('not-approved')
  end
end

if c.judge == 1 then
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', K.running(), '-inf', NOW, 'LIMIT', 0, c.most)) do
    local t = load_routing(id)
    if not t or t.status ~= 'RUNNING' then
      redis.call('ZREM', K.running(), id)
      repaired('stray-lease')
    elseif NOW >= tonumber(t.deadline) + c.grace then
      fail_attempt(id, t, 'timeout', 'the attempt ran longer than its time limit', '1', '0', chance, 'monitor')
      repaired('timeout')
    else
      fail_attempt(id, t, 'agent-lost', 'the agent stopped renewing its lease', '1', '1', chance, 'monitor')
      repaired('lost-lease')
    end
  end
  if redis.call('ZCARD', K.by('RUNNING')) > redis.call('ZCARD', K.running()) then
    for _, id in ipairs(redis.call('ZRANGE', K.by('RUNNING'), 0, c.most - 1)) do
      if not redis.call('ZSCORE', K.running(), id) then
        -- A record that runs without a lease: give it one that has run out, the next look judges it.
        redis.call('ZADD', K.running(), NOW, id)
        repaired('no-lease')
      end
    end
  end
end

-- Tickets in lanes whose agents are all gone go back to the backlog, for another lane that can serve them.
local by_name = {}
for _, lane in ipairs(lanes) do by_name[lane.name] = lane end
local counts = redis.call('HGETALL', K.load())
for n = 1, #counts, 2 do
  local name = string.match(counts[n], '^tickets:(.+)$')
  if name and string.sub(name, 1, 1) ~= '@' and (not by_name[name] or by_name[name].slots <= 0) then
    for _, prio in ipairs(PRIORITIES) do
      for _, id in ipairs(redis.call('ZRANGE', K.released(name, prio), 0, c.most - 1)) do
        local t = load_routing(id)
        if t then leave_window(id, t) else redis.call('ZREM', K.released(name, prio), id) end
        if t and t.status == 'PENDING' then enqueue(id, t) end
        repaired('lane-gone')
      end
    end
  end
end

-- Named agents' own lanes: those with something waiting or with tickets out.
local usable = {}
for _, lane in ipairs(lanes) do
  if lane.slots > 0 then usable[#usable + 1] = lane end
end
local direct = {}
local function add_direct(name)
  if string.sub(name, 1, 1) == '@' and not direct[name] then
    direct[name] = true
    usable[#usable + 1] = {name = name, has = {}, slots = 1, running = 0, tickets = 0}
  end
end
for n = 1, #counts, 2 do
  local name = string.match(counts[n], '^tickets:(.+)$')
  if name then add_direct(name) end
end
for _, prio in ipairs(PRIORITIES) do
  for _, class in ipairs(redis.call('ZRANGE', K.waiting(prio), 0, -1)) do add_direct(class) end
end

for _, prio in ipairs(PRIORITIES) do
  if redis.call('ZCARD', K.waiting(prio)) > 0 then place(prio, usable, c.window, tickets) end
end

for _, lane in ipairs(usable) do
  local aged = age_tickets(lane.name, c.ageing, c.most, tickets)
  if aged > 0 then repaired('aged', aged) end
end

-- Lost tickets: fewer in the queue than are out. Sending one more is always safe.
for _, name in ipairs(c.short) do
  for _, prio in ipairs(PRIORITIES) do
    local key = K.released(name, prio)
    for _, id in ipairs(redis.call('ZRANGEBYSCORE', key, '-inf', NOW - c.resend, 'LIMIT', 0, c.most)) do
      redis.call('ZADD', key, NOW, id)
      tickets[#tickets + 1] = ticket(id, name, prio)
      repaired('ticket-resent')
    end
  end
end

-- A ticket that waits in a busy lane while another capable lane is idle moves there; the old one is harmless.
for _, name in ipairs(c.idle) do
  local idle = by_name[name]
  local room = idle and idle.slots - idle.running or 0
  for _, prio in ipairs(PRIORITIES) do
    for _, lane in ipairs(usable) do
      if room > 0 and lane.name ~= name and not direct[lane.name] and lane.running >= lane.slots then
        local key = K.released(lane.name, prio)
        for _, id in ipairs(redis.call('ZRANGEBYSCORE', key, '-inf', NOW - c.move, 'LIMIT', 0, c.most)) do
          local t = load_routing(id)
          local open = redis.call('ZCARD', K.released(name, prio)) < c.window * TENANT.weight
          if room > 0 and open and t and t.status == 'PENDING' and lane_serves(idle, class_of(t)) then
            leave_window(id, t)
            release(id, name, prio, tickets)
            repaired('ticket-moved')
            room = room - 1
          end
        end
      end
    end
  end
end

for _, status in ipairs({'COMPLETED', 'FAILED', 'CANCELLED'}) do
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', K.by(status), '-inf', NOW - retention, 'LIMIT', 0, c.most)) do
    redis.call('DEL', K.task(id), K.children(id), K.awaiting(id))
    redis.call('ZREM', K.tasks(), id)
    redis.call('ZREM', K.by(status), id)
    repaired('removed')
  end
end

-- What was reserved for tasks that are gone, whatever took them: it is free again within `reserved` ms.
for _, id in ipairs(redis.call('ZRANGEBYSCORE', K.reserved(), '-inf', NOW - c.reserved, 'LIMIT', 0, c.most)) do
  local status = redis.call('HGET', K.task(id), 'status')
  if status and MOVES[status].CANCELLED then
    redis.call('ZADD', K.reserved(), NOW, id)
  else
    return_reservation(id)
    repaired('stray-reservation')
  end
end

-- When to look again.
local next_look = -1
local function by_then(ms)
  if ms and (next_look < 0 or ms < next_look) then next_look = ms end
end
for _, index in ipairs({K.delayed(), K.deadlines(), K.held()}) do
  local head = redis.call('ZRANGE', index, 0, 0, 'WITHSCORES')
  by_then(head[2] and math.max(tonumber(head[2]), NOW + 1))
end
for _, status in ipairs({'COMPLETED', 'FAILED', 'CANCELLED'}) do
  local head = redis.call('ZRANGE', K.by(status), 0, 0, 'WITHSCORES')
  by_then(head[2] and math.max(tonumber(head[2]) + retention, NOW + 1))
end
local oldest = redis.call('ZRANGE', K.reserved(), 0, 0, 'WITHSCORES')
by_then(oldest[2] and math.max(tonumber(oldest[2]) + c.reserved, NOW + 1))
local load_now = redis.call('HGETALL', K.load())
local busy = #load_now > 0 or redis.call('ZCARD', K.running()) > 0
for _, prio in ipairs(PRIORITIES) do busy = busy or redis.call('ZCARD', K.waiting(prio)) > 0 end
if busy then next_look = 0 end

local flat = {}
for kind, n in pairs(repairs) do
  flat[#flat + 1] = kind
  flat[#flat + 1] = n
end

local counted = redis.call('HGETALL', K.counts())
redis.call('DEL', K.counts())
return {'swept', next_look, tickets, load_now, flat, counted, gauges(usable)}
