-- Incidents. One is a rule and a subject, in the hash `alert:<id>`, id = rule|subject; state `pending` until its
-- condition has held long enough, then `firing`, until it has not held for long enough.
-- What is to be told goes into deliveries, one a sink, in the same step: nothing fires untold, nothing is told twice.
local LOG_KEPT = 1000

local function alert_of(id)
  local flat, a = redis.call('HGETALL', K.alert(id)), {}
  for n = 1, #flat, 2 do a[flat[n]] = flat[n + 1] end
  return a
end

-- Everything that a sink may want to say, as JSON.
local function told(kind, id, a)
  return cjson.encode({kind = kind, incident = a.incident, rule = a.rule, subject = a.subject,
    workspace = a.workspace, severity = a.severity, text = a.text, fired_at = tonumber(a.fired) or NOW,
    ended_at = kind == 'resolved' and NOW or nil})
end

local function deliver(sink, kind, incident, body)
  local id = sink .. '|' .. incident .. '|' .. kind
  redis.call('HSET', K.delivery(id), 'sink', sink, 'incident', incident, 'kind', kind, 'body', body, 'created', NOW,
    'attempts', 0)
  redis.call('ZADD', K.deliveries(), NOW, id)
end

local function tell(sinks, kind, id, a)
  for _, sink in ipairs(sinks) do deliver(sink, kind, a.incident, told(kind, id, a)) end
end

local function log_alert(kind, id, a)
  redis.call('XADD', K.alert_log(), 'MAXLEN', '~', LOG_KEPT, '*', 'kind', kind, 'incident', a.incident, 'rule', a.rule,
    'subject', a.subject, 'workspace', a.workspace, 'severity', a.severity, 'text', a.text, 'fired', a.fired)
end

-- Silences that have not ended: {rule ('' any), subject ('' any), workspace ('' the platform's: all), until}.
local function silences()
  local flat, found = redis.call('HGETALL', K.silences()), {}
  for n = 1, #flat, 2 do
    local silence = cjson.decode(flat[n + 1])
    if silence.ends > NOW then found[#found + 1] = silence else redis.call('HDEL', K.silences(), flat[n]) end
  end
  return found
end

local function is_silenced(a, found)
  for _, s in ipairs(found) do
    if (s.rule == '' or s.rule == a.rule) and (s.subject == '' or s.subject == a.subject)
      and (s.workspace == '' or s.workspace == a.workspace) then return true end
  end
  return false
end
