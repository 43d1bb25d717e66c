-- home: fleet
-- Count one failed authentication of a source address, and write it down: each one up to the limit, and the first
-- beyond it; the rest of the window is one entry.
-- KEYS[1]  the fleet's root
-- ARGV     source, most in a window, window ms
-- Returns  {failures in this window, ms until it ends}
local source, most = ARGV[1], tonumber(ARGV[2])
local count = redis.call('INCR', K.failures(source))
local left = redis.call('PTTL', K.failures(source))
if left < 0 then
  left = tonumber(ARGV[3])
  redis.call('PEXPIRE', K.failures(source), left)
end
if count <= most + 1 then
  local outcome = count > most and 'rate-limited' or 'unauthenticated'
  refuse('anonymous', 'token.authenticate', source, outcome, CALLED_AS or '')
end
return {count, left}
