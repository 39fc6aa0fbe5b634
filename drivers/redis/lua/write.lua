-- Changes of a call are collected by put and stored by flush, each kind of change
-- with one command.
local pairs_of, added, removed, expiring, kept, feed = {}, {}, {}, {}, {}, {}
local place = {} -- id -> where it stands in pairs_of

-- put stores v, whose index entry is entry, in place of old (or nil), whose entry
-- was was. A value may be put in place of one put before in the same call.
local function put(id, v, entry, old, was)
  sequence = sequence + 1
  local at = place[id]
  if not at then
    at = #pairs_of + 1
    place[id] = at
    pairs_of[at] = id
    -- ZREM comes before ZADD, so an entry that stays may stand in both.
    if old then removed[#removed + 1] = was end
    kept[id] = old and sub(old, 79, 86) or ZERO8
  end
  pairs_of[at + 1] = v .. struct.pack('<I8', sequence)
  added[at], added[at + 1] = 0, entry
  feed[#feed + 1] = sub(v, 3, 18) .. char(math.floor(#entry / 256), #entry % 256) .. entry
  expiring[id] = sub(v, 79, 86)
end

local function flush(feed_length)
  if #pairs_of == 0 then return end
  call('HSET', RECORDS, unpack(pairs_of))
  if #removed > 0 then call('ZREM', INDEX, unpack(removed)) end
  call('ZADD', INDEX, unpack(added))
  for id, e in pairs(expiring) do
    if e ~= kept[id] then
      if e == ZERO8 then call('ZREM', EXPIRY, id) else call('ZADD', EXPIRY, number(e), id) end
    end
  end
  local floor = sequence - feed_length
  if floor > forgotten then forgotten = floor end
  call('XADD', FEED, 'MINID', '~', string.format('%.0f-0', math.max(floor, 0)),
    string.format('%.0f-0', sequence), 'b', struct.pack('<I8', now) .. table.concat(feed))
  call('HSET', META, 'q', string.format('%.0f', sequence), 'f', string.format('%.0f', forgotten))
end

-- touch makes the connection have written something, so that WAIT and WAITAOF
-- speak of this call also when it was a repeat.
local function touch()
  call('HSET', META, 'q', string.format('%.0f', sequence))
end
