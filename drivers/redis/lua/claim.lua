-- KEYS[7]: what the claim of this token gave. ARGV: guard, length of the feed, 1
-- to write in any case, token, owner, lease in ms, limit, limit of bytes, largest
-- record, then the kinds. Answer: number given by the first call of this token,
-- stored values, earliest due time of the others (0: none).
local no = refused()
if no then return no end
local token, owner, lease, limit = ARGV[4], ARGV[5], tonumber(ARGV[6]), tonumber(ARGV[7])
local most_bytes, largest = tonumber(ARGV[8]), tonumber(ARGV[9])
local wanted_epoch = wanted
local values, given, mine, repeated = {}, {}, {}, call('GET', KEYS[7])
if repeated then
  given = cmsgpack.unpack(repeated)
  if #given > 0 then
    for i, v in ipairs(call('HMGET', RECORDS, unpack(given))) do
      if v and sub(v, 19, 34) == token then
        values[#values + 1], mine[given[i]] = v, true
      end
    end
  end
  limit = 0
elseif seldom(sequence, sequence + limit) then
  sweep(limit + 2 * SELDOM)
end

-- One place in an index for each kind and claimable status, read page by page.
local places = {}
local page = math.min(limit, 64) + 1
local function fill(s)
  s.page = call('ZRANGEBYLEX', s.index, s.low, s.high, 'LIMIT', 0, page)
  s.at, s.full, s.read = 1, #s.page == page, 0
end
-- value gives the record of the entry at s.at. It is read together with up to most
-- that follow, but not many: of large records few are taken.
local function value(s, most)
  if s.at > s.read then
    local ids = {}
    s.from, s.read = s.at, math.min(s.at + math.min(most, 8) - 1, #s.page)
    for i = s.from, s.read do ids[i - s.from + 1] = sub(s.page[i], s.skip + 6) end
    s.values = call('HMGET', RECORDS, unpack(ids))
  end
  return s.values[s.at - s.from + 1]
end
local function due_of(entry, skip)
  local hi, lo = struct.unpack('>I2I4', sub(entry, skip, skip + 5))
  return hi * 4294967296 + lo
end
local function head(s)
  while true do
    if s.at > #s.page then
      if not s.full then s.due = nil return end
      s.low = '(' .. s.page[#s.page]
      fill(s)
    else
      s.due = due_of(s.page[s.at], s.skip)
      return
    end
  end
end
for k = 10, #ARGV do
  for status = 1, 3 do
    local prefix = char(status) .. ARGV[k]
    -- A due time of 0 is never claimable.
    local low = '[' .. prefix .. '\0\0\0\0\0\0\1'
    local s = {index = status == 2 and LEASED or INDEX, first = low, low = low, high = '(' .. prefix .. '\1',
      skip = #prefix + 2, taken = {}}
    fill(s)
    head(s)
    if s.due then places[#places + 1] = s end
  end
end

expect(limit)
local until_bytes = struct.pack('<I8', now + lease)
local lease_end = string.reverse(sub(until_bytes, 1, 6))
-- leased gives the kind and the successor of a stored value, with its suffix.
local function leased(v, id)
  local kind = kind_id(v)
  local lo, hi = struct.unpack('<I4I4', sub(v, 3, 10))
  lo = lo + 1
  if lo == 4294967296 then lo, hi = 0, hi + 1 end
  local attempt = math.min(struct.unpack('<I4', sub(v, 59, 62)) + 1, 4294967295)
  local from = (#id > 127 and 89 or 88) + #id + 1 + #kind -- where the lease owner begins
  local o, skip = byte(v, from), 1
  if o > 127 then o, skip = o - 128 + 128 * byte(v, from + 1), 2 end
  local size = #owner < 128 and char(#owner) or char(#owner % 128 + 128, math.floor(#owner / 128))
  return kind, sub(v, 1, 1) .. '\2' .. struct.pack('<I4I4', lo, hi) .. wanted_epoch .. token .. until_bytes .. token
    .. struct.pack('<I4', attempt) .. sub(v, 63, 70) .. struct.pack('<I8', now) .. ZERO8
    .. sub(v, 87, from - 1) .. size .. owner .. sub(v, from + skip + o, -9) .. suffix
end

-- The earliest head of all places comes next; records of later epochs are passed
-- over, a bounded number of them.
local next_due, bytes, budget, taken = 0, 0, limit + 1024, {}
while true do
  local s
  for _, c in ipairs(places) do
    if c.due and (not s or c.due < s.due) then s = c end
  end
  if not s then break end
  local entry, due = s.page[s.at], s.due
  local id = sub(entry, s.skip + 6)
  local take = due <= now and #given < limit and budget > 0
  if mine[id] then
    take = false
  elseif not take then
    if next_due == 0 or due < next_due then next_due = due end
    break
  end
  if take then
    budget = budget - 1
    local v = value(s, limit - #given)
    if not v or member(v) ~= entry then
      call('ZREM', s.index, entry) -- an entry without its record must not hide others
    else
      local kind, new = leased(v, id)
      if less(wanted_epoch, sub(v, 11, 18)) or #new - 8 > largest then
        if next_due == 0 then next_due = due end
        s.gaps = true
      elseif bytes + #new > most_bytes then
        if next_due == 0 then next_due = due end
        break
      else
        bytes = bytes + #new
        taken[#taken + 1] = '\2' .. kind .. '\0' .. lease_end .. id
        s.taken[#s.taken + 1] = entry
        given[#given + 1], values[#values + 1] = id, new
      end
    end
  end
  s.at = s.at + 1
  head(s)
end
local pieces = {}
for i, t in ipairs(taken) do
  put(given[i], values[i], t, nil, READY)
  pieces[i] = piece(values[i], t)
end
-- Their entries go, at one go if nothing was passed over: in a large index, to find
-- the way to each is what costs. The new ones are not there yet.
for _, s in ipairs(places) do
  local n = #s.taken
  if s.gaps and n > 0 then
    call('ZREM', s.index, unpack(s.taken))
  elseif n > 0 then
    call('ZREMRANGEBYLEX', s.index, s.first, '[' .. s.taken[n])
  end
end
flush(tonumber(ARGV[2]), table.concat(pieces))
if #given > 0 and not repeated then call('SET', KEYS[7], cmsgpack.pack(given), 'PX', lease) end
if ARGV[3] == '1' then touch() end
return answer('ok', #given, values, next_due)
