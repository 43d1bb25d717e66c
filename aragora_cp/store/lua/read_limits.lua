-- home: workspace
-- How the rate limits of a workspace stand. Changes nothing.
-- KEYS[1]  the workspace's root
-- ARGV     JSON of the platform's limits
-- Returns  {the limits that count, JSON; rows of those that count for the workspace as a whole; counts of refusals, flat}
local defaults = cjson.decode(ARGV[1])
return {TENANT.rate_limits or ARGV[1], rate_rows(rate_standing(defaults, '')), redis.call('HGETALL', K.limits())}
