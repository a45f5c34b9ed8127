-- Mark a token's seats, where they are its own or nobody's.
-- KEYS: seats...   ARGV: token, mark, ttl in ms ('' for ever)
for i = 1, #KEYS do
  local holder = redis.call('GET', KEYS[i])
  if not holder or holder == ARGV[1] then
    if ARGV[3] == '' then
      redis.call('SET', KEYS[i], ARGV[2])
    else
      redis.call('SET', KEYS[i], ARGV[2], 'PX', ARGV[3])
    end
  end
end
return 1
