-- home: workspace
-- Hold the counters of leases and tickets against the sets that they count, and set them right. Reads every lease and ticket.
-- KEYS[1]  the workspace's root
-- ARGV     JSON of the names of all lanes that may hold tickets, fix (1/0)
-- Returns  findings: {kind, what} …
local fix = ARGV[2] == '1'
local findings, counted = {}, {}

local function count(name) counted[name] = (counted[name] or 0) + 1 end

for _, id in ipairs(redis.call('ZRANGE', K.running(), 0, -1)) do
  local t = load_routing(id)
  if t and t.status == 'RUNNING' then
    count('running:' .. t.run_lane)
  else
    findings[#findings + 1] = {'stray-lease', id}
    if fix then redis.call('ZREM', K.running(), id) end
  end
end

local lanes, counters = {}, redis.call('HGETALL', K.load())
for _, name in ipairs(cjson.decode(ARGV[1])) do lanes[name] = true end
for n = 1, #counters, 2 do
  local name = string.match(counters[n], '^tickets:(.+)$')
  if name then lanes[name] = true end
end
for name in pairs(lanes) do
  for _, prio in ipairs(PRIORITIES) do
    for _, id in ipairs(redis.call('ZRANGE', K.released(name, prio), 0, -1)) do
      local t = load_routing(id)
      if t and t.status == 'PENDING' and t.lane == name and t.prio == prio then
        count('tickets:' .. name)
      else
        findings[#findings + 1] = {'stray-ticket', id}
        if fix then redis.call('ZREM', K.released(name, prio), id) end
      end
    end
  end
end

for n = 1, #counters, 2 do
  if tonumber(counters[n + 1]) ~= (counted[counters[n]] or 0) then findings[#findings + 1] = {'counter', counters[n]} end
end
for name in pairs(counted) do
  if not redis.call('HEXISTS', K.load(), name) then findings[#findings + 1] = {'counter', name} end
end
if fix then
  redis.call('DEL', K.load())
  for name, n in pairs(counted) do redis.call('HSET', K.load(), name, n) end
end
return findings
