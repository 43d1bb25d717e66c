-- home: workspace
-- Hold what budgets have reserved against the ledger of reservations, and that against the tasks; set it right.
-- KEYS[1]  the workspace's root
-- ARGV     fix (1/0)
-- Returns  findings: {kind, what} …
local fix = ARGV[1] == '1'
local findings, sums, windows = {}, {}, {}
local ledger = redis.call('HGETALL', K.reservations())
for n = 1, #ledger, 2 do
  local id = ledger[n]
  local status = redis.call('HGET', K.task(id), 'status')
  if not status or MOVES[status].CANCELLED == nil then
    findings[#findings + 1] = {'stray-reservation', id}
    if fix then redis.call('HDEL', K.reservations(), id) end
  end
  if not redis.call('ZSCORE', K.reserved(), id) then
    findings[#findings + 1] = {'reservation-not-listed', id}
    if fix then redis.call('ZADD', K.reserved(), NOW, id) end
  end
  if not fix or (status and MOVES[status].CANCELLED) then
    for _, each in ipairs(read_held(id)) do
      local key = K.spend(each.name, each.gen, each.window)
      sums[key], windows[key] = (sums[key] or 0) + each.amount, each
    end
  end
end
for _, id in ipairs(redis.call('ZRANGE', K.reserved(), 0, -1)) do
  if redis.call('HEXISTS', K.reservations(), id) == 0 then
    findings[#findings + 1] = {'reservation-listed-wrongly', id}
    if fix then redis.call('ZREM', K.reserved(), id) end
  end
end
-- Of each budget its present window, and earlier ones in which something is still reserved.
local function hold_against(key, name)
  local sum = sums[key] or 0
  if tonumber(redis.call('HGET', key, 'reserved') or '0') == sum then return end
  findings[#findings + 1] = {'budget-counter', name}
  if fix then
    redis.call('HSET', key, 'reserved', string.format('%.0f', sum))
    keep(key, sum)
  end
end
for _, budget in ipairs(budgets()) do
  local present = read_standing(budget).key
  hold_against(present, budget.name)
  for key, earlier in pairs(windows) do
    if key ~= present and earlier.name == budget.name and earlier.gen == budget.gen then
      hold_against(key, budget.name)
    end
  end
end
return findings
