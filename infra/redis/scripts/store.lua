-- Keep what was read under a lock, and give the lock back; not if somebody else has it by now.
-- KEYS: value, lock   ARGV: token, value, ttl in ms (0: keep nothing)
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
if tonumber(ARGV[3]) > 0 then
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
end
redis.call('DEL', KEYS[2])
return 1
