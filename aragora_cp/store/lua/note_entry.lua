-- home: trail
-- What is about to be done by many scripts: one entry tells of it.
-- KEYS[1]  the trail's root
-- ARGV     action, target, JSON of what will be done
audit(CALLED_BY, ARGV[1], ARGV[2], 'accepted', CALLED_AS, nil, cjson.decode(ARGV[3]))
return 1
