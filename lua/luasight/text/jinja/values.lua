--- Values of a template as Python has them: none and undefined, and lists and dictionaries that keep their order. Lua's own
--- strings, numbers and booleans are used as they are; the parts of a text are characters.
local values = {}

values.none = setmetatable({}, { __tostring = function() return "None" end })
local none = values.none

local List, Dict, Undefined = {}, {}, {}

---Raises an error table that the code around the template turns into an error of luasight.
---@param text string
function values.fail(text, ...) error({ template = text:format(...) }, 0) end
local fail = values.fail

function values.list(items) return setmetatable(items, List) end

---Makes a tuple: a list that is written with round brackets.
function values.tuple(items)
  items.is_tuple = true
  return values.list(items)
end

function values.undefined(name) return setmetatable({ name = name }, Undefined) end
function values.is_list(v) return getmetatable(v) == List end
function values.is_dict(v) return getmetatable(v) == Dict end
function values.is_undefined(v) return getmetatable(v) == Undefined end

local is_list, is_dict, is_undefined = values.is_list, values.is_dict, values.is_undefined

---Makes an empty dictionary; its keys are strings or numbers.
function values.dict() return setmetatable({ keys = {}, map = {} }, Dict) end

function values.set(dict, key, value)
  if dict.map[key] == nil then dict.keys[#dict.keys + 1] = key end
  dict.map[key] = value
end

---Converts a Lua value to a value of templates. A table with a list part, and an empty table, become lists; other tables
---become dictionaries with sorted keys.
function values.from_lua(v)
  if v == nil or type(v) == "userdata" or type(v) == "cdata" then return none end
  if type(v) ~= "table" or getmetatable(v) == List or getmetatable(v) == Dict or v == none then return v end
  if #v > 0 or next(v) == nil then
    local items = {}
    for i = 1, #v do items[i] = values.from_lua(v[i]) end
    return values.list(items)
  end
  local keys, dict = {}, values.dict()
  for key in pairs(v) do keys[#keys + 1] = key end
  table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
  for _, key in ipairs(keys) do values.set(dict, key, values.from_lua(v[key])) end
  return dict
end

-- ---- text ------------------------------------------------------------------------------------------------------------

---Returns the characters of a text as a list.
function values.characters(text)
  local items = {}
  for character in text:gmatch "[%z\1-\127\192-\255][\128-\191]*" do items[#items + 1] = character end
  return items
end

local function quote(text)
  local sign = text:find("'", 1, true) and not text:find('"', 1, true) and '"' or "'"
  text = text:gsub("\\", "\\\\"):gsub("\n", "\\n"):gsub("\r", "\\r"):gsub("\t", "\\t"):gsub("%c", function(c)
    return ("\\x%02x"):format(c:byte())
  end)
  return sign .. (sign == "'" and text:gsub("'", "\\'") or text) .. sign
end

local function number_text(n)
  if n == math.floor(n) and math.abs(n) < 2 ^ 53 then return ("%d"):format(n) end
  for digits = 1, 17 do
    local text = ("%." .. digits .. "g"):format(n)
    if tonumber(text) == n then return text end
  end
end

local repr

---Returns a value as the text that Python's str makes of it.
function values.text(v)
  if type(v) == "string" then return v end
  if is_undefined(v) then return "" end
  return repr(v)
end

repr = function(v)
  if type(v) == "string" then return quote(v) end
  if type(v) == "boolean" then return v and "True" or "False" end
  if type(v) == "number" then return number_text(v) end
  local parts = {}
  if is_list(v) then
    for i, item in ipairs(v) do parts[i] = repr(item) end
    if v.is_tuple then return "(" .. table.concat(parts, ", ") .. (#v == 1 and ",)" or ")") end
    return "[" .. table.concat(parts, ", ") .. "]"
  elseif is_dict(v) then
    for i, key in ipairs(v.keys) do parts[i] = repr(key) .. ": " .. repr(v.map[key]) end
    return "{" .. table.concat(parts, ", ") .. "}"
  end
  return is_undefined(v) and "Undefined" or v == none and "None" or "<function>"
end

local escapes = {
  ['"'] = '\\"', ["\\"] = "\\\\", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t", ["\b"] = "\\b", ["\f"] = "\\f",
}

---Returns a value as JSON with the spaces that Python writes. `indent` is the number of blanks for each level; nil writes
---one line.
function values.json(v, indent, level)
  level = (level or 0) + 1
  local line = indent and "\n" .. (" "):rep(indent * level)
  local last = indent and "\n" .. (" "):rep(indent * (level - 1)) or ""
  local between, parts = indent and "," .. line or ", ", {}
  if v == none then return "null" end
  if type(v) == "boolean" then return tostring(v) end
  if type(v) == "number" then return number_text(v) end
  if type(v) == "string" then
    local escaped = v:gsub('[%z\1-\31"\\]', function(c) return escapes[c] or ("\\u%04x"):format(c:byte()) end)
    return '"' .. escaped .. '"'
  elseif is_list(v) then
    for i, item in ipairs(v) do parts[i] = values.json(item, indent, level) end
    return #parts == 0 and "[]" or "[" .. (line or "") .. table.concat(parts, between) .. last .. "]"
  elseif is_dict(v) then
    for i, key in ipairs(v.keys) do
      parts[i] = values.json(values.text(key)) .. ": " .. values.json(v.map[key], indent, level)
    end
    return #parts == 0 and "{}" or "{" .. (line or "") .. table.concat(parts, between) .. last .. "}"
  end
  fail("%s cannot be written as JSON", values.kind(v))
end

---Returns the kind of a value in words, for error messages.
function values.kind(v)
  if is_undefined(v) then return ("%s, which is undefined,"):format(v.name) end
  return v == none and "none" or is_list(v) and "a list" or is_dict(v) and "a dictionary" or "a " .. type(v)
end

-- ---- functions that operators use ------------------------------------------------------------------------------------

function values.truth(v)
  if is_list(v) then return #v > 0 elseif is_dict(v) then return #v.keys > 0 end
  return not (v == none or v == false or v == 0 or v == "" or is_undefined(v))
end

function values.equal(a, b)
  if type(a) == "boolean" and type(b) == "number" then a = a and 1 or 0 end
  if type(b) == "boolean" and type(a) == "number" then b = b and 1 or 0 end
  if is_undefined(a) then return is_undefined(b) end
  if is_list(a) and is_list(b) then
    for i = 1, math.max(#a, #b) do
      if a[i] == nil or b[i] == nil or not values.equal(a[i], b[i]) then return false end
    end
    return true
  elseif is_dict(a) and is_dict(b) then
    for _, key in ipairs(a.keys) do
      if b.map[key] == nil or not values.equal(a.map[key], b.map[key]) then return false end
    end
    return #a.keys == #b.keys
  end
  return a == b
end

---Returns the items over which a loop runs: the items of a list, the keys of a dictionary, the characters of a text.
function values.items(v)
  if is_list(v) then return v end
  if is_dict(v) then return v.keys end
  if type(v) == "string" then return values.characters(v) end
  if is_undefined(v) then return {} end
  fail("a loop cannot run over %s", values.kind(v))
end

function values.contains(container, v)
  if type(container) == "string" then
    if type(v) ~= "string" then fail("%s cannot be in a text", values.kind(v)) end
    return container:find(v, 1, true) ~= nil
  elseif is_dict(container) then
    return container.map[v] ~= nil
  end
  if is_undefined(container) then fail("%s is undefined", container.name) end
  for _, item in ipairs(values.items(container)) do
    if values.equal(item, v) then return true end
  end
  return false
end

function values.length(v)
  if is_undefined(v) then return 0 end
  if type(v) ~= "string" and not is_list(v) and not is_dict(v) then fail("%s has no length", values.kind(v)) end
  return #values.items(v)
end

---Returns v[key], or v.key for a key that is not a method.
function values.index(v, key)
  local name = values.text(key)
  if is_undefined(v) then fail("%s is undefined, so it has no %q", v.name, name) end
  if is_dict(v) then
    local item = v.map[key]
    if item ~= nil then return item end
  elseif type(key) == "number" and (is_list(v) or type(v) == "string") then
    local items = values.items(v)
    local item = items[key < 0 and #items + key + 1 or key + 1]
    if item ~= nil then return item end
  end
  return values.undefined(name)
end

function values.slice(v, start, stop, step)
  if not is_list(v) and type(v) ~= "string" then fail("%s cannot be sliced", values.kind(v)) end
  local items, out = values.items(v), {}
  local n, by = #items, step == none and 1 or step
  local function place(p, default)
    if p == none then return default end
    if p < 0 then p = p + n end
    return math.max(by > 0 and 0 or -1, math.min(p, by > 0 and n or n - 1))
  end
  local from, to = place(start, by > 0 and 0 or n - 1), place(stop, by > 0 and n or -1)
  for i = from, by > 0 and to - 1 or to + 1, by do out[#out + 1] = items[i + 1] end
  return type(v) == "string" and table.concat(out) or values.list(out)
end

return values
