-- home: workspace
-- Delete a budget with what it has counted.
-- KEYS[1]  the workspace's root
-- ARGV     name, 1 when the platform does it
-- Returns  'deleted', 'platforms' (it is the platform's, and not the platform that calls) or 'unknown'
local known = redis.call('HGET', K.budgets(), ARGV[1])
if not known then return 'unknown' end
local budget = cjson.decode(known)
budget.name = ARGV[1]
if budget.owner == 'platform' and ARGV[2] ~= '1' then
  refuse(CALLED_BY, 'budget.delete', ARGV[1], 'forbidden', CALLED_AS)
  return 'platforms'
end
audit(CALLED_BY, 'budget.delete', ARGV[1], 'accepted', CALLED_AS, {limit = string.format('%.0f', budget.limit)})
redis.call('DEL', read_standing(budget).key)
redis.call('HDEL', K.budgets(), ARGV[1])
return 'deleted'
