-- home: workspace
-- One page of records, newest first. Looks at no more than `examine` records however few match; a short page with a
-- cursor says there may be more.
-- KEYS[1]  the workspace's root
-- ARGV     status ('' any), type ('' any), agent ('' any), limit, cursor time ('' start), cursor id, examine
-- Returns  {{id, record flat without payload and result} …, cursor time or '', cursor id}
local BODIES = {payload = true, result = true}
local status, kind, agent = ARGV[1], ARGV[2], ARGV[3]
local limit, examine = tonumber(ARGV[4]), tonumber(ARGV[7])
local index = status == '' and K.tasks() or K.by(status)
local time, last = ARGV[5], ARGV[6]
local records, examined, skip = {}, 0, 0
while examined < examine do
  local max = time == '' and '+inf' or time
  local rows = redis.call('ZREVRANGEBYSCORE', index, max, '-inf', 'WITHSCORES', 'LIMIT', skip, 100)
  if #rows == 0 then return {records, '', ''} end
  for n = 1, #rows, 2 do
    local id, score = rows[n], rows[n + 1]
    -- Rows of the cursor's own millisecond come first; those up to the cursor's id were on the page before.
    if time == '' or score ~= ARGV[5] or id < last then
      local record = redis.call('HMGET', K.task(id), 'type', 'agent')
      examined = examined + 1
      if (kind == '' or record[1] == kind) and (agent == '' or record[2] == agent) then
        records[#records + 1] = {id, without(id, BODIES)}
      end
      if #records >= limit or examined >= examine then return {records, score, id} end
    end
  end
  skip = skip + 100
end
return {records, '', ''}
