-- Mark a token's seats, where they are its own or nobody's, and tell the readers. What is sold
-- is marked over a rival's lease as well: PostgreSQL is about to refuse that rival.
-- KEYS: the show's stamp, seats...   ARGV: token, mark, ttl in ms, show, stamp's seconds
local sells = ARGV[2] ~= ARGV[1]
for i = 2, #KEYS do
  local holder = redis.call('GET', KEYS[i])
  local is_lease = holder and holder ~= 'blocked' and string.sub(holder, 1, 5) ~= 'sold:'
  if not holder or holder == ARGV[1] or (sells and is_lease) then
    redis.call('SET', KEYS[i], ARGV[2], 'PX', ARGV[3])
  end
end
local now = redis.call('TIME')
redis.call('SET', KEYS[1], now[1] .. '.' .. now[2], 'EX', ARGV[5])
redis.call('PUBLISH', 'seathold:news', 'seats:' .. ARGV[4])
return 1
