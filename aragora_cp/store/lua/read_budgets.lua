-- home: workspace
-- Budgets as they stand. Changes nothing.
-- KEYS[1]  the workspace's root
-- ARGV     name ('' all)
-- Returns  {row, definition} each, by name
local found = {}
for _, budget in ipairs(budgets()) do
  if ARGV[1] == '' or ARGV[1] == budget.name then
    found[#found + 1] = {budget_row(read_standing(budget)), redis.call('HGET', K.budgets(), budget.name)}
  end
end
return found
