-- home: trail
-- One page of entries, newest first. Looks at no more than `examine` entries, however few match.
-- KEYS[1]  the trail's root
-- ARGV     earliest ms ('' any), latest ms ('' any), actor ('' any), action ('' any; task.* every action on tasks),
--          id to go on before ('' from the newest), limit, examine
-- Returns  {{id, fields flat} …, id to go on before or ''}
local earliest = ARGV[1] == '' and '-' or ARGV[1]
local from = ARGV[5] ~= '' and '(' .. ARGV[5] or ARGV[2] ~= '' and ARGV[2] or '+'
local prefix = string.match(ARGV[4], '^(.*)%*$')
local limit, examine, found = tonumber(ARGV[6]), tonumber(ARGV[7]), {}
while examine > 0 do
  local rows = redis.call('XREVRANGE', K.audit(), from, earliest, 'COUNT', math.min(100, examine))
  if #rows == 0 then return {found, ''} end
  for _, entry in ipairs(rows) do
    local action = field_of(entry, 'action') or ''
    local fits = ARGV[4] == '' or action == ARGV[4] or (prefix and string.sub(action, 1, #prefix) == prefix)
    if fits and (ARGV[3] == '' or field_of(entry, 'actor') == ARGV[3]) then
      found[#found + 1] = entry
      if #found >= limit then return {found, entry[1]} end
    end
    from = '(' .. entry[1]
  end
  examine = examine - #rows
end
return {found, string.sub(from, 2)}
