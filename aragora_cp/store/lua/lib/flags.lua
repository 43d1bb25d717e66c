-- The flags of one home: the platform's, or a workspace's own. An entry is JSON {version, at, by, flag}; `flag` is the
-- text of a flag in flagd's JSON, '' for one that was deleted, and is never parsed here.
local VERSIONS_KEPT = 50

local function version_of(name)
  local newest = redis.call('LINDEX', K.flag_versions(name), 0)
  return newest and cjson.decode(newest).version or 0
end

local function text_of(name)
  local entry = redis.call('HGET', K.flags(), name)
  return entry and cjson.decode(entry).flag or ''
end

-- `text` is what the flag says from now on; caches everywhere are told. Answers the entry.
local function publish_flag(name, text, action, channel, message, more)
  local version = version_of(name) + 1
  local after = {version = version}
  for key, value in pairs(more or {}) do after[key] = value end
  audit(CALLED_BY, action, name, 'accepted', CALLED_AS, {version = version - 1}, after)
  local entry = cjson.encode({version = version, at = NOW, by = CALLED_BY, flag = text})
  redis.call('LPUSH', K.flag_versions(name), entry)
  redis.call('LTRIM', K.flag_versions(name), 0, VERSIONS_KEPT - 1)
  if text == '' then redis.call('HDEL', K.flags(), name) else redis.call('HSET', K.flags(), name, entry) end
  redis.call('PUBLISH', channel, message)
  return entry
end
