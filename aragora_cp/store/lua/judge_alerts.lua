-- home: fleet
-- One look at one rule: incidents begin, fire, are told, and end.
-- KEYS[1]  the fleet's root
-- ARGV[1]  JSON: epoch of the calling leader (0: any process may say so), rule, severity, hold ms, clear ms, sinks,
--          refreshed (those of the sinks that want to hear again of what still fires), refresh ms
-- ARGV[2]  JSON: {{subject, workspace, text} …}, for which the rule's condition holds now
-- ARGV[3]  id for new incidents
-- Returns  how many of the rule's incidents fire now, or 'deposed'
local c, now = cjson.decode(ARGV[1]), cjson.decode(ARGV[2])
if c.epoch > 0 and tonumber(redis.call('GET', K.epoch()) or '0') ~= c.epoch then return 'deposed' end
local open = redis.call('ZRANGE', K.open_alerts(c.rule), 0, -1)
if #now == 0 and #open == 0 then return 0 end
local quiet, firing, holds = silences(), 0, {}

local function fire(id, a)
  a.state, a.fired = 'firing', NOW
  audit('monitor', 'alert.fire', id, 'accepted', '', nil, {severity = a.severity, workspace = a.workspace})
  redis.call('HSET', K.alert(id), 'state', 'firing', 'fired', NOW)
  log_alert('firing', id, a)
end

local function tell_firing(id, a)
  if is_silenced(a, quiet) then
    redis.call('HSET', K.alert(id), 'silenced', 1)
    return
  end
  redis.call('HSET', K.alert(id), 'silenced', 0)
  if a.told == '1' and NOW - tonumber(a.told_at) < c.refresh then return end
  tell(a.told == '1' and c.refreshed or c.sinks, 'firing', id, a)
  redis.call('HSET', K.alert(id), 'told', 1, 'told_at', NOW)
end

local function finish(id, a)
  audit('monitor', 'alert.end', id, 'accepted', '', {severity = a.severity, workspace = a.workspace}, nil)
  if a.told == '1' then tell(c.sinks, 'resolved', id, a) end
  log_alert('resolved', id, a)
end

for n, signal in ipairs(now) do
  local id = c.rule .. '|' .. signal[1]
  holds[id] = true
  local a = alert_of(id)
  if not a.state then
    a = {state = 'pending', since = NOW, rule = c.rule, subject = signal[1], workspace = signal[2],
      incident = ARGV[3] .. '-' .. n, severity = c.severity}
    for name, value in pairs(a) do redis.call('HSET', K.alert(id), name, value) end
    redis.call('ZADD', K.open_alerts(c.rule), NOW, id)
  end
  a.text = signal[3]
  redis.call('HSET', K.alert(id), 'text', a.text)
  redis.call('HDEL', K.alert(id), 'gone')
  if a.state == 'pending' and NOW - tonumber(a.since) >= c.hold then fire(id, a) end
  if a.state == 'firing' then
    firing = firing + 1
    tell_firing(id, a)
  end
end

for _, id in ipairs(open) do
  if not holds[id] then
    local a = alert_of(id)
    local gone = tonumber(a.gone)
    if a.state == 'firing' and not gone then
      gone = NOW
      redis.call('HSET', K.alert(id), 'gone', NOW)
    end
    if a.state ~= 'firing' or NOW - gone >= c.clear then
      if a.state == 'firing' then finish(id, a) end
      redis.call('DEL', K.alert(id))
      redis.call('ZREM', K.open_alerts(c.rule), id)
    else
      firing = firing + 1
    end
  end
end
return firing
