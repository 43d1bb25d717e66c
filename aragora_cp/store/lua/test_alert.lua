-- home: fleet
-- Put one message to every sink on its way, to see that they work.
-- KEYS[1]  the fleet's root
-- ARGV     incident id, body JSON, then sinks
-- Returns  how many deliveries there are for it
audit(CALLED_BY, 'alert.test', ARGV[1], 'accepted', CALLED_AS)
for n = 3, #ARGV do deliver(ARGV[n], 'test', ARGV[1], ARGV[2]) end
return #ARGV - 2
