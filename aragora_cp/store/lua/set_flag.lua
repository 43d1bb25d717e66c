-- home: flags
-- Give a flag its next version, or delete it. What it said before stays in its versions, of which the newest 50 are kept.
-- KEYS[1]  the root of the flag's home
-- ARGV     name, the flag's JSON ('' to delete it), most flags of a home, the channel of changes, what is said there
-- Returns  {'set', its entry}; {'same', its entry} when it says so already; {'unknown'}: there is none to delete; or
--          {'quota', limit, used}
local name, text, most = ARGV[1], ARGV[2], tonumber(ARGV[3])
local present = redis.call('HGET', K.flags(), name)
if text == '' and not present then return {'unknown'} end
if text == text_of(name) then return {'same', present} end
local used = redis.call('HLEN', K.flags())
if not present and used >= most then
  refuse(CALLED_BY, 'flag.set', name, 'quota-exceeded', CALLED_AS)
  return {'quota', most, used}
end
return {'set', publish_flag(name, text, text == '' and 'flag.delete' or 'flag.set', ARGV[4], ARGV[5])}
