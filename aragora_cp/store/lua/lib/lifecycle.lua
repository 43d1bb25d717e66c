-- How attempts and tasks end. Every ending of every script goes through here.

-- What an agent says of its use, as the arguments from `at` on have it: tokens, model ('' keeps), cost in millionths.
local function read_usage(at)
  return {input_tokens = tonumber(ARGV[at]), output_tokens = tonumber(ARGV[at + 1]), model = ARGV[at + 2],
    cost = tonumber(ARGV[at + 3]), cached_tokens = tonumber(ARGV[at + 4]), price = ARGV[at + 5]}
end

-- It adds up in the record, in the budgets as `plan` has it (see charge_plan), and in the day's usage.
local COUNTED = {'input_tokens', 'output_tokens', 'cached_tokens', 'cost'}
local function add_usage(id, t, usage, plan)
  local amounts, any = {}, false
  for _, name in ipairs(COUNTED) do
    amounts[name] = usage[name]
    any = any or usage[name] ~= 0
    if usage[name] ~= 0 then redis.call('HINCRBY', K.task(id), name, usage[name]) end
  end
  if usage.model ~= '' then redis.call('HSET', K.task(id), 'model', usage.model) end
  if usage.price ~= '' then redis.call('HSET', K.task(id), 'price', usage.price) end
  charge(plan)
  if any then note_usage(t, usage.model, amounts) end
end

-- What a task leaves behind when it ends: nothing reserved, its cost learned, itself counted.
local function settle(id, t, to)
  return_reservation(id)
  local known = redis.call('HMGET', K.task(id), 'cost', 'model')
  if to == 'COMPLETED' and known[1] then learn_cost(t.type, tonumber(known[1])) end
  note_usage(t, known[2] or '', {tasks = 1})
end

-- Whether it was ended from outside, so that the agent that runs it must stop.
local function was_stopped(id, t)
  return t.status == 'CANCELLED'
    or (t.status == 'FAILED' and redis.call('HGET', K.task(id), 'err_code') == 'budget-exceeded')
end

-- Out of every place where a task can wait.
local function leave_queue(id, t)
  leave_backlog(id, t)
  leave_window(id, t)
  redis.call('ZREM', K.delayed(), id)
  redis.call('ZREM', K.deadlines(), id)
  redis.call('ZREM', K.held(), id)
end

local function count_running(lane_name, by)
  if redis.call('HINCRBY', K.load(), 'running:' .. lane_name, by) <= 0 then
    redis.call('HDEL', K.load(), 'running:' .. lane_name)
  end
end

local function leave_lease(id, t)
  if redis.call('ZREM', K.running(), id) == 1 then
    count_running(t.run_lane, -1)
    observe('run_time_seconds', NOW - (tonumber(t.started) or NOW))
  end
end

-- A parked task runs again as soon as the last task that it waits for is final. Answers whether one does.
local function wake_parked(id)
  local woken = false
  for _, waiting in ipairs(redis.call('SMEMBERS', K.awaited(id))) do
    if redis.call('SREM', K.awaiting(waiting), id) == 1 and redis.call('EXISTS', K.awaiting(waiting)) == 0 then
      local t = load_routing(waiting)
      if t and t.status == 'PENDING' and t.parked ~= '' then
        enqueue(waiting, t)
        woken = true
      end
    end
  end
  redis.call('DEL', K.awaited(id))
  return woken
end

-- Answers whether a parked task was woken by it: then there is something to place.
local function finalise(id, t, to)
  if t.status == 'RUNNING' then leave_lease(id, t) else leave_queue(id, t) end
  move(id, t, to)
  put(id, t, 'finished', NOW, 'closed', t.lease, 'due', '', 'parked', '')
  redis.call('DEL', K.awaiting(id))
  settle(id, t, to)
  event(string.lower(to), id, t)
  redis.call('PUBLISH', K.done(id), to)
  return wake_parked(id)
end

-- One line of a task's history, kept in its record: time, code, agent, whether it may be retried, message.
local function note_attempt(id, t, code, message, retryable)
  count('attempts_failed|' .. (CODES[code] and code or 'other'))
  redis.call('HSET', K.task(id), 'h' .. t.attempt, table.concat({NOW, code, t.agent, retryable, message}, '|'))
end

local function fail_finally(id, t, code, message, retryable)
  put(id, t, 'err_code', code, 'err_message', message, 'err_retryable', retryable)
  finalise(id, t, 'FAILED')
end

-- Back to PENDING; the attempt number stays until the next claim. `keep` keeps the lease, so that a late result counts.
local function back_to_pending(id, t, keep)
  leave_lease(id, t)
  move(id, t, 'PENDING')
  if keep then put(id, t, 'agent', '') else put(id, t, 'agent', '', 'closed', t.lease, 'lease', '') end
end

-- The wait before the next retry: the n-th of the ceilings that were worked out at submit (the last one repeats).
local function backoff_ms(t, chance)
  local n, ceiling = 0, 0
  for text in string.gmatch(t.backoff, '[^,]+') do
    ceiling = tonumber(text)
    if n >= tonumber(t.retries) then break end
    n = n + 1
  end
  if t.jitter == '1' then ceiling = ceiling * chance end
  return math.floor(ceiling)
end

-- Wait until `due`, in the store; never in an agent's memory. `why`: what whoever asks for the reason is told, the
-- code of a reason of `aragora_cp.why`.
local function delay_until(id, t, due, why)
  redis.call('ZADD', K.delayed(), due, id)
  put(id, t, 'due', due, 'due_for', why, 'lane', '', 'waiting_since', '')
end

-- An attempt ended badly. One allowance for all reasons: what the handler did and what the delivery lost.
-- lost '1': process or agent gone; it is tried again at once at its old place. Answers 'retry' or 'failed'.
local function fail_attempt(id, t, code, message, retryable, lost, chance, actor)
  local final = retryable ~= '1' or tonumber(t.retries) >= tonumber(t.max_retries)
  local outcome = t.status ~= 'RUNNING' and 'ignored' or final and 'failed' or 'retry'
  audit(actor, 'task.fail', id, outcome, t.corr, {status = t.status, attempt = tonumber(t.attempt)},
    {code = code, status = outcome == 'failed' and 'FAILED' or 'PENDING'})
  note_attempt(id, t, code, message, retryable)
  if outcome == 'ignored' then return outcome end
  if lost == '1' then put(id, t, 'losses', tonumber(t.losses) + 1) end
  if final then
    if lost == '1' and tonumber(t.losses) > 1 and tonumber(t.losses) == tonumber(t.retries) + 1 then
      code, message = 'poisoned', 'every attempt took its agent\'s process down'
    end
    fail_finally(id, t, code, message, retryable)
    return 'failed'
  end
  back_to_pending(id, t, lost == '1')
  local due = NOW + backoff_ms(t, chance)
  put(id, t, 'retries', tonumber(t.retries) + 1)
  if lost == '1' then enqueue(id, t) else delay_until(id, t, due, 'backoff') end
  event('retrying', id, t)
  return 'retry'
end
