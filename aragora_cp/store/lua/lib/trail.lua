-- The audit trail: an entry is the first write of the script whose change it tells of, so that a store which does not
-- take the entry does not take the change.
-- Every call ends with where it comes from: actor, network address, correlation id, one a line.
local CALLED_BY, CALLED_FROM, CALLED_AS = string.match(table.remove(ARGV) or '', '^([^\n]*)\n([^\n]*)\n([^\n]*)$')
CALLED_BY, CALLED_FROM, CALLED_AS = CALLED_BY or '', CALLED_FROM or '', CALLED_AS or ''

-- `before` and `after`: tables of what matters of the target, or nil. The kind of target is the action's first word.
local function audit(actor, action, target, outcome, corr, before, after)
  redis.call('XADD', K.audit(), '*', 'actor', actor, 'action', action, 'target', target, 'outcome', outcome,
    'corr', corr, 'from', CALLED_FROM, 'before', before and cjson.encode(before) or '',
    'after', after and cjson.encode(after) or '')
end

-- Refusals that get an entry of their own in one minute: of a trail, and of one address in it. The rest is counted.
local NOTED, NOTED_FROM = 60, 20
local MINUTE = math.floor(NOW / 60000)

-- One entry for all refusals of an earlier minute that got none.
local function tell_uncounted()
  local seen = redis.call('HMGET', K.refused(), 'minute', 'more')
  if not seen[1] or tonumber(seen[1]) == MINUTE then return end
  if seen[2] then
    audit('control-plane', 'refusals.more', '', 'counted', '', nil, {count = tonumber(seen[2]), minute = tonumber(seen[1])})
  end
  redis.call('DEL', K.refused())
end

-- An operation was refused. Someone who is refused again and again cannot fill the store with it.
local function refuse(actor, action, target, outcome, corr, after)
  tell_uncounted()
  redis.call('HSETNX', K.refused(), 'minute', MINUTE)
  local from = 'from:' .. CALLED_FROM
  local noted = redis.call('HMGET', K.refused(), 'all', from)
  if tonumber(noted[1] or '0') >= NOTED or (CALLED_FROM ~= '' and tonumber(noted[2] or '0') >= NOTED_FROM) then
    redis.call('HINCRBY', K.refused(), 'more', 1)
    return 0
  end
  redis.call('HINCRBY', K.refused(), 'all', 1)
  if CALLED_FROM ~= '' then redis.call('HINCRBY', K.refused(), from, 1) end
  audit(actor, action, target, outcome, corr, nil, after)
  return 1
end
