-- What happened, in the same script as the change itself. Trimmed approximately: exact trimming costs more than it saves.
local EVENTS_KEPT = 10000

local function event(kind, id, t)
  if COUNTED[kind] then count(COUNTED[kind]) end
  redis.call('XADD', K.events(), 'MAXLEN', '~', EVENTS_KEPT, '*',
    'event', kind, 'task_id', id, 'status', t.status, 'attempt', t.attempt, 'agent_id', t.agent)
end
