-- A task that a policy holds until people approve it. `held` has it by the time after which it is too late.

-- Whether `actor` submitted the task: itself, or the task above it that a sub-task came from.
local function is_own(t, submitter, actor) return submitter == actor or actor == 'token:' .. t.payer end

-- Ask for approval, or ask anew: what was approved before counts no more.
local function ask(id, t, quorum, expires_ms, version, rules, digest)
  local last = NOW + expires_ms
  redis.call('ZADD', K.held(), last, id)
  put(id, t, 'hold_quorum', quorum, 'hold_ms', expires_ms, 'hold_until', last, 'hold_version', version,
    'hold_rules', rules, 'hold_digest', digest, 'approved_by', '')
end

-- A task that may run: at its place at once, or from `due` on.
local function let_in(id, t, due, lanes, window, out)
  if due > NOW then
    delay_until(id, t, due, 'delayed')
    redis.call('HSET', K.task(id), 'run_at', due)
  else
    enqueue(id, t)
    place(t.prio, lanes, window, out)
  end
end

local function reject_held(id, t, actor, corr, message)
  audit(actor, 'task.reject', id, 'accepted', corr, {status = 'HELD'}, {status = 'FAILED', code = 'rejected'})
  fail_finally(id, t, 'rejected', message, '0')
end
