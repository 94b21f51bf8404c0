--- Returns values as text for the shell: models and tensors as PyTorch prints them, tables with their content, and proxies by
--- how they are computed, since the model would have to run to print their value.
local nodes_of = require "luasight.ffi.nodes"
local tensor = require "luasight.tensor"
local tokens = require "luasight.shell.tokens"
local traces = require "luasight.ffi.traces"
local words = require "luasight.trace.graph_text"
local cjson = require("cjson").new()

local show = {}

local WIDTH, MANY, DEEP = 100, 40, 4 -- limits for a printed table: columns of a line, elements, nested levels

-- ---- proxies ---------------------------------------------------------------------------------------------------------

local signs = { add = "+", sub = "-", mul = "*", div = "/", pow = "^", remainder = "%" }

-- Returns as text how a recorded value is computed, such as "transformer.h.3.output[0] * 2"; below three levels, a value is
-- shown by the number of its node.
local function node_text(nodes, number, depth)
  local node = nodes[number + 1]
  if node["do"] == "read" then return node.name end
  if depth > 3 then return "%" .. number end
  local given = words.arguments(node, function(inner) return node_text(nodes, inner, depth + 1) end)
  if node["do"] == "get" then return ("%s[%s]"):format(given[1], table.concat(given, ", ", 2)) end
  local sign = node["do"] == "operator" and #given == 2 and signs[node.name]
  if sign then
    local text = ("%s %s %s"):format(given[1], sign, given[2])
    return depth > 0 and "(" .. text .. ")" or text
  end
  return ("%s(%s)"):format(node.name or node["do"], table.concat(given, ", "))
end

local function proxy_text(proxy)
  local json, number = traces.json_of_node(proxy)
  local nodes = cjson.decode(json).nodes
  local node = nodes[number + 1]
  local notes = { "proxy" }
  if node.shape then notes[2] = ("%s %s"):format(node.dtype, words.argument(node.shape)) end
  if node.saved then notes[#notes + 1] = "saved" end
  return ("%s  (%s)"):format(node_text(nodes, number, 0), table.concat(notes, ", "))
end

local function is_open_proxy(v) return tensor.is_handle(v) and nodes_of.is_trace(v) end

-- ---- tables ----------------------------------------------------------------------------------------------------------

local value_text

local function key_text(key)
  if type(key) == "string" and key:find "^[%a_][%w_]*$" and not tokens.is_keyword(key) then return key end
  return "[" .. value_text(key, DEEP, {}) .. "]"
end

-- Returns the keys of a table that are not in its list part: the strings, sorted, then other keys in any order.
local function other_keys(t, count)
  local names, rest = {}, {}
  for key in pairs(t) do
    if type(key) == "string" then names[#names + 1] = key
    elseif type(key) ~= "number" or key % 1 ~= 0 or key < 1 or key > count then rest[#rest + 1] = key end
  end
  table.sort(names)
  for _, key in ipairs(rest) do names[#names + 1] = key end
  return names
end

local function table_text(t, depth, seen)
  if seen[t] then return "{ ... the same table again }" end
  if depth >= DEEP then return next(t) == nil and "{}" or "{ ... }" end
  seen[t] = true
  local parts = {}
  for i = 1, math.min(#t, MANY) do parts[i] = value_text(t[i], depth + 1, seen) end
  if #t > MANY then parts[#parts + 1] = ("... %d in all"):format(#t) end
  local keys = other_keys(t, #t)
  for i = 1, math.min(#keys, MANY) do
    parts[#parts + 1] = ("%s = %s"):format(key_text(keys[i]), value_text(t[keys[i]], depth + 1, seen))
  end
  if #keys > MANY then parts[#parts + 1] = ("... %d names in all"):format(#keys) end
  seen[t] = nil
  if #parts == 0 then return "{}" end
  local inside = table.concat(parts, ", ")
  if #inside <= WIDTH and not inside:find "\n" then return "{ " .. inside .. " }" end
  return "{\n  " .. table.concat(parts, ",\n"):gsub("\n", "\n  ") .. "\n}"
end

function value_text(v, depth, seen)
  local kind = type(v)
  if kind == "string" then return '"' .. v:gsub('[%c"\\]', function(c)
    return c == "\n" and "\\n" or c == "\t" and "\\t" or c:find "%c" and ("\\%d"):format(c:byte()) or "\\" .. c
  end) .. '"' end
  if kind == "table" and not (getmetatable(v) and getmetatable(v).__tostring) then return table_text(v, depth, seen) end
  if is_open_proxy(v) then return proxy_text(v) end
  return tostring(v)
end

-- ---- results ---------------------------------------------------------------------------------------------------------

---Returns any Lua value as the text that the shell shows.
---@param v any
---@return string
function show.text(v) return value_text(v, 0, {}) end

---Returns the values that a typed line returned as text: on one line where each value is short, else one below the other.
---@param ... any
---@return string
function show.results(...)
  local texts, long = {}, false
  for i = 1, select("#", ...) do
    texts[i] = show.text((select(i, ...)))
    long = long or texts[i]:find "\n" ~= nil
  end
  return table.concat(texts, long and "\n" or "\t")
end

return show
