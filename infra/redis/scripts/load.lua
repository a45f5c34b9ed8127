-- Write marks that were read from PostgreSQL, and renew those that stand. If seats were freed since
-- the epoch was read, a mark that is absent may be of one of those: it is named, not made.
-- KEYS: loaded marker, epoch, seats...
-- ARGV: epoch, the loaded marker's ttl in ms with the last marks (else 0), then for each seat: mark,
--   ttl in ms
-- Answers {epoch now, i, ...} all is written but these seats, from 1 | {} everything was lost.
local epoch = redis.call('GET', KEYS[2])
-- Each release counts one up; after a flush the count starts elsewhere.
local freed = (tonumber(epoch) or -1) - ARGV[1]
if freed < 0 or freed > 1000000 then return {} end
local unsettled = {epoch}
for i = 3, #KEYS do
  local mark, ttl = ARGV[i * 2 - 3], ARGV[i * 2 - 2]
  local holder
  if freed == 0 then
    holder = redis.call('SET', KEYS[i], mark, 'NX', 'GET', 'PX', ttl)
  else
    holder = redis.call('GET', KEYS[i])
    if not holder then unsettled[#unsettled + 1] = i - 2 end
  end
  if holder == mark then
    redis.call('PEXPIRE', KEYS[i], ttl, 'GT')
  end
end
if ARGV[2] ~= '0' and #unsettled == 1 then
  redis.call('SET', KEYS[1], '1', 'PX', ARGV[2])
end
return unsettled
