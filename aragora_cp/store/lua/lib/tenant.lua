-- The workspace's own settings, read once a script; one without a record has the defaults. Limits: nil is none.
local settings_read = redis.call('HMGET', K.workspace(), 'status', 'weight', 'max_pending', 'max_running', 'placement',
  'encryption', 'retention', 'rate_limits')
local TENANT = {
  status = settings_read[1] or 'active',
  weight = tonumber(settings_read[2] or '') or 1,
  max_pending = tonumber(settings_read[3] or ''),
  max_running = tonumber(settings_read[4] or ''),
  placement = settings_read[5] or 'auto',
  encrypted = settings_read[6] == '1' or settings_read[6] == 'true',
  retention = settings_read[7] and tonumber(settings_read[7]) * 1000,
  rate_limits = settings_read[8],
}

-- How many more may be on their way to running: tickets that are out count, each may be claimed.
local function room_to_run()
  if TENANT.status ~= 'active' then return 0 end
  if not TENANT.max_running then return math.huge end
  local out = 0
  local counters = redis.call('HGETALL', K.load())
  for n = 1, #counters, 2 do
    if string.sub(counters[n], 1, 8) == 'tickets:' then out = out + tonumber(counters[n + 1]) end
  end
  return TENANT.max_running - redis.call('ZCARD', K.running()) - out
end

-- Why no task of this workspace may be claimed now, or nil.
local function claim_refusal()
  if TENANT.status ~= 'active' then return 'suspended' end
  if TENANT.max_running and redis.call('ZCARD', K.running()) >= TENANT.max_running then return 'at-limit' end
  return nil
end

-- Whether this value may be kept: a workspace that requires encryption keeps nothing that was not encrypted. No text has
-- the byte 255.
local function may_keep(value)
  return not TENANT.encrypted or value == '' or string.byte(value) == 255
end
