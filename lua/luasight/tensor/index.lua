--- Indices: turns slice texts and tables into the items of an index stream.
---
--- A compiled index has two arrays and a length: kinds[i] is the ls_kind of an item, values[i] its value.
---   "2:5, -1"      SLICE, INT 2, INT 5, NONE, INT -1
---   "[0, 2], :"    OPEN 2, INT 0, INT 2, SLICE, NONE, NONE, NONE
local constants = require "luasight.ffi.constants"
local failure = require "luasight.base.error"

local NONE, BOOL, INT, STRING = constants.LS_NONE, constants.LS_BOOL, constants.LS_INT, constants.LS_STRING
local OPEN, SLICE, ELLIPSIS = constants.LS_OPEN, constants.LS_SLICE, constants.LS_ELLIPSIS
local VALUE = -1 -- stands in `kinds` for an item that is a handle, since a handle has its kind itself

local index = { NONE = NONE, BOOL = BOOL, INT = INT, STRING = STRING, OPEN = OPEN, SLICE = SLICE, ELLIPSIS = ELLIPSIS,
  VALUE = VALUE }

---@class luasight.Index
---@field n integer
---@field kinds integer[]
---@field values any[]

local function new() return { n = 0, kinds = {}, values = {} } end

local MOST = 64 -- a tensor has at most so many axes

local function add(items, kind, value)
  local n = items.n + 1
  if kind == INT then value = value + 0 end -- -0.0 becomes 0.0
  items.n, items.kinds[n], items.values[n] = n, kind, value
end

-- ---- texts -----------------------------------------------------------------------------------------------------------

local function refuse(text, why)
  if #text > 100 then text = text:sub(1, 100) .. "..." end
  failure.raise("index", ("cannot read the index %q: %s"):format(text, why),
    { hint = 'slices are written like ":, 0", "0, -1", "2:5", "::2", "..., 0", "[0, 2], :" or "None"' })
end

local read_list

---Reads one element of a list in brackets; returns the position in the text behind the element.
local function read_element(text, at, items, depth)
  if text:match("^%[", at) then return read_list(text, at, items, depth + 1) end
  local number, stop = text:match("^(%-?%d+)()", at)
  if number then
    add(items, INT, tonumber(number))
    return stop
  end
  for word, value in pairs { ["True"] = 1, ["False"] = 0, ["true"] = 1, ["false"] = 0 } do
    if text:match("^" .. word .. "%f[^%w_]", at) then
      add(items, BOOL, value)
      return at + #word
    end
  end
  refuse(text, ("a list holds whole numbers, not %q"):format(text:sub(at)))
end

---Reads a list of positions that begins with a bracket; returns the position in the text behind the list.
read_list = function(text, at, items, depth)
  if depth > MOST then refuse(text, ("its lists are nested deeper than %d"):format(MOST)) end
  add(items, OPEN, 0)
  local head = items.n
  at = text:match("^%[%s*()", at)
  while not text:match("^%]", at) do
    at = read_element(text, at, items, depth)
    items.values[head] = items.values[head] + 1
    local comma = text:match("^%s*,%s*()", at)
    at = comma or text:match("^%s*()", at)
    if not comma and not text:match("^%]", at) then refuse(text, "a list has to end with ]") end
  end
  return at + 1
end

local function read_slice(text, piece, items)
  local start, stop, step = piece:match "^(%-?%d*)%s*:%s*(%-?%d*)%s*:%s*(%-?%d*)$"
  if not start then
    start, stop = piece:match "^(%-?%d*)%s*:%s*(%-?%d*)$"
    step = ""
  end
  if not start or start == "-" or stop == "-" or step == "-" then
    refuse(text, ("%q is neither a position nor a slice"):format(piece))
  end
  add(items, SLICE)
  for _, bound in ipairs { start, stop, step } do
    if bound == "" then add(items, NONE) else add(items, INT, tonumber(bound)) end
  end
end

