-- home: flags
-- Let a flag say again what it said in an earlier version; that becomes its next version.
-- KEYS[1]  the root of the flag's home
-- ARGV     name, the earlier version, most flags of a home, the channel of changes, what is said there
-- Returns  {'set', its entry}; {'same', its entry} when it says so already; {'unknown'}: no such version is kept, or the
--          flag was deleted in it; or {'quota', limit, used}
local name, wanted, most = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local text
for _, entry in ipairs(redis.call('LRANGE', K.flag_versions(name), 0, -1)) do
  local told = cjson.decode(entry)
  if told.version == wanted then text = told.flag end
end
if not text or text == '' then return {'unknown'} end
local present = redis.call('HGET', K.flags(), name)
if text == text_of(name) then return {'same', present} end
local used = redis.call('HLEN', K.flags())
if not present and used >= most then
  refuse(CALLED_BY, 'flag.roll-back', name, 'quota-exceeded', CALLED_AS)
  return {'quota', most, used}
end
return {'set', publish_flag(name, text, 'flag.roll-back', ARGV[4], ARGV[5], {to = wanted})}
