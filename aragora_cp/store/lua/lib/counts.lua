-- Figures of this workspace since the monitor looked last; it adds them to the fleet's. Fields: telemetry/meters.py.
local function count(field, by) redis.call('HINCRBY', K.counts(), field, by or 1) end

-- One value of a histogram of times, in ms.
local function observe(name, ms)
  local bucket = 0
  while BOUNDS_MS[bucket + 1] and ms > BOUNDS_MS[bucket + 1] do bucket = bucket + 1 end
  count(name .. '|' .. bucket)
  count(name .. '|sum', ms)
end

-- What each event of a task counts as; one that is not named counts as nothing.
local COUNTED = {submitted = 'tasks_submitted', started = 'attempts_started', completed = 'tasks_ended|completed',
  failed = 'tasks_ended|failed', cancelled = 'tasks_ended|cancelled', retrying = 'attempts_returned|retry',
  ['handed-back'] = 'attempts_returned|handed-back', ['waiting-for-subtasks'] = 'attempts_returned|sub-tasks',
  rerun = 'tasks_rerun'}
