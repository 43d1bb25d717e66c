-- The windows of budgets: a day, a week (from Monday) or a month of a time zone, by the server's clock. A budget brings the
-- offsets of its zone from UTC along: {from ms, offset ms} each, in order; days are counted from 1970-01-01, a Thursday.
local DAY = 86400000

local function offset_at(offsets, at)
  local offset = 0
  for _, each in ipairs(offsets) do
    if each[1] > at then break end
    offset = each[2]
  end
  return offset
end

-- Months since the year 0 of a day, and the first day of a month: `civil_from_days` and `days_from_civil` of Howard
-- Hinnant's "chrono-Compatible Low-Level Date Algorithms".
local function month_of(day)
  local z = day + 719468
  local era = math.floor(z / 146097)
  local doe = z - era * 146097
  local yoe = math.floor((doe - math.floor(doe / 1460) + math.floor(doe / 36524) - math.floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + math.floor(yoe / 4) - math.floor(yoe / 100))
  local from_march = math.floor((5 * doy + 2) / 153)
  return (yoe + era * 400) * 12 + from_march + 2
end

local function first_day_of(month)
  local years, from_march = math.floor((month - 2) / 12), (month - 2) % 12
  local era = math.floor(years / 400)
  local yoe = years - era * 400
  local doy = math.floor((153 * from_march + 2) / 5)
  return era * 146097 + yoe * 365 + math.floor(yoe / 4) - math.floor(yoe / 100) + doy - 719468
end

local WINDOWS = {
  day = {number = function(day) return day end, first = function(n) return n end},
  week = {number = function(day) return math.floor((day + 3) / 7) end, first = function(n) return n * 7 - 3 end},
  month = {number = month_of, first = first_day_of},
}

-- The instant at which a day begins there. Where clocks are put forward at midnight it begins with that.
local function day_begins(offsets, day, near)
  local early = day * DAY - offset_at(offsets, near)
  local exact = day * DAY - offset_at(offsets, early)
  return math.floor((exact + offset_at(offsets, exact)) / DAY) == day and exact or early
end

-- The window that `at` lies in: its name, and when the next one begins.
local function window_at(period, offsets, at)
  local kind = WINDOWS[period]
  local number = kind.number(math.floor((at + offset_at(offsets, at)) / DAY))
  return period .. number, day_begins(offsets, kind.first(number + 1), at)
end
