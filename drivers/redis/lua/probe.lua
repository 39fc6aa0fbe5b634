-- KEYS[6] to KEYS[9]: keys for this probe alone. ARGV: guard, value. Uses every
-- command that a mutation needs, so that a missing right shows here and not in
-- the middle of one. Answer: number of records.
local no = refused()
if no then return no end
call('HSET', KEYS[7], 'f', 'v')
call('HGET', KEYS[7], 'f')
call('HDEL', KEYS[7], 'f')
call('ZADD', KEYS[8], 0, 'm')
call('ZRANGEBYLEX', KEYS[8], '[m', '[m')
call('ZRANGEBYSCORE', KEYS[8], 0, 0)
call('ZREM', KEYS[8], 'm')
call('ZREMRANGEBYLEX', KEYS[8], '[m', '[m')
call('XADD', KEYS[9], '1-0', 'b', 'v')
call('XRANGE', KEYS[9], '-', '+')
call('XTRIM', KEYS[9], 'MINID', '1-0')
call('XLEN', KEYS[9])
call('DEL', KEYS[9])
call('SET', KEYS[6], ARGV[2], 'PX', 60000)
return answer('ok', call('HLEN', RECORDS))
