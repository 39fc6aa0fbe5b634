-- To look for what is old costs as much as to store something, so of the calls that
-- change records only those do in which the sequence passes a multiple of this.
local SELDOM = 16
local function seldom(from, to) return math.floor(from / SELDOM) < math.floor(to / SELDOM) end

-- sweep forgets up to limit expired records and all that refers to them.
local function sweep(limit)
  local ids = call('ZRANGEBYSCORE', EXPIRY, '-inf', now, 'LIMIT', 0, limit)
  if #ids == 0 then return 0 end
  local values, entries = call('HMGET', RECORDS, unpack(ids)), {}
  for i = 1, #ids do
    if values[i] then entries[#entries + 1] = member(values[i]) end
  end
  if #entries > 0 then call('ZREM', INDEX, unpack(entries)) end
  call('HDEL', RECORDS, unpack(ids))
  call('ZREM', EXPIRY, unpack(ids))
  return #ids
end
