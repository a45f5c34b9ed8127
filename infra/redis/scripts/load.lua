-- Write marks that were read from PostgreSQL, unless a seat was freed since the epoch was read.
-- KEYS: loaded marker, epoch, seats...
-- ARGV: epoch, '1' with the last marks, then for each seat: mark, ttl in ms ('' for ever)
-- Answers 1 written | 0 stale.
if (redis.call('GET', KEYS[2]) or '') ~= ARGV[1] then return 0 end
for i = 3, #KEYS do
  local mark, ttl = ARGV[i * 2 - 3], ARGV[i * 2 - 2]
  if ttl == '' then
    redis.call('SET', KEYS[i], mark, 'NX')
  else
    redis.call('SET', KEYS[i], mark, 'NX', 'PX', ttl)
  end
end
if ARGV[2] == '1' then
  redis.call('SET', KEYS[1], '1')
end
return 1