local function read_text(text)
  local items, at = new(), text:match "^%s*()"
  if at > #text then refuse(text, "the text is empty") end
  while at <= #text do
    if text:match("^%[", at) then
      at = read_list(text, at, items, 1)
    else
      local raw = text:match("^[^,]*", at)
      local piece = raw:match "^(.-)%s*$"
      if piece == "" then refuse(text, "an index is missing between two commas") end
      if piece == "..." then add(items, ELLIPSIS)
      elseif piece == "None" or piece == "none" or piece == "nil" then add(items, NONE)
      elseif piece:match "^%-?%d+$" then add(items, INT, tonumber(piece))
      else read_slice(text, piece, items) end
      at = at + #raw
    end
    local behind = text:match("^%s*,%s*()", at)
    if not behind and not text:match("^%s*$", at) then refuse(text, ("%q has no meaning at the end"):format(text:sub(at))) end
    at = behind or #text + 1
  end
  return items
end

local texts = setmetatable({}, { __mode = "v" })

---Returns whether the key of a tensor is a name, such as "shape", rather than the text of a slice.
---@param key string
---@return boolean
function index.is_name(key) return key ~= "None" and key:match "^[%a_][%w_]*$" ~= nil end

---@param text string
---@return luasight.Index
function index.text(text)
  local items = texts[text]
  if not items then
    items = read_text(text)
    texts[text] = items
  end
  return items
end

-- ---- tables ----------------------------------------------------------------------------------------------------------

local function add_number(items, v)
  if v ~= math.floor(v) or v ~= v or math.abs(v) == math.huge then
    failure.raise("index", ("an index of a tensor is a whole number, not %s"):format(tostring(v)))
  end
  add(items, INT, v)
end

local function add_bound(items, v)
  if v == nil then add(items, NONE)
  elseif type(v) == "number" then add_number(items, v)
  elseif type(v) == "cdata" then add(items, VALUE, v)
  else failure.raise("index", ("a slice in an index table holds numbers, not a %s"):format(type(v))) end
end

local function length_of(list)
  local length = 0
  for k in pairs(list) do
    if type(k) ~= "number" or k < 1 or k ~= math.floor(k) then
      failure.raise("index", ("an index table is a list, but this one has the key %q"):format(tostring(k)))
    end
    if k > length then length = k end
  end
  return length
end

local function add_piece(items, v, place)
  local kind = type(v)
  if kind == "number" then add_number(items, v)
  elseif kind == "cdata" then add(items, VALUE, v)
  elseif kind == "string" then
    local inner = index.text(v)
    for i = 1, inner.n do add(items, inner.kinds[i], inner.values[i]) end
  elseif kind == "boolean" then add(items, BOOL, v and 1 or 0)
  elseif kind == "table" then
    if length_of(v) > 3 then
      failure.raise("index", "a slice in an index table is {}, {from}, {from, to} or {from, to, step}",
        { hint = 'write a list of positions as a text, "[0, 2, 5, 7]", or a tensor' })
    end
    add(items, SLICE)
    for i = 1, 3 do add_bound(items, v[i]) end
  elseif kind == "nil" then
    failure.raise("index", ("element %d of the index table is nil"):format(place), { hint = 'write "None" for a new axis' })
  else
    failure.raise("index", ("a %s cannot be an index of a tensor"):format(kind))
  end
end

---Compiles an index table, such as { {}, 0 }, { {2, 5} }, { 0, 1 } or { mask, "..." }.
---@param list table
---@return luasight.Index
function index.table(list)
  local items = new()
  for place = 1, length_of(list) do add_piece(items, list[place], place) end
  return items
end

---Compiles any key of a tensor that is not a name: a number, a text, a table or a handle.
---@param key any
---@return luasight.Index
function index.compile(key)
  if type(key) == "string" then return index.text(key) end
  if type(key) == "table" then return index.table(key) end
  local items = new()
  add_piece(items, key, 1)
  return items
end

return index
