-- home: workspace
-- Hold a slice of the records against the indexes, and mend what does not fit. For an operator; reads as many records as asked.
-- KEYS[1]  the workspace's root
-- ARGV     first rank, how many, fix (1/0)
-- Returns  {how many were looked at, findings: {kind, task} …}
local first, count, fix = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3] == '1'
local findings = {}
if fix and first == 0 then audit(CALLED_BY, 'workspace.mend', '', 'accepted', CALLED_AS) end
local STATUSES = {'HELD', 'PENDING', 'RUNNING', 'COMPLETED', 'FAILED', 'CANCELLED'}

local function found(kind, id)
  findings[#findings + 1] = {kind, id}
  return fix
end

local function check_index(id, t)
  for _, status in ipairs(STATUSES) do
    local listed = redis.call('ZSCORE', K.by(status), id)
    if status == t.status and not listed and found('not-listed', id) then
      redis.call('ZADD', K.by(status), NOW, id)
    elseif status ~= t.status and listed and found('listed-wrongly', id) then
      redis.call('ZREM', K.by(status), id)
    end
  end
end

local function places(id, t)
  local where = {}
  if redis.call('ZSCORE', K.backlog(class_of(t), t.prio), id) then where[#where + 1] = 'backlog' end
  if t.lane ~= '' and redis.call('ZSCORE', K.released(t.lane, t.prio), id) then where[#where + 1] = 'released' end
  if redis.call('ZSCORE', K.delayed(), id) then where[#where + 1] = 'delayed' end
  if t.parked ~= '' then where[#where + 1] = 'parked' end
  return where
end

local function check_pending(id, t)
  local where = places(id, t)
  local kind
  if #where == 0 then kind = 'nowhere' end
  if #where > 1 then kind = 'in-two-places' end
  if #where == 1 and where[1] == 'backlog' and not redis.call('ZSCORE', K.waiting(t.prio), class_of(t)) then
    kind = 'backlog-not-announced'
  end
  if #where == 1 and where[1] == 'parked' and redis.call('SCARD', K.awaiting(id)) == 0 then kind = 'parked-for-nothing' end
  if redis.call('ZSCORE', K.running(), id) then kind = 'lease-without-run' end
  if kind and found(kind, id) then
    leave_queue(id, t)
    leave_lease(id, t)
    enqueue(id, t)
  end
end

local function check_place(id, t)
  if t.status == 'PENDING' then return check_pending(id, t) end
  if #places(id, t) > 0 and found('queued-though-' .. string.lower(t.status), id) then
    leave_queue(id, t)
    put(id, t, 'parked', '')
  end
  local last = redis.call('ZSCORE', K.held(), id)
  if t.status == 'HELD' and not last and found('held-without-end', id) then
    redis.call('ZADD', K.held(), redis.call('HGET', K.task(id), 'hold_until') or NOW, id)
  elseif t.status ~= 'HELD' and last and found('held-though-' .. string.lower(t.status), id) then
    redis.call('ZREM', K.held(), id)
  end
  local leased = redis.call('ZSCORE', K.running(), id)
  if t.status == 'RUNNING' and not leased and found('run-without-lease', id) then
    redis.call('ZADD', K.running(), NOW, id)  -- run out already: the monitor judges it
  elseif t.status ~= 'RUNNING' and leased and found('lease-without-run', id) then
    leave_lease(id, t)
  end
end

local ids = redis.call('ZRANGE', K.tasks(), first, first + count - 1)
for _, id in ipairs(ids) do
  local t = load_routing(id)
  if not t then
    if found('no-record', id) then
      redis.call('ZREM', K.tasks(), id)
      for _, status in ipairs(STATUSES) do redis.call('ZREM', K.by(status), id) end
    end
  else
    check_index(id, t)
    check_place(id, t)
  end
end
return {#ids, findings}
