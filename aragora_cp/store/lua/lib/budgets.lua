-- Budgets. Money is in whole millionths; no limit or amount is beyond 10^15 of them, so sums are exact in a double (2^53).
-- Of each budget and window one hash counts what is spent, what is reserved and what went beyond the limit (`overrun`).
-- Of a hard budget, always: spent + reserved <= limit, whatever runs at the same time.
-- `reservations` is the ledger of what each task that has not ended has reserved: name|generation|window|amount, joined
-- by commas. A budget's generation changes when it is deleted and made anew: nothing of the old one counts for the new one.

-- Counters of a window that nobody writes to any more are kept for so long.
local KEPT = 62 * DAY
-- A rolling window moves on in so many steps.
local STEPS = 60
local ALERTS = {100, 80, 50}
-- Most of a budget that a learned cost takes, so that one dear task does not close it; most task types that are learned.
local MOST_LEARNED, MOST_TYPES = 0.1, 1000

local budgets_read
local function budgets()
  if budgets_read then return budgets_read end
  budgets_read = {}
  local flat = redis.call('HGETALL', K.budgets())
  for n = 1, #flat, 2 do
    local budget = cjson.decode(flat[n + 1])
    budget.name = flat[n]
    budgets_read[#budgets_read + 1] = budget
  end
  table.sort(budgets_read, function(a, b) return a.name < b.name end)
  return budgets_read
end

-- Whose budget pays for a task: a sub-task's payer is that of the task above it.
local function payer_of(actor, parent)
  local above = parent ~= '' and redis.call('HGET', K.task(parent), 'payer')
  return above or string.match(actor, '^token:(.+)$') or ''
end

-- A scope by model is known when a model has been used, never before.
local function covers(budget, kind, payer, model)
  local scope, value = budget.scope, budget.value
  return not scope or (scope == 'task_type' and value == kind) or (scope == 'token_id' and value == payer)
    or (scope == 'model' and value == model)
end

local function step_of(budget) return math.floor(NOW / math.ceil(budget.span / STEPS)) end

-- What is counted for a budget in `window`, by default the present one.
local function read_standing(budget, window)
  local s = {budget = budget, told = 0}
  if budget.period == 'rolling' then
    s.window, s.ends, s.spent, s.reserved, s.overrun, s.stale = 'rolling', NOW, 0, 0, 0, {}
    local width, oldest = math.ceil(budget.span / STEPS), nil
    s.key = K.spend(budget.name, budget.gen, s.window)
    local flat = redis.call('HGETALL', s.key)
    for n = 1, #flat, 2 do
      local step, value = tonumber(string.match(flat[n], '^s(%d+)$')), tonumber(flat[n + 1])
      if not step then
        s[flat[n]] = value
      elseif step < step_of(budget) - STEPS then
        s.stale[#s.stale + 1] = flat[n]
      else
        s.spent = s.spent + value
        oldest = math.min(oldest or step, step)
      end
    end
    if oldest then s.ends = (oldest + STEPS + 1) * width end
    return s
  end
  s.window, s.ends = window_at(budget.period, budget.offsets, NOW)
  s.window = window or s.window
  s.key = K.spend(budget.name, budget.gen, s.window)
  local counted = redis.call('HMGET', s.key, 'spent', 'reserved', 'overrun', 'told')
  s.spent, s.reserved = tonumber(counted[1] or '0'), tonumber(counted[2] or '0')
  s.overrun, s.told = tonumber(counted[3] or '0'), tonumber(counted[4] or '0')
  return s
end

-- While something is reserved the counters must not go.
local function keep(key, reserved)
  if reserved > 0 then redis.call('PERSIST', key) else redis.call('PEXPIRE', key, KEPT) end
end

-- Once a window at 50, 80 and 100 %; a rolling one begins anew below 50.
local function alert(s)
  local share = s.budget.limit > 0 and (s.spent + s.reserved) / s.budget.limit * 100 or 100
  if s.budget.period == 'rolling' and share < ALERTS[3] and s.told > 0 then
    s.told = 0
    redis.call('HSET', s.key, 'told', 0)
  end
  for _, mark in ipairs(ALERTS) do
    if share >= mark and s.told < mark then
      s.told = mark
      redis.call('HSET', s.key, 'told', mark)
      signal('budget-alert', s.budget.name, {percent = mark})
      return
    end
  end
end

-- Add to the counters of one budget.
local function count_money(s, spent, reserved, overrun)
  if spent > 0 then
    local field = s.budget.period == 'rolling' and 's' .. string.format('%.0f', step_of(s.budget)) or 'spent'
    redis.call('HINCRBY', s.key, field, spent)
  end
  if reserved ~= 0 then redis.call('HINCRBY', s.key, 'reserved', reserved) end
  if overrun > 0 then redis.call('HINCRBY', s.key, 'overrun', overrun) end
  if s.stale and #s.stale > 0 then redis.call('HDEL', s.key, unpack(s.stale)) end
  s.spent, s.reserved, s.overrun, s.stale = s.spent + spent, s.reserved + reserved, s.overrun + overrun, nil
  keep(s.key, s.reserved)
  alert(s)
end

local function read_held(id)
  local held = {}
  local told = redis.call('HGET', K.reservations(), id)
  for name, gen, window, amount in string.gmatch(told or '', '([^|,]+)|([^|,]+)|([^|,]+)|(%d+)') do
    held[#held + 1] = {name = name, gen = gen, window = window, amount = tonumber(amount)}
  end
  return held
end

local function write_held(id, held)
  local rows = {}
  for _, each in ipairs(held) do
    if each.amount > 0 then
      rows[#rows + 1] = table.concat({each.name, each.gen, each.window, string.format('%.0f', each.amount)}, '|')
    end
  end
  if #rows == 0 then
    redis.call('HDEL', K.reservations(), id)
    redis.call('ZREM', K.reserved(), id)
  else
    redis.call('HSET', K.reservations(), id, table.concat(rows, ','))
    redis.call('ZADD', K.reserved(), 'NX', NOW, id)
  end
end

-- What a task of this kind may cost by what earlier ones did, nil when none is known.
local function learned_cost(kind) return tonumber(redis.call('HGET', K.costs(), kind) or '') end

-- The dearest of late: at once up to a new one, by an eighth of the distance down to a cheaper one.
local function learn_cost(kind, cost)
  local known = learned_cost(kind)
  if not known and redis.call('HLEN', K.costs()) >= MOST_TYPES then return end
  local now = (known and cost < known) and known - math.floor((known - cost) / 8) or cost
  redis.call('HSET', K.costs(), kind, string.format('%.0f', now))
end

-- What a task would reserve of all budgets that cover it; and the one that refuses it (the one that stays closed longest),
-- or nil. `given`: the caller's own estimate, negative when there is none.
local function budget_plan(kind, payer, given)
  local plan, refusal = {}, nil
  for _, budget in ipairs(budgets()) do
    if covers(budget, kind, payer, nil) then
      local s = read_standing(budget)
      local learned = given < 0 and learned_cost(kind)
      s.amount = given >= 0 and given or learned and math.min(learned, math.floor(budget.limit * MOST_LEARNED))
        or budget.estimate or 0
      local used = s.spent + s.reserved
      if budget.hard and (used >= budget.limit or used + s.amount > budget.limit) and (not refusal or s.ends > refusal.ends) then
        refusal = s
      end
      plan[#plan + 1] = s
    end
  end
  return plan, refusal
end

local function reserve(id, plan)
  local held = {}
  for _, s in ipairs(plan) do
    if s.amount > 0 then
      count_money(s, 0, s.amount, 0)
      held[#held + 1] = {name = s.budget.name, gen = s.budget.gen, window = s.window, amount = s.amount}
    end
  end
  if #held > 0 then write_held(id, held) end
end

-- How `cost` of a task is to be counted: first against what it has reserved, in the window where it did; then against what
-- is free in that window (without a reservation, the present one). What a hard budget has no room for is its overrun.
-- Answers that, and the name of a hard budget that it goes beyond, or nil. Writes nothing.
local function charge_plan(id, t, cost, model)
  local plan, over = {held = {}}, nil
  if cost <= 0 or #budgets() == 0 then return plan, nil end
  plan.id, plan.held = id, read_held(id)
  for _, budget in ipairs(budgets()) do
    if covers(budget, t.type, t.payer, model) then
      local mine
      for _, each in ipairs(plan.held) do
        if each.name == budget.name and each.gen == budget.gen then mine = each end
      end
      local s = read_standing(budget, mine and mine.window)
      local taken = math.min(cost, mine and mine.amount or 0)
      local rest, room = cost - taken, math.max(0, budget.limit - s.spent - s.reserved)
      local beyond = budget.hard and math.max(0, rest - room) or 0
      if beyond > 0 then over = over or budget.name end
      plan[#plan + 1] = {standing = s, mine = mine, taken = taken, spent = cost - beyond, beyond = beyond}
    end
  end
  return plan, over
end

local function charge(plan)
  for _, each in ipairs(plan) do
    count_money(each.standing, each.spent, -each.taken, each.beyond)
    if each.mine then each.mine.amount = each.mine.amount - each.taken end
    if each.beyond > 0 then
      signal('budget-overrun', each.standing.budget.name, {by = string.format('%.0f', each.beyond)})
    end
  end
  if #plan.held > 0 then write_held(plan.id, plan.held) end
end

-- A task has ended, or has vanished: what it has still reserved is free again.
local function return_reservation(id)
  for _, each in ipairs(read_held(id)) do
    local key = K.spend(each.name, each.gen, each.window)
    if redis.call('EXISTS', key) == 1 then
      keep(key, redis.call('HINCRBY', key, 'reserved', -each.amount))
    end
  end
  write_held(id, {})
end

-- As the caller is told: name, limit, spent, reserved, overrun, ms of its reset and until it; numbers as text.
local function budget_row(s)
  local row = {s.budget.name}
  for _, amount in ipairs({s.budget.limit, s.spent, s.reserved, s.overrun}) do row[#row + 1] = string.format('%.0f', amount) end
  row[#row + 1] = string.format('%.0f', s.ends)
  row[#row + 1] = string.format('%.0f', s.ends - NOW)
  return row
end
