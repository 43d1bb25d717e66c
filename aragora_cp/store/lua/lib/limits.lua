-- Rate limits by GCRA, the generic cell rate algorithm (ITU-T I.371, annex A, as virtual scheduling). Of each limit the
-- store keeps one time: when the next submit would arrive if all came evenly (TAT), `gap` apart. A submit conforms while
-- that time, with it, is no further ahead of the clock than `burst` gaps; it then moves the time on by one gap. So one
-- key is all there is to a limit, and it ends by itself when the clock has caught up.
-- Times here are whole microseconds: exact in a double, which counts to 2^53, until the year 2255.
local MICROS_NOW = tonumber(time_now[1]) * 1000000 + tonumber(time_now[2])
-- The share used at which nearness is signalled, and that to which it must fall before it is signalled again.
local NEAR, CALM = 0.8, 0.5
-- Fewer at once have no nearness worth telling.
local FEWEST_TO_SIGNAL = 5

-- Something happened to no task: it is told in the workspace's events.
local function signal(kind, about, told)
  redis.call('XADD', K.events(), 'MAXLEN', '~', EVENTS_KEPT, '*', 'event', kind, 'about', about, 'told', cjson.encode(told))
end

-- The limits that count for `actor`, each as it stands and as it would stand with one submit more. Those of the workspace;
-- one that has none set has the platform's, `defaults`.
local function rate_standing(defaults, actor)
  local found = {}
  for _, limit in ipairs(TENANT.rate_limits and cjson.decode(TENANT.rate_limits) or defaults) do
    local by_token = limit.per == 'token'
    if not by_token or string.sub(actor, 1, 6) == 'token:' then
      local gap = math.ceil(limit.period * 1000000 / limit.limit)
      local key = K.rate(limit.name, by_token and actor or '')
      local tat, near = string.match(redis.call('GET', key) or '', '^(%d+)(n?)$')
      tat = math.max(MICROS_NOW, tonumber(tat or '') or 0)
      local most = limit.burst * gap
      found[#found + 1] = {name = limit.name, limit = limit.limit, period = limit.period, shadow = limit.shadow,
        burst = limit.burst, key = key, tat = tat, gap = gap, most = most, near = near == 'n' and tat - MICROS_NOW >= CALM * most,
        over = tat + gap - MICROS_NOW - most}
    end
  end
  return found
end

-- The limit that stays closed longest, or nil.
local function rate_refusal(found)
  local worst
  for _, limit in ipairs(found) do
    if limit.over > 0 and not limit.shadow and (not worst or limit.over > worst.over) then worst = limit end
  end
  return worst
end

-- Count what is refused, or would be.
local function rate_note(found)
  for _, limit in ipairs(found) do
    if limit.over > 0 then
      redis.call('HINCRBY', K.limits(), limit.name .. (limit.shadow and ':would-refuse' or ':refused'), 1)
    end
  end
end

-- One submit counts against each of the limits, unless that would go beyond one that only watches.
local function rate_take(found)
  rate_note(found)
  for _, limit in ipairs(found) do
    if limit.over <= 0 then
      limit.tat = limit.tat + limit.gap
      local used = (limit.tat - MICROS_NOW) / limit.most
      if used >= NEAR and not limit.near and limit.burst >= FEWEST_TO_SIGNAL then
        limit.near = true
        signal('near-limit', limit.name, {limit = limit.limit, period = limit.period})
      end
      redis.call('SET', limit.key, string.format('%.0f', limit.tat) .. (limit.near and 'n' or ''),
        'PX', math.ceil((limit.tat - MICROS_NOW) / 1000))
    end
  end
end

-- As the caller is told: {name, limit, period ms, left, ms until all is there again} each.
local function rate_rows(found)
  local rows = {}
  for _, limit in ipairs(found) do
    local ahead = limit.tat - MICROS_NOW
    rows[#rows + 1] = {limit.name, limit.limit, math.ceil(limit.period * 1000),
      math.max(0, math.floor((limit.most - ahead) / limit.gap)), math.ceil(ahead / 1000)}
  end
  return rows
end
