-- What a workspace has used, by UTC day: one hash a day, of which each dimension has a bounded number of values; the rest
-- of them is one value more. So a question about a year costs a year's days, whatever the number of tasks.
local USAGE_KEPT = 400 * DAY
local MOST_VALUES = 200
local OTHERS = '(others)'

-- `dimension` and `value` of it, and the amounts to add by name.
local function count_usage(key, dimension, value, amounts)
  if value == '' then return end
  local known = redis.call('HEXISTS', key, dimension .. '|' .. value .. '|seen') == 1
  if not known and dimension ~= 'day' then
    if tonumber(redis.call('HGET', key, dimension .. '|' .. '|values') or '0') >= MOST_VALUES then
      value = OTHERS
    else
      redis.call('HINCRBY', key, dimension .. '|' .. '|values', 1)
    end
    redis.call('HSET', key, dimension .. '|' .. value .. '|seen', 1)
  end
  for name, amount in pairs(amounts) do
    if amount ~= 0 then redis.call('HINCRBY', key, dimension .. '|' .. value .. '|' .. name, amount) end
  end
end

local function note_usage(t, model, amounts)
  local key = K.usage(math.floor(NOW / DAY))
  count_usage(key, 'day', 'all', amounts)
  count_usage(key, 'task_type', t.type, amounts)
  count_usage(key, 'token', t.payer, amounts)
  count_usage(key, 'model', model, amounts)
  redis.call('PEXPIRE', key, USAGE_KEPT)
end
