-- home: fleet
-- One page of a scope's tokens, by id.
-- KEYS[1]  the fleet's root
-- ARGV     scope ('*' the platform), id after which to begin ('' the first), most
-- Returns  {id, record flat} flat; what has expired and is forgotten is left out and dropped from the list
local rows = {}
local after = ARGV[2] == '' and '-' or '(' .. ARGV[2]
while true do
  local ids = redis.call('ZRANGEBYLEX', K.tokens(ARGV[1]), after, '+', 'LIMIT', 0, ARGV[3])
  for _, id in ipairs(ids) do
    local record = redis.call('HGETALL', K.token(id))
    if #record > 0 then
      rows[#rows + 1] = id
      rows[#rows + 1] = record
    else
      redis.call('ZREM', K.tokens(ARGV[1]), id)
      redis.call('ZREM', K.ending(ARGV[1]), id)
    end
  end
  if #ids == 0 or #rows > 0 then return rows end
end
