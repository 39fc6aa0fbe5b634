-- What every script begins with: the keys, the state of the shard, and the guard.
-- Numbers of 64 bits are kept as bytes (little-endian, as in the encoding of a
-- record), since a Lua number is exact only up to 2^53; sequences stay below that.
local META, RECORDS, INDEX, LEASED, EXPIRY, FEED = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local call, sub, byte, char = redis.call, string.sub, string.byte, string.char
local ZERO8 = string.rep('\0', 8)

-- The layout of the keys and of what they hold. Whoever changes it gives it the next
-- number, so that no version of the driver misreads the data of another one.
local LAYOUT = 1

-- Byte positions in an encoded record, from 1.
-- status 2 | revision 3-10 | epoch 11-18 | token 19-34 | due 35-42 | lease 43-58
-- attempt 59-62 | created 63-70 | updated 71-78 | expires 79-86 | variable part 87-
-- A stored value is an encoded record followed by the sequence (8 bytes) of its
-- last change, or by zeros if it was never changed.

local now
do
  local t = call('TIME')
  now = t[1] * 1000 + math.floor(t[2] / 1000)
end

-- number gives eight bytes as a Lua number; exact below 2^53, which times and
-- sequences are.
local function number(b)
  local lo, hi = struct.unpack('<I4I4', b)
  return hi * 4294967296 + lo
end

-- less compares eight bytes as unsigned numbers, exactly.
local function less(a, b)
  if a == b then return false end
  local alo, ahi = struct.unpack('<I4I4', a)
  local blo, bhi = struct.unpack('<I4I4', b)
  return ahi < bhi or ahi == bhi and alo < blo
end

-- state of the shard: i incarnation, q sequence, r replication id of the server
-- that wrote last, a former incarnations, e epoch, n number of shards, f what the
-- feed has forgotten, v the layout.
local meta = call('HMGET', META, 'i', 'q', 'r', 'a', 'e', 'n', 'f', 'v')
local incarnation, sequence, former = meta[1], tonumber(meta[2] or 0), meta[4] or ''
local epoch, forgotten = meta[5] or '', tonumber(meta[7] or 0)
local candidate, check, seen, shards, wanted = struct.unpack('<c8BBHc8', ARGV[1])
local layout = incarnation and tonumber(meta[8] or 0) or LAYOUT
do
  -- The replication id is new whenever the server was restarted or promoted, so
  -- that its data may have gone back: a new branch of history begins.
  local replication = string.match(call('INFO', 'replication'), 'master_replid:(%x+)')
  if not incarnation then
    incarnation, meta[6] = candidate, shards
    call('HSET', META, 'i', candidate, 'q', 0, 'r', replication, 'n', shards, 'v', LAYOUT)
  elseif meta[3] ~= replication and layout == LAYOUT then
    former = sub(incarnation .. struct.pack('<I8', sequence) .. former, 1, 256)
    incarnation = candidate
    call('HSET', META, 'i', candidate, 'r', replication, 'a', former)
  end
end

-- follows tells whether the history of this shard contains the state at which
-- the sequence of an incarnation was at.
local function follows(inc, at)
  if inc == incarnation then return at <= sequence end
  for p = 1, #former, 16 do
    if inc == sub(former, p, p + 7) then return at <= number(sub(former, p + 8, p + 15)) end
  end
  return false
end

-- answer is what all scripts return.
local function answer(code, ...)
  return {code, incarnation, sequence, now, ...}
end

-- refused gives the answer that the guard demands, or nil. check: 0 nothing, 1
-- the exact epoch and serving, 2 the epoch or a later one.
local function refused()
  if layout ~= LAYOUT then return answer('layout', layout) end
  if tonumber(meta[6]) ~= shards then return answer('shards', tonumber(meta[6])) end
  if seen == 1 then
    local inc, at = struct.unpack('<c8I8', ARGV[1], 21)
    if not follows(inc, at) then return answer('lost') end
  end
  if check == 0 then return nil end
  local held = epoch == '' and ZERO8 or sub(epoch, 1, 8)
  if check == 1 and (held ~= wanted or byte(epoch, 17) == 1) or check == 2 and less(wanted, held) then
    return answer('epoch', epoch)
  end
end

-- member is the entry of a value in the index: status, kind, 0, due (6 bytes,
-- big-endian), id. It is in LEASED if the status is 2, else in INDEX. kind_id is where kind and id stand in the variable part.
local function kind_id(v)
  local n, p = byte(v, 87), 88
  if n > 127 then n, p = n - 128 + 128 * byte(v, 88), 89 end
  local k = p + n
  return sub(v, k + 1, k + byte(v, k)), sub(v, p, k - 1)
end

local function member(v)
  local kind, id = kind_id(v)
  return sub(v, 2, 2) .. kind .. '\0' .. string.reverse(sub(v, 35, 40)) .. id
end

-- expired tells whether a value may be forgotten.
local function expired(v)
  local e = sub(v, 79, 86)
  return e ~= ZERO8 and number(e) <= now
end
