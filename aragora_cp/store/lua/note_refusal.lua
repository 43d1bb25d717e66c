-- home: trail
-- An operation was refused before it reached a script of its own.
-- KEYS[1]  the trail's root
-- ARGV     actor, action, target, outcome, correlation id
-- Returns  1, or 0 when it was only counted
return refuse(ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5])
