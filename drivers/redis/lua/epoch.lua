-- ARGV: guard. Answer: the epoch.
local no = refused()
if no then return no end
return answer('ok', epoch)
