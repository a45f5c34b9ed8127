-- Mark a token's seats, where they are its own or nobody's, and tell the readers.
-- KEYS: the show's stamp, seats...   ARGV: token, mark, ttl in ms, show, stamp's seconds
for i = 2, #KEYS do
  local holder = redis.call('GET', KEYS[i])
  if not holder or holder == ARGV[1] then
    redis.call('SET', KEYS[i], ARGV[2], 'PX', ARGV[3])
  end
end
local now = redis.call('TIME')
redis.call('SET', KEYS[1], now[1] .. '.' .. now[2], 'EX', ARGV[5])
redis.call('PUBLISH', 'seathold:news', 'seats:' .. ARGV[4])
return 1
