-- Write marks that were read from PostgreSQL, and renew those that stand, unless a seat was freed
-- since the epoch was read.
-- KEYS: loaded marker, epoch, seats...
-- ARGV: epoch, the loaded marker's ttl in ms with the last marks (else 0), then for each seat: mark,
--   ttl in ms
-- Answers 1 written | 0 stale.
if (redis.call('GET', KEYS[2]) or '') ~= ARGV[1] then return 0 end
for i = 3, #KEYS do
  local mark, ttl = ARGV[i * 2 - 3], ARGV[i * 2 - 2]
  if redis.call('SET', KEYS[i], mark, 'NX', 'GET', 'PX', ttl) == mark then
    redis.call('PEXPIRE', KEYS[i], ttl, 'GT')
  end
end
if ARGV[2] ~= '0' then
  redis.call('SET', KEYS[1], '1', 'PX', ARGV[2])
end
return 1
