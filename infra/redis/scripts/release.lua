-- Delete a token's marks, tell running loads that what they read may be stale, and the readers.
-- KEYS: the show's stamp, epoch, seats...   ARGV: token, show, stamp's seconds
redis.call('INCR', KEYS[2])
local own_sold = 'sold:' .. ARGV[1]
for i = 3, #KEYS do
  local holder = redis.call('GET', KEYS[i])
  if holder == ARGV[1] or holder == own_sold then
    redis.call('DEL', KEYS[i])
  end
end
local now = redis.call('TIME')
redis.call('SET', KEYS[1], now[1] .. '.' .. now[2], 'EX', ARGV[3])
redis.call('PUBLISH', 'seathold:news', 'seats:' .. ARGV[2])
return 1
