-- Turn a token's leases into the marks of those who have the seats; drop the rest.
-- A token that was refused never had a seat in PostgreSQL, and one whose booking is over had its
-- release, so the epoch stays as it is.
-- KEYS: epoch, seats...
-- ARGV: epoch, the token, then for each seat: mark ('' for none), ttl in ms
local fresh = (redis.call('GET', KEYS[1]) or '') == ARGV[1]
local token = ARGV[2]
for i = 2, #KEYS do
  local holder = redis.call('GET', KEYS[i])
  local mark, ttl = ARGV[i * 2 - 1], ARGV[i * 2]
  if not holder or holder == token then
    if not fresh or mark == '' then
      redis.call('DEL', KEYS[i])
    else
      redis.call('SET', KEYS[i], mark, 'PX', ttl)
    end
  end
end
return 1
