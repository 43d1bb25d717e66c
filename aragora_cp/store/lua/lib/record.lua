-- A task's record: read, and moved from one status to the next. Payload, result and messages are opaque bytes.
-- The record, flat, less the fields named in `left_out`.
local function without(id, left_out)
  local flat, out = redis.call('HGETALL', K.task(id)), {}
  for n = 1, #flat, 2 do
    if not left_out[flat[n]] then
      out[#out + 1] = flat[n]
      out[#out + 1] = flat[n + 1]
    end
  end
  return out
end

-- Everything that decides a task's way, without its payload and result.
local ROUTING = {'status', 'prio', 'caps', 'target', 'attempt', 'retries', 'losses', 'max_retries', 'backoff', 'jitter',
  'timeout', 'queue_timeout', 'waited', 'waiting_since', 'seq', 'due', 'agent', 'lease', 'closed', 'deadline', 'lane',
  'run_lane', 'parked', 'parent', 'type', 'corr', 'placement', 'sent', 'payer', 'hold_quorum', 'approved_by', 'started'}
local function load_routing(id)
  local values = redis.call('HMGET', K.task(id), unpack(ROUTING))
  if not values[1] then return nil end
  local t = {}
  for i, name in ipairs(ROUTING) do t[name] = values[i] or '' end
  return t
end

local function put(id, t, ...)
  local pairs_ = {...}
  redis.call('HSET', K.task(id), ...)
  for i = 1, #pairs_, 2 do t[pairs_[i]] = tostring(pairs_[i + 1]) end
end

-- The only place where a status changes. An illegal move is a fault of ours and stops the script before it writes.
local function move(id, t, to)
  if not MOVES[t.status] or not MOVES[t.status][to] then
    error('illegal move of a task from ' .. tostring(t.status) .. ' to ' .. to)
  end
  redis.call('ZREM', K.by(t.status), id)
  redis.call('ZADD', K.by(to), NOW, id)
  put(id, t, 'status', to)
end

-- Who may write for an attempt. 'held': it runs and holds the lease. 'late': its lease ran out, nobody has claimed
-- since. 'closed': this very attempt has ended already (the writer repeats itself). Else 'stale', or 'unknown'.
local function fence(id, attempt, lease)
  local t = load_routing(id)
  if not t then return nil, 'unknown' end
  if lease == '' or t.attempt ~= attempt then return t, 'stale' end
  if t.closed == lease then return t, 'closed' end
  if t.lease ~= lease then return t, 'stale' end
  if t.status == 'RUNNING' then return t, 'held' end
  if t.status == 'PENDING' then return t, 'late' end
  return t, 'stale'
end

-- A caller's operation that may be sent twice (the answer to the first was lost) carries an id of its own.
local function note_call(id, call) redis.call('HSET', K.task(id), 'last_call', call) end
local function is_last_call(id, call) return redis.call('HGET', K.task(id), 'last_call') == call end
