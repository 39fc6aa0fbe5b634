-- KEYS[7] to KEYS[10]: keys for this probe alone. ARGV: guard, value. Uses every
-- command that a mutation needs, so that a missing right shows here and not in
-- the middle of one. Answer: number of records.
local no = refused()
if no then return no end
call('HSET', KEYS[8], 'f', 'v')
call('HGET', KEYS[8], 'f')
call('HDEL', KEYS[8], 'f')
call('ZADD', KEYS[9], 0, 'm')
call('ZRANGEBYLEX', KEYS[9], '[m', '[m')
call('ZRANGEBYSCORE', KEYS[9], 0, 0)
call('ZREM', KEYS[9], 'm')
call('ZREMRANGEBYLEX', KEYS[9], '[m', '[m')
call('XADD', KEYS[10], '1-0', 'b', 'v')
call('XRANGE', KEYS[10], '-', '+')
call('XTRIM', KEYS[10], 'MINID', '1-0')
call('XLEN', KEYS[10])
call('DEL', KEYS[10])
call('SET', KEYS[7], ARGV[2], 'PX', 60000)
return answer('ok', call('HLEN', RECORDS))
