-- ARGV: guard, length of the feed, 1 to write in any case, payload of the feed if
-- all are applied, then for each record: id, record, index entry. Answer: one letter per record (a applied, r the store
-- holds it or a newer one).
local no = refused()
if no then return no end

-- newer compares by epoch, creation, revision and token, as driver.Compare does.
local function newer(a, b)
  local ae, be = sub(a, 11, 18), sub(b, 11, 18)
  if ae ~= be then return less(be, ae) end
  local ac, bc = sub(a, 63, 70), sub(b, 63, 70)
  if ac ~= bc then return less(bc, ac) end
  local ar, br = sub(a, 3, 10), sub(b, 3, 10)
  if ar ~= br then return less(br, ar) end
  for p = 19, 34 do
    local x, y = byte(a, p), byte(b, p)
    if x ~= y then return x > y end
  end
  return false
end

local argv = ARGV
local n = (#argv - 4) / 3
local ids, letters, applied, held = {}, {}, 0, nil
if n > 0 then
  if seldom(sequence, sequence + n) then sweep(n + 2 * SELDOM) end
  for i = 1, n do ids[i] = argv[3 * i + 2] end
  held = call('HMGET', RECORDS, unpack(ids))
end
expect(n)
for i = 1, n do
  local id, new = ids[i], argv[3 * i + 3]
  local at = place[id]
  local first = not at and held[i] or nil
  local old = at and pairs_of[at + 1] or first and not expired(first) and first or nil
  if old and not newer(new, old) then
    letters[i] = 'r'
  else
    put(id, new, argv[3 * i + 4], first, BARE)
    letters[i], applied = 'a', applied + 1
  end
end
flush(tonumber(argv[2]), applied == n and argv[4] or told(letters, argv, 3))
if argv[3] == '1' then touch() end
return answer('ok', table.concat(letters))
