-- Nobody waits for ever behind a stream of more urgent work: a ticket of a task that has waited long is sent once more,
-- one priority higher for each `step` ms of waiting. Doubled tickets are harmless; the task's own priority stays.
local function age_tickets(lane_name, step, most, out)
  local aged = 0
  for prio = 1, 3 do
    for _, id in ipairs(redis.call('ZRANGE', K.released(lane_name, prio), 0, most - 1)) do
      local f = redis.call('HMGET', K.task(id), 'waiting_since', 'sent')
      local since, sent = tonumber(f[1] or ''), tonumber(f[2] or '') or prio
      local due = since and math.max(0, prio - math.floor((NOW - since) / step)) or prio
      if due < sent then
        redis.call('HSET', K.task(id), 'sent', due)
        out[#out + 1] = ticket(id, lane_name, due)
        aged = aged + 1
      end
    end
  end
  return aged
end
