-- ARGV: guard, epoch expected, epoch to store, 1 to write in any case. Answer: 1 if
-- it was stored, the epoch held.
local no = refused()
if no then return no end
local done = 0
if epoch == ARGV[2] then
  sequence = sequence + 1
  call('HSET', META, 'e', ARGV[3], 'q', string.format('%.0f', sequence))
  epoch, done = ARGV[3], 1
elseif ARGV[4] == '1' then
  call('HSET', META, 'q', string.format('%.0f', sequence))
end
return answer('ok', done, epoch)
