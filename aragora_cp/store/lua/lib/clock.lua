-- The server's clock, in milliseconds: the only clock for leases and timers.
local time_now = redis.call('TIME')
local NOW = tonumber(time_now[1]) * 1000 + math.floor(tonumber(time_now[2]) / 1000)
