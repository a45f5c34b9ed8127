-- Counts one request in the window at KEYS[1], which ARGV[1] seconds after its first one ends.
-- Answers the count and the milliseconds that the window has left.
local count = redis.call('INCR', KEYS[1])
if count == 1 then
  redis.call('EXPIRE', KEYS[1], ARGV[1])
end
local left = redis.call('PTTL', KEYS[1])
if left < 0 then
  -- A window without an end (a restore, a hand at the keyboard) would refuse for ever.
  redis.call('EXPIRE', KEYS[1], ARGV[1])
  left = ARGV[1] * 1000
end
return {count, left}
