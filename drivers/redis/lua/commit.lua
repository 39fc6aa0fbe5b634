-- ARGV: guard, length of the feed, 1 to write in any case, payload of the feed if
-- all are applied, one character per transition (1: a first revision), revision and
-- token (24 bytes) of each base, then for each transition: id, record (with its
-- suffix if it is a first revision), index entry. Answer: one letter per transition
-- (a applied, r repeat, n not found, c another is stored) and the values stored for
-- each c.
local no = refused()
if no then return no end
local argv = ARGV
local n, firsts, bases = (#argv - 6) / 3, argv[5], argv[6]
local ids, letters, stored, applied, held = {}, {}, {}, 0, nil
if n > 0 then
  if seldom(sequence, sequence + n) then sweep(n + 2 * SELDOM) end
  for i = 1, n do ids[i] = argv[3 * i + 4] end
  held = call('HMGET', RECORDS, unpack(ids))
end
expect(n)
for i = 1, n do
  local id, new, is_first = ids[i], argv[3 * i + 5], byte(firsts, i) == 49
  local at = place[id]
  local first = not at and held[i] or nil
  -- What has expired counts as forgotten, unless this very call put it there.
  local live = at and pairs_of[at + 1] or first and not expired(first) and first or nil
  local letter = 'c'
  if not live then
    letter = is_first and 'a' or 'n'
  elseif sub(live, 3, 10) == sub(new, 3, 10) and sub(live, 19, 34) == sub(new, 19, 34) then
    letter = 'r'
  elseif not is_first and sub(live, 3, 10) == sub(bases, 24 * i - 23, 24 * i - 16)
    and sub(live, 19, 34) == sub(bases, 24 * i - 15, 24 * i) and not less(sub(new, 11, 18), sub(live, 11, 18)) then
    letter = 'a'
  end
  if letter == 'a' then
    put(id, new, argv[3 * i + 6], first, is_first and FIRST or BARE)
    applied = applied + 1
  elseif letter == 'c' then
    stored[#stored + 1] = sub(live, 1, -9)
  end
  letters[i] = letter
end
flush(tonumber(argv[2]), applied == n and argv[4] or told(letters, argv, 5))
if argv[3] == '1' then touch() end
return answer('ok', table.concat(letters), stored)
