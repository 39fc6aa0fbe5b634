-- ARGV: guard, snapshot (-1: now), limit, limit of bytes, last entry of the page
-- before, then the ranges of the indexes, each as its two ends. What changed after
-- the snapshot is left out, since it may have been on an earlier page. Answer:
-- snapshot, values, last entry looked at (empty: there are no more).
local no = refused()
if no then return no end
local snapshot, limit, most_bytes, last = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
if snapshot < 0 then snapshot = sequence end
local values, bytes, looked = {}, 0, 0
for r = 6, #ARGV, 2 do
  local low, high = ARGV[r], ARGV[r + 1]
  local index = byte(low, 2) == 2 and LEASED or INDEX
  if r == 6 and last ~= '' then low = '(' .. last end
  while true do
    if looked >= 1024 or #values >= limit or bytes >= most_bytes then
      return answer('ok', snapshot, values, last, (r - 6) / 2)
    end
    local want = math.min(limit - #values, 64)
    local entries = call('ZRANGEBYLEX', index, low, high, 'LIMIT', 0, want)
    if #entries == 0 then break end
    looked = looked + #entries
    local ids = {}
    for i, e in ipairs(entries) do
      ids[i] = sub(e, string.find(e, '\0', 2, true) + 7)
    end
    local found = call('HMGET', RECORDS, unpack(ids))
    for i, v in ipairs(found) do
      last = entries[i]
      if v and number(sub(v, -8)) <= snapshot then
        values[#values + 1] = v
        bytes = bytes + #v
        if bytes >= most_bytes then break end
      end
    end
    low = '(' .. last
    if #entries < want and bytes < most_bytes then break end
  end
  last = ''
end
return answer("ok", snapshot, values, "", -1)
