-- ARGV: guard, limit, age of the feed in ms. Answer: number of records forgotten
-- and of entries of the feed looked at, the latter 0 if the rest is young enough.
local no = refused()
if no then return no end
local limit, age = tonumber(ARGV[2]), tonumber(ARGV[3])
local count, old, floor = sweep(limit), 0, nil
for _, e in ipairs(call('XRANGE', FEED, '-', '+', 'COUNT', 32)) do
  if struct.unpack('<I8', e[2][2]) > now - age then break end
  old, floor = old + 1, tonumber(string.match(e[1], '^%d+'))
end
if old > 0 then
  call('XTRIM', FEED, 'MINID', string.format('%.0f-0', floor + 1))
  if floor > forgotten then
    forgotten = floor
    call('HSET', META, 'f', string.format('%.0f', forgotten))
  end
  if call('XLEN', FEED) == 0 then call('DEL', FEED) end
end
return answer('ok', count, old)
