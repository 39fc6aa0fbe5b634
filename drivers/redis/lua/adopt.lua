-- Brings a further shard to the epoch of the first. ARGV: guard, epoch, 1 to write
-- in any case. Answer: the epoch held.
local no = refused()
if no then return no end
local new = ARGV[2]
if epoch == '' or less(sub(epoch, 1, 8), sub(new, 1, 8))
  or sub(epoch, 1, 8) == sub(new, 1, 8) and less(sub(epoch, 9, 16), sub(new, 9, 16)) then
  sequence = sequence + 1
  call('HSET', META, 'e', new, 'q', string.format('%.0f', sequence))
  epoch = new
elseif ARGV[3] == '1' then
  call('HSET', META, 'q', string.format('%.0f', sequence))
end
return answer('ok', epoch)
