-- ARGV: guard, length of the feed, 1 to write in any case, then for each record:
-- id, record, index entry. Answer: one letter per record (a applied, r the store
-- holds it or a newer one).
local no = refused()
if no then return no end

-- newer compares by epoch, revision and token, as driver.Compare does.
local function newer(a, b)
  local ae, be = sub(a, 11, 18), sub(b, 11, 18)
  if ae ~= be then return less(be, ae) end
  local ar, br = sub(a, 3, 10), sub(b, 3, 10)
  if ar ~= br then return less(br, ar) end
  for p = 19, 34 do
    local x, y = byte(a, p), byte(b, p)
    if x ~= y then return x > y end
  end
  return false
end

local n = (#ARGV - 3) / 3
if n > 0 then sweep(n + 16) end
local ids, letters = {}, {}
for i = 1, n do ids[i] = ARGV[3 * i + 1] end
local held = n > 0 and call('HMGET', RECORDS, unpack(ids)) or {}
local latest = {}
for i = 1, n do
  local id, new, entry = ids[i], ARGV[3 * i + 2], ARGV[3 * i + 3]
  local first = latest[id] == nil and held[i] or nil
  local old = latest[id] or first and not expired(first) and first or nil
  if old and not newer(new, old) then
    letters[i] = 'r'
  else
    put(id, new, entry, first, first and member(first))
    latest[id] = new
    letters[i] = 'a'
  end
end
flush(tonumber(ARGV[2]))
if ARGV[3] == '1' then touch() end
return answer('ok', table.concat(letters))
