-- Take every seat for one token, or none.
-- KEYS: loaded marker, epoch, seats...   ARGV: token, lease in ms
-- Answers {0} not loaded | {1, epoch} won | {2, i, ...} lost: the seats in the way, from 1.
local values = redis.call('MGET', unpack(KEYS))
if not values[1] then
  return {0}
end
local token, lease = ARGV[1], ARGV[2]
local own_sold = 'sold:' .. token
local lost = {2}
for i = 3, #KEYS do
  local holder = values[i]
  if holder and holder ~= token and holder ~= own_sold then
    lost[#lost + 1] = i - 2
  end
end
if #lost > 1 then
  return lost
end
for i = 3, #KEYS do
  if not values[i] then
    redis.call('SET', KEYS[i], token, 'PX', lease)
  elseif values[i] == token then
    redis.call('PEXPIRE', KEYS[i], lease, 'GT')
  end
end
return {1, values[2] or ''}
