-- ARGV: guard, incarnation and sequence of the cursor (empty: begin now), number
-- of entries. Answer: entries of the feed after it.
local no = refused()
if no then return no end
if ARGV[2] == '' then return answer('ok', {}) end
local inc, at = struct.unpack('<c8I8', ARGV[2])
if at < forgotten or not follows(inc, at) then return answer('cursor') end
return answer('ok', call('XRANGE', FEED, string.format('%.0f-0', at + 1), '+', 'COUNT', ARGV[3]))
