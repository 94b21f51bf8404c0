--- Finds for a name that does not exist the names that are most similar to it, for the texts of errors.
local near = {}

---Returns the edit distance of two names (a swap of neighbours counts as one edit), or any number above `limit` where the
---distance is above `limit`.
local function distance(a, b, limit)
  if math.abs(#a - #b) > limit then return limit + 1 end
  local before, last, row = {}, {}, {}
  for j = 0, #b do last[j] = j end
  for i = 1, #a do
    row[0] = i
    for j = 1, #b do
      local cost = a:byte(i) == b:byte(j) and 0 or 1
      row[j] = math.min(last[j] + 1, row[j - 1] + 1, last[j - 1] + cost)
      if i > 1 and j > 1 and a:byte(i) == b:byte(j - 1) and a:byte(i - 1) == b:byte(j) then
        row[j] = math.min(row[j], before[j - 2] + 1)
      end
    end
    before, last, row = last, row, before
  end
  return last[#b]
end

---Returns a list of names without the repeated ones.
---@param names string[]
---@return string[]
function near.distinct(names)
  local seen, list = {}, {}
  for _, name in ipairs(names) do
    if not seen[name] then list[#list + 1] = name end
    seen[name] = true
  end
  return list
end

---Returns the text ` (did you mean "a" or "b"?)`, or "" where no name is near.
---@param name string
---@param names string[]
---@return string
function near.text(name, names)
  local limit = math.max(1, math.floor(#name / 3))
  local found = {}
  for i, candidate in ipairs(names) do
    local d = distance(name:lower(), candidate:lower(), limit)
    if d <= limit then found[#found + 1] = { candidate, d, i } end
  end
  table.sort(found, function(a, b) return a[2] < b[2] or a[2] == b[2] and a[3] < b[3] end)
  local texts = {}
  for i = 1, math.min(3, #found) do texts[i] = '"' .. found[i][1] .. '"' end
  return #texts > 0 and " (did you mean " .. table.concat(texts, " or ") .. "?)" or ""
end

return near
