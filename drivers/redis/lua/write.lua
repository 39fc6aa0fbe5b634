-- Changes of a call are announced by expect, collected by put, and stored by
-- flush, each kind of change with one command.
local pairs_of, added, removed, released, expiring = {}, {}, {}, {}, nil
local filled, after, suffix = 0, 0, nil
local leases, others = false, false -- added has entries for LEASED, for INDEX
local place = {} -- id -> where it stands in pairs_of

-- expect announces up to n changes; all get the sequence that the call leaves
-- behind.
local function expect(n)
  after = sequence + n
  suffix = struct.pack('<I8', after)
end

-- replaced gives the index entry of an old value, from that of its successor:
-- the kind stays.
local function replaced(old, entry, id)
  return sub(old, 2, 2) .. sub(entry, 2, -7 - #id) .. string.reverse(sub(old, 35, 40)) .. id
end

-- put stores v, whose index entry is entry, in place of old (or nil). A value may
-- be put in place of one put before in the same call. v is without its suffix, with
-- that of a first revision (FIRST), or with the one of this call (READY): joining
-- strings is what costs most here.
local BARE, FIRST, READY = 0, 1, 2
local function put(id, v, entry, old, form)
  local at = place[id]
  if not at then
    at = filled + 1
    filled = filled + 2
    place[id] = at
    pairs_of[at] = id
    added[at] = 0
    -- ZREM comes before ZADD, so an entry that stays may stand in both.
    if old then
      local of = byte(old, 2) == 2 and released or removed
      of[#of + 1] = replaced(old, entry, id)
    end
  end
  if form == BARE then
    v = v .. suffix
  elseif form == FIRST and old then
    v = sub(v, 1, -9) .. suffix
  end
  pairs_of[at + 1] = v
  added[at + 1] = entry
  local status = byte(entry)
  if status == 2 then leases = true else others = true end
  -- Only finished records (status 4 and above) expire.
  if status > 3 or old and byte(old, 2) > 3 or expiring and expiring[id] then
    expiring = expiring or {}
    expiring[id] = sub(v, 79, 86)
  end
end

-- piece is what the feed tells of one change: see parseChanges.
local function piece(v, entry)
  return sub(v, 3, 18) .. char(math.floor(#entry / 256), #entry % 256) .. entry
end

-- add gives the indexes their new entries.
local function add()
  if leases ~= others then return call('ZADD', leases and LEASED or INDEX, unpack(added)) end
  local to = {[LEASED] = {}, [INDEX] = {}}
  for i = 2, filled, 2 do
    local list = to[byte(added[i]) == 2 and LEASED or INDEX]
    list[#list + 1] = 0
    list[#list + 1] = added[i]
  end
  -- One is empty if what it was for was replaced in the same call.
  for index, list in pairs(to) do
    if #list > 0 then call('ZADD', index, unpack(list)) end
  end
end

-- flush stores it all; payload is what the feed tells.
local function flush(feed_length, payload)
  if filled == 0 then return end
  local trim = seldom(sequence, after)
  sequence = after
  call('HSET', RECORDS, unpack(pairs_of))
  if #removed > 0 then call('ZREM', INDEX, unpack(removed)) end
  if #released > 0 then call('ZREM', LEASED, unpack(released)) end
  add()
  if expiring then
    for id, e in pairs(expiring) do
      if e == ZERO8 then call('ZREM', EXPIRY, id) else call('ZADD', EXPIRY, number(e), id) end
    end
  end
  local last, entry = string.format('%.0f', sequence), struct.pack('<I8', now) .. payload
  local floor = sequence - feed_length
  if trim and floor > forgotten then
    forgotten = floor
    local first = string.format('%.0f', floor)
    call('XADD', FEED, 'MINID', '~', first .. '-0', last .. '-0', 'b', entry)
    call('HSET', META, 'q', last, 'f', first)
  else
    call('XADD', FEED, last .. '-0', 'b', entry)
    call('HSET', META, 'q', last)
  end
end

-- told puts the payload together where not all of a batch was applied: letters[i]
-- is 'a' for what was; argv has the value of i at 3 * i + from, and its index entry
-- after it.
local function told(letters, argv, from)
  local parts = {}
  for i, letter in ipairs(letters) do
    if letter == 'a' then
      parts[#parts + 1] = piece(argv[3 * i + from], argv[3 * i + from + 1])
    end
  end
  return table.concat(parts)
end

-- touch makes the connection have written something, so that WAIT and WAITAOF
-- speak of this call also when it was a repeat.
local function touch()
  call('HSET', META, 'q', string.format('%.0f', sequence))
end
