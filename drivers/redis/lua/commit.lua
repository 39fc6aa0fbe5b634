-- ARGV: guard, length of the feed, 1 to write in any case, then for each
-- transition: id, revision and token of the base, record, index entry.
-- Answer: one letter per transition (a applied, r repeat, n not found, c another
-- is stored) and the values stored for each c.
local no = refused()
if no then return no end
local n = (#ARGV - 3) / 4
if n > 0 then sweep(n + 16) end
local ids, letters, stored = {}, {}, {}
for i = 1, n do ids[i] = ARGV[4 * i] end
local held = n > 0 and call('HMGET', RECORDS, unpack(ids)) or {}
local latest = {}
for i = 1, n do
  local id, base, new, entry = ids[i], ARGV[4 * i + 1], ARGV[4 * i + 2], ARGV[4 * i + 3]
  local first = latest[id] == nil and held[i] or nil
  -- What has expired counts as forgotten, unless this very call put it there.
  local live = latest[id] or first and not expired(first) and first or nil
  local letter = 'c'
  if not live then
    letter = sub(base, 1, 8) == ZERO8 and 'a' or 'n'
  elseif sub(live, 3, 10) == sub(new, 3, 10) and sub(live, 19, 34) == sub(new, 19, 34) then
    letter = 'r'
  elseif sub(live, 3, 10) == sub(base, 1, 8) and sub(live, 19, 34) == sub(base, 9, 24)
    and not less(sub(new, 11, 18), sub(live, 11, 18)) then
    letter = 'a'
  end
  if letter == 'a' then
    put(id, new, entry, first, first and member(first))
    latest[id] = new
  elseif letter == 'c' then
    stored[#stored + 1] = latest[id] or sub(live, 1, -9)
  end
  letters[i] = letter
end
flush(tonumber(ARGV[2]))
if ARGV[3] == '1' then touch() end
return answer('ok', table.concat(letters), stored)
