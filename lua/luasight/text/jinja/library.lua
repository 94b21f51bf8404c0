--- The filters, tests, methods and functions that a Jinja template can use. A template that uses another filter,
--- test, method or function raises an error with its name.
local values = require "luasight.text.jinja.values"

local none, fail, list, text_of = values.none, values.fail, values.list, values.text
local is_list, is_dict, is_undefined, truth = values.is_list, values.is_dict, values.is_undefined, values.truth

local library = {}

-- ---- text ------------------------------------------------------------------------------------------------------------

local function need_text(v, what)
  if type(v) ~= "string" then fail("%s needs a text, not %s", what, values.kind(v)) end
  return v
end

---Returns a Lua pattern that matches any one of the given characters, or any white space where no characters are given.
local function set_of(characters)
  if characters == nil or characters == none then return "[%s]" end
  local out = {}
  for _, c in ipairs(values.characters(characters)) do
    if #c > 1 then fail("the method strip takes ASCII characters only, not %q", c) end
    out[#out + 1] = c:gsub("%W", "%%%0")
  end
  return #out > 0 and "[" .. table.concat(out) .. "]" or "[^%z\1-\255]"
end

local function left(text, characters) return (text:gsub("^" .. set_of(characters) .. "+", "")) end

local function right(text, characters)
  local set, last = set_of(characters), #text
  while last > 0 and text:sub(last, last):find(set) do last = last - 1 end
  return text:sub(1, last)
end

local function replace(text, what, with, count)
  local out, at = {}, 1
  if what == "" then fail "the method replace needs a text to look for" end
  for _ = 1, (count == nil or count == none or count < 0) and math.huge or count do
    local from, to = text:find(what, at, true)
    if not from then break end
    out[#out + 1] = text:sub(at, from - 1) .. with
    at = to + 1
  end
  return table.concat(out) .. text:sub(at)
end

local function split(text, separator, most)
  local out, at = {}, 1
  most = (most == nil or most == none or most < 0) and math.huge or most
  if separator == nil or separator == none then
    text = text:gsub("^%s+", "")
    while at <= #text do
      if #out >= most then
        out[#out + 1] = right(text:sub(at))
        break
      end
      local from, to = text:find("%s+", at)
      out[#out + 1] = text:sub(at, from and from - 1)
      at = (to or #text) + 1
    end
    return list(out)
  end
  if separator == "" then fail "the method split needs a text to split at" end
  while #out < most do
    local from, to = text:find(separator, at, true)
    if not from then break end
    out[#out + 1] = text:sub(at, from - 1)
    at = to + 1
  end
  out[#out + 1] = text:sub(at)
  return list(out)
end

local function starts(text, with)
  for _, one in ipairs(is_list(with) and with or { with }) do
    if text:sub(1, #one) == one then return true end
  end
  return false
end

local function ends(text, with)
  for _, one in ipairs(is_list(with) and with or { with }) do
    if one == "" or text:sub(-#one) == one then return true end
  end
  return false
end

local function title(text)
  return (text:lower():gsub("(%f[%w]%w)", string.upper))
end

local function capitalize(text) return text:sub(1, 1):upper() .. text:sub(2):lower() end

local function find(text, what)
  local at = text:find(what, 1, true)
  return at and #values.characters(text:sub(1, at - 1)) or -1
end

----@type table<string, function>  the methods by name; each is called with the text and the arguments
library.text_methods = {
  strip = function(text, c) return right(left(text, c), c) end,
  lstrip = left, rstrip = right, split = split, replace = replace, startswith = starts, endswith = ends, find = find,
  upper = string.upper, lower = string.lower, title = title, capitalize = capitalize,
  join = function(text, items)
    local parts = {}
    for i, item in ipairs(values.items(items)) do parts[i] = need_text(item, "join") end
    return table.concat(parts, text)
  end,
  removeprefix = function(text, what) return starts(text, what) and text:sub(#what + 1) or text end,
  removesuffix = function(text, what) return what ~= "" and ends(text, what) and text:sub(1, -#what - 1) or text end,
  count = function(text, what)
    local n, at = 0, 1
    while what ~= "" do
      local from, to = text:find(what, at, true)
      if not from then break end
      n, at = n + 1, to + 1
    end
    return n
  end,
}

-- ---- dictionaries ------------------------------------------------------------------------------------------------------

local function pairs_of(dict)
  if is_undefined(dict) then return list {} end
  if not is_dict(dict) then fail("the filter items needs a dictionary, not %s", values.kind(dict)) end
  local out = {}
  for i, key in ipairs(dict.keys) do out[i] = values.tuple { key, dict.map[key] } end
  return list(out)
end

library.dict_methods = {
  items = pairs_of,
  keys = function(dict) return list { unpack(dict.keys) } end,
  values = function(dict)
    local out = {}
    for i, key in ipairs(dict.keys) do out[i] = dict.map[key] end
    return list(out)
  end,
  get = function(dict, key, default)
    local value = dict.map[key]
    if value ~= nil then return value end
    return default == nil and none or default
  end,
}

-- ---- tests -------------------------------------------------------------------------------------------------------------

local function whole(v) return type(v) == "number" and v == math.floor(v) end

---The tests of templates by name: `v is name(argument)`.
---@type table<string, fun(v: any, argument: any): boolean>
library.tests = {
  defined = function(v) return not is_undefined(v) end,
  undefined = is_undefined,
  none = function(v) return v == none end,
  string = function(v) return type(v) == "string" end,
  mapping = is_dict,
  iterable = function(v) return is_list(v) or is_dict(v) or type(v) == "string" or is_undefined(v) end,
  sequence = function(v) return is_list(v) or is_dict(v) or type(v) == "string" or is_undefined(v) end,
  number = function(v) return type(v) == "number" or type(v) == "boolean" end,
  integer = whole,
  float = function(v) return type(v) == "number" and not whole(v) end,
  boolean = function(v) return type(v) == "boolean" end,
  ["true"] = function(v) return v == true end,
  ["false"] = function(v) return v == false end,
  odd = function(v) return v % 2 == 1 end,
  even = function(v) return v % 2 == 0 end,
  divisibleby = function(v, n) return v % n == 0 end,
  equalto = values.equal, eq = values.equal, ["=="] = values.equal,
  ne = function(a, b) return not values.equal(a, b) end,
  ["in"] = function(v, container) return values.contains(container, v) end,
  callable = function(v) return type(v) == "function" end,
}

-- ---- filters -----------------------------------------------------------------------------------------------------------

local function attribute(item, path)
  for part in text_of(path):gmatch "[^.]+" do item = values.index(item, tonumber(part) or part) end
  return item
end

---Makes one of Jinja's filters select (`want` is true) and reject (`want` is false), which keep the items of a list for which
---a test returns `want`. With `named`, makes selectattr or rejectattr, which test a field of each item instead.
local function chosen(want, named)
  return function(items, _, first, second, third)
    local path, name, argument = first, second, third
    if not named then path, name, argument = nil, first, second end
    local test = name and library.tests[name] or truth
    if name and not library.tests[name] then
      fail("the test %q is not implemented in this version of luasight", text_of(name))
    end
    local out = {}
    for _, item in ipairs(values.items(items)) do
      if truth(test(path and attribute(item, path) or item, argument)) == want then out[#out + 1] = item end
    end
    return list(out)
  end
end

local filters

local function map(items, named, name, ...)
  local out = {}
  if not named.attribute and not filters[name] then
    fail("the filter %q is not implemented in this version of luasight", text_of(name))
  end
  for i, item in ipairs(values.items(items)) do
    local value
    if named.attribute then
      value = attribute(item, named.attribute)
      if is_undefined(value) and named.default ~= nil then value = named.default end
    else
      value = filters[name](item, {}, ...)
    end
    out[i] = value
  end
  return list(out)
end

local function sorted(items, named, reverse)
  local out = {}
  for i, item in ipairs(values.items(items)) do
    out[i] = { item, named.attribute and attribute(item, named.attribute) or item, i }
  end
  local backwards = truth(named.reverse or reverse or false)
  local function key(v) return type(v) == "string" and v:lower() or v end
  table.sort(out, function(a, b)
    local x, y = key(a[2]), key(b[2])
    if x == y then return a[3] < b[3] end
    if type(x) ~= type(y) then fail "the filter sort needs values of one kind" end
    return backwards == (x > y)
  end)
  for i, entry in ipairs(out) do out[i] = entry[1] end
  return list(out)
end

local function indent(text, named, width, first, blank)
  width, first, blank = named.width or width or 4, truth(named.first or first or false), truth(named.blank or blank or false)
  local by, number = type(width) == "string" and width or (" "):rep(width), 0
  return (text:gsub("([^\n]*)(\n?)", function(line, stop)
    number = number + 1
    if line == "" and stop == "" then return "" end
    return ((number > 1 or first) and (line ~= "" or blank) and by or "") .. line .. stop
  end))
end

local function of_text(f)
  return function(v, _, ...) return f(text_of(v), ...) end
end

---The filters of templates by name: `v | name(argument)`. A filter takes the value, the named and the positional arguments.
---@type table<string, fun(v: any, named: table, ...): any>
filters = {
  trim = of_text(library.text_methods.strip), upper = of_text(string.upper), lower = of_text(string.lower),
  title = of_text(title), capitalize = of_text(capitalize), replace = of_text(replace), string = text_of,
  safe = function(v) return v end, length = values.length, count = values.length,
  indent = indent, map = map, sort = sorted, items = pairs_of,
  tojson = function(v, named, width) return values.json(v, named.indent or width) end,
  list = function(v) return list { unpack(values.items(v)) } end,
  first = function(v)
    local item = values.items(v)[1]
    return item == nil and values.undefined "the first of nothing" or item
  end,
  last = function(v)
    local items = values.items(v)
    return #items == 0 and values.undefined "the last of nothing" or items[#items]
  end,
  join = function(v, named, separator)
    local parts, path = {}, named.attribute
    for i, item in ipairs(values.items(v)) do parts[i] = text_of(path and attribute(item, path) or item) end
    return table.concat(parts, text_of(named.d or separator or ""))
  end,
  default = function(v, named, default, also_false)
    also_false = named.boolean or also_false
    local missing = is_undefined(v) or also_false and truth(also_false) and not truth(v)
    if not missing then return v end
    return named.default_value or (default == nil and "" or default)
  end,
  reverse = function(v)
    local out, items = {}, values.items(v)
    for i = #items, 1, -1 do out[#out + 1] = items[i] end
    return type(v) == "string" and table.concat(out) or list(out)
  end,
  unique = function(v)
    local out = list {}
    for _, item in ipairs(values.items(v)) do
      if not values.contains(out, item) then out[#out + 1] = item end
    end
    return out
  end,
  dictsort = function(v)
    local out = pairs_of(v)
    table.sort(out, function(a, b) return text_of(a[1]):lower() < text_of(b[1]):lower() end)
    return out
  end,
  int = function(v, _, default)
    local n = tonumber(type(v) == "boolean" and (v and 1 or 0) or v)
    return n and (n < 0 and math.ceil(n) or math.floor(n)) or default or 0
  end,
  abs = function(v) return math.abs(v) end,
  selectattr = chosen(true, true), rejectattr = chosen(false, true), select = chosen(true), reject = chosen(false),
}
filters.d = filters.default
library.filters = filters

-- ---- functions ---------------------------------------------------------------------------------------------------------

library.functions = {
  range = function(_, start, stop, step)
    if stop == nil then start, stop = 0, start end
    local out = {}
    for i = start, step and step < 0 and stop + 1 or stop - 1, step or 1 do out[#out + 1] = i end
    return list(out)
  end,
  namespace = function(named)
    local dict = values.dict()
    for _, name in ipairs(named) do values.set(dict, name, named[name]) end
    dict.is_namespace = true
    return dict
  end,
  raise_exception = function(_, message) fail("%s", text_of(message)) end,
  strftime_now = function(_, format) return os.date(text_of(format)) end,
}
library.functions.dict = function(named)
  local dict = library.functions.namespace(named)
  dict.is_namespace = nil
  return dict
end

return library
