-- What the policy was asked lately and how it decided: bounded, without payloads, for replaying it to another version.
-- d: {id, effect, rules, version, reason, request, differing = {policy@version …}}
local DECISIONS_KEPT = 1000

local function note_decision(d, actor, target)
  redis.call('XADD', K.decisions(), 'MAXLEN', '~', DECISIONS_KEPT, '*', 'id', d.id, 'effect', d.effect,
    'rules', table.concat(d.rules, ' '), 'version', d.version, 'reason', d.reason, 'request', d.request,
    'differing', table.concat(d.differing, ' '), 'actor', actor, 'target', target)
  for _, policy in ipairs(d.differing) do redis.call('HINCRBY', K.mismatches(), policy, 1) end
end
