-- home: policy
-- Keep a decision that no other script keeps; one that denies stands in the trail as a refusal.
-- KEYS[1]  the workspace's root
-- ARGV     decision JSON (see lib/decisions.lua), action, actor, target, correlation id
-- Returns  1
local d = cjson.decode(ARGV[1])
if d.effect == 'deny' then refuse(ARGV[3], ARGV[2], ARGV[4], 'policy-denied ' .. d.id, ARGV[5]) end
note_decision(d, ARGV[3], ARGV[4])
return 1
