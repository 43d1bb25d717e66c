-- home: workspace
-- Give one attempt of a task to an agent: state, lease and deadline in one write; then let the next tickets out.
-- KEYS[1]  the workspace's root
-- ARGV     task, attempt of the ticket, lease token, agent, the agent's lane, lanes JSON (its own and its direct one),
--          lease ms, grace ms beyond the time limit, window, whether the agent can encrypt (1/0), ms that the task
--          goes by one that cannot, whether encryption is required whatever the settings say (1/0)
-- Returns  {'claimed', tickets, record flat} or {refusal, tickets}; refusals: unknown, final, taken, stale-ticket,
--          not-due, incapable, capability-off, suspended, at-limit (of the workspace), no-key (encryption is required
--          and the agent cannot). The same lease token claims the same attempt again.
local id, attempt, lease, agent, lane_name = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local lease_ms, grace, window = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
local tickets = {}
if ARGV[12] == '1' then TENANT.encrypted = true end
local t = load_routing(id)
if not t then return {'unknown', tickets} end
if t.status == 'RUNNING' and t.attempt == attempt and t.lease == lease then
  return {'claimed', tickets, redis.call('HGETALL', K.task(id))}
end
if t.status == 'RUNNING' then return {'taken', tickets} end
if t.status == 'HELD' then return {'not-due', tickets} end
if t.status ~= 'PENDING' then return {'final', tickets} end
if tonumber(attempt) ~= tonumber(t.attempt) + 1 then return {'stale-ticket', tickets} end
if t.due ~= '' or t.parked ~= '' then return {'not-due', tickets} end

local function stop_waiting()
  leave_queue(id, t)
  if t.waiting_since ~= '' then put(id, t, 'waited', tonumber(t.waited) + NOW - tonumber(t.waiting_since)) end
end

local lanes = read_lanes(ARGV[6])
local able = false
for _, lane in ipairs(lanes) do able = able or lane_serves(lane, class_of(t)) end
if able and t.target ~= '' then
  -- A direct task: its agent must have the capabilities too.
  for capability in string.gmatch(t.caps, '[^+]+') do able = able and lanes[1].has[capability] end
end
if not able and lanes[1] and needs_what_is_off(t, lanes[1]) then
  if t.target == '' then
    leave_window(id, t)
    enqueue(id, t)  -- no lane that is offered serves its class now
  else
    stop_waiting()
    delay_until(id, t, NOW + tonumber(ARGV[11]), 'capability-off')
  end
  return {'capability-off', tickets}
end
if not able then
  refuse('agent:' .. agent, 'task.claim', id, 'incapable', t.corr)
  leave_window(id, t)
  if lanes[2] and lanes[2].name == class_of(t) then
    fail_finally(id, t, 'no-handler', 'the agent named by the task does not have the capabilities it requires', '0')
  else
    enqueue(id, t)
  end
  return {'incapable', tickets}
end

local refusal = claim_refusal()
if refusal then
  -- Back to its place, the head of its class; it goes out again when the workspace may run more.
  leave_window(id, t)
  enqueue(id, t)
  return {refusal, tickets}
end

if TENANT.encrypted and ARGV[10] ~= '1' then
  refuse('agent:' .. agent, 'task.claim', id, 'no-key', t.corr)
  stop_waiting()
  delay_until(id, t, NOW + tonumber(ARGV[11]), 'no-key')
  return {'no-key', tickets}
end

audit('agent:' .. agent, 'task.claim', id, 'accepted', t.corr, {status = t.status},
  {status = 'RUNNING', attempt = tonumber(attempt)})
local freed = t.lane
local waited = NOW - (tonumber(t.waiting_since) or NOW)
stop_waiting()
local deadline = NOW + tonumber(t.timeout)
local lease_until = math.min(NOW + lease_ms, deadline + grace)
move(id, t, 'RUNNING')
put(id, t, 'attempt', attempt, 'lease', lease, 'closed', '', 'lease_until', lease_until, 'deadline', deadline,
  'agent', agent, 'run_lane', lane_name, 'started', NOW, 'lane', '', 'waiting_since', '', 'sent', '')
redis.call('ZADD', K.running(), lease_until, id)
count_running(lane_name, 1)
event('started', id, t)
observe('queue_wait_seconds', waited)
for _, lane in ipairs(lanes) do
  if lane.name == freed then place(t.prio, {lane}, window, tickets) end
end
return {'claimed', tickets, redis.call('HGETALL', K.task(id))}
