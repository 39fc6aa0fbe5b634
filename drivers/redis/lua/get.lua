-- ARGV: guard, ids. Answer: the values, in their order.
local no = refused()
if no then return no end
return answer('ok', call('HMGET', RECORDS, unpack(ARGV, 2)))
