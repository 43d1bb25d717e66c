-- home: workspace
-- Set a budget. What it has counted stays, unless it is counted for something else or by another window from now on.
-- KEYS[1]  the workspace's root
-- ARGV     name, definition JSON, generation for a new one, 1 when the platform sets it, most budgets
-- Returns  {'put' | 'made', the budget's row, its definition}, {'platforms'} (set by the platform, and not the platform's to
--          change now), or {'too-many'}
local name, text, by_platform = ARGV[1], ARGV[2], ARGV[4] == '1'
local known, new = redis.call('HGET', K.budgets(), name), cjson.decode(text)
local old = known and cjson.decode(known)
if old and old.owner == 'platform' and not by_platform then
  refuse(CALLED_BY, 'budget.put', name, 'forbidden', CALLED_AS)
  return {'platforms'}
end
if not known and redis.call('HLEN', K.budgets()) >= tonumber(ARGV[5]) then
  refuse(CALLED_BY, 'budget.put', name, 'conflict', CALLED_AS)
  return {'too-many'}
end
local same = old and old.period == new.period and old.span == new.span and old.zone == new.zone
  and old.scope == new.scope and old.value == new.value
if old then old.name = name end
new.name, new.gen = name, same and old.gen or ARGV[3]
-- The generation goes into the text, not through the encoder: that changes large numbers.
local stored = '{"gen":' .. cjson.encode(new.gen) .. ',' .. string.sub(text, 2)
local function told(of) return of and {limit = string.format('%.0f', of.limit), hard = of.hard, period = of.period} end
audit(CALLED_BY, 'budget.put', name, 'accepted', CALLED_AS, told(old), told(new))
if old and not same then redis.call('DEL', read_standing(old).key) end
redis.call('HSET', K.budgets(), name, stored)
return {known and 'put' or 'made', budget_row(read_standing(new)), stored}
