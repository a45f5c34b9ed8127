-- Delete a token's marks and tell running loads that what they read may be stale.
-- KEYS: epoch, seats...   ARGV: token
redis.call('INCR', KEYS[1])
local own_sold = 'sold:' .. ARGV[1]
for i = 2, #KEYS do
  local holder = redis.call('GET', KEYS[i])
  if holder == ARGV[1] or holder == own_sold then
    redis.call('DEL', KEYS[i])
  end
end
return 1
