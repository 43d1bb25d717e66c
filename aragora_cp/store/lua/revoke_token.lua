-- home: fleet
-- Revoke a token, for good. The first time counts: revoking it again changes nothing.
-- KEYS[1]  the fleet's root
-- ARGV     token id
-- Returns  1, or 0 when there is no such token
if redis.call('EXISTS', K.token(ARGV[1])) == 0 then return 0 end
redis.call('HSETNX', K.token(ARGV[1]), 'revoked_at', NOW)
return 1
