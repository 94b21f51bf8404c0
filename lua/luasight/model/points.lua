--- Lists the points of a module with their shapes: model.transformer.h[5].attn:points().
---
--- The shapes come from a scan, so no weight is read. For a language model, which can make inputs itself, two scans with
--- different sizes show which sizes are those of the batch (B) and of the tokens (T); other models need an input.
local aliases = require "luasight.model.aliases"
local binding = require "luasight.ffi"
local constants = require "luasight.ffi.constants"
local functions = require "luasight.ffi.functions"
local record = require "luasight.nn.record"
local scan = require "luasight.trace.scan"
local sequences = require "luasight.ffi.sequences"
local trace = require "luasight.trace"

local is_handle = binding.is_handle
local TENSOR, LIST, STRUCT = constants.LS_TENSOR, constants.LS_LIST, constants.LS_STRUCT

local points = {}

---@class luasight.Point  an entry in the list of a module's points
---@field name string   the name of the point, such as "pattern"
---@field shape string  "[B, 4, T, T]", "[B, T] int64"; for several values "([B, T, 128], none)"
---@field dtype string? the dtype, where the value is a tensor
---@field same_as string?  for an alias: the path of the value it stands for, such as "input[0][0]"

---@class luasight.Points: luasight.Point[]  a list that prints itself
---@field title string

local Points = {}

function Points.__tostring(list)
  local width, lines = 0, { list.title }
  for _, point in ipairs(list) do width = math.max(width, #point.name) end
  for _, point in ipairs(list) do
    lines[#lines + 1] = ("  %s  %s%s"):format(point.name .. (" "):rep(width - #point.name), point.shape,
      point.same_as and ", which is " .. point.same_as or "")
  end
  return table.concat(lines, "\n")
end

-- ---- shapes ------------------------------------------------------------------------------------------------------------

---Returns a table with the sizes of a value: for a tensor its `shape` and `dtype`, for a sequence a list that has such a table
---for each element (in a struct with the `name` of the element), for any other value its type as `plain`.
local function sizes(v)
  v = is_handle(v) and v.value or v
  if not is_handle(v) then return { plain = v == nil and "none" or type(v) } end
  if v._kind == TENSOR then return { shape = v.shape:tolist(), dtype = v.dtype } end
  local parts = { open = v._kind == LIST and "[" or v._kind == STRUCT and "{" or "(" }
  for i = 0, #v - 1 do
    parts[i + 1] = sizes(v[i])
    if v._kind == STRUCT then parts[i + 1].name = sequences.name(v, i) end
  end
  return parts
end

local function times(k, text) return k == 1 and text or k .. text end

---Returns the text of the size of an axis, such as "T" or "4". The size was `a` in one run and `b` in another; `first` and
---`second` have the batch size B and the number of tokens T of these runs.
local function size_text(a, b, first, second)
  if not b or a == b then return tostring(a) end
  if a % first.B == 0 and a / first.B == b / second.B then return times(a / first.B, "B") end
  if a % first.T == 0 and a / first.T == b / second.T then return times(a / first.T, "T") end
  if b - a == second.T - first.T then return ("T%+d"):format(a - first.T) end
  local both = first.B * first.T
  if a % both == 0 and a / both == b / (second.B * second.T) then return times(a / both, "BT") end
  return "?"
end

local closing = { ["("] = ")", ["["] = "]", ["{"] = "}" }

---Returns the shape of a value as text, such as "[B, 4, T]", from its sizes `a` in one run and, unless nil, `b` in a second
---run with other sizes of batch and tokens.
local function shape_text(a, b, first, second)
  if a.plain then return a.plain end
  local texts = {}
  if a.shape then
    for i, n in ipairs(a.shape) do texts[i] = size_text(n, b and b.shape and b.shape[i], first, second) end
    return "[" .. table.concat(texts, ", ") .. "]" .. (a.dtype == "float32" and "" or " " .. a.dtype)
  end
  for i, part in ipairs(a) do
    texts[i] = (part.name and part.name .. " = " or "") .. shape_text(part, b and b[i], first, second)
  end
  return a.open .. table.concat(texts, ", ") .. (a.open == "(" and #a == 1 and "," or "") .. closing[a.open]
end

-- ---- a scan ------------------------------------------------------------------------------------------------------------

---Returns names and numbers of the points of a module in a program, in the order in which a run reaches them.
---@param program ffi.cdata*
---@param module ffi.cdata*  the module of the core
---@param path string        the path on which its calls are looked for
---@return { name: string, number: integer }[]
local function names_of(program, module, path)
  local list, seen = {}, {}
  for _, point in ipairs(functions.points(program, module)) do
    local name = point.path:gsub(" %(call %d+%)$", ""):match "[^.]+$"
    local number = not seen[name] and functions.find(program, path == "" and name or path .. "." .. name)
    if number then list[#list + 1] = { name = name, number = number } end
    seen[name] = true
  end
  return list
end

---Returns the aliases that a module has for values, with the paths of these values.
local function other_names(module, found)
  local list, names, taken = {}, {}, {}
  aliases.add_names(module, names, "value")
  table.sort(names)
  for _, point in ipairs(found) do taken[point.name] = true end
  for _, name in ipairs(names) do
    if not taken[name] then list[#list + 1] = { name = name, same_as = (aliases.of(module, name):gsub(":", ".")) } end
  end
  return list
end

---Scans the model; returns the sizes of the values at each point of a module and of its aliases.
local function measure(network, handle, module, path, ...)
  local tracer = scan.open(network, ...)
  local found = names_of(tracer._program, record.core(tracer._meta_copies[module]), path)
  local others = #found > 0 and other_names(module, found) or {}
  trace.run(tracer, function()
    for _, point in ipairs(found) do point.value = trace.read(tracer, 0, point.number):save() end
    for _, point in ipairs(others) do
      point.value = handle[point.name]:save()
      found[#found + 1] = point
    end
  end)
  for _, point in ipairs(found) do point.sizes, point.value = sizes(point.value), nil end
  return found
end

---Returns the list of a module's points with their shapes.
---@param network luasight.Network
---@param handle userdata  the handle of the module
---@param module table
---@param path string
---@param ... any  the arguments of one call of the model; without them the model's own examples are used
---@return luasight.Points
function points.of(network, handle, module, path, ...)
  local first, second, given = { B = 2, T = 5 }, { B = 3, T = 9 }, select("#", ...) > 0
  local a = given and measure(network, handle, module, path, ...) or
    measure(network, handle, module, path, network.example(first.B, first.T))
  local b = not given and measure(network, handle, module, path, network.example(second.B, second.T))
  local list = { title = ("%s: %s%s"):format(path == "" and "the model" or path, module._class_name,
    #a == 0 and ", which the model never calls" or "") }
  for i, point in ipairs(a) do
    list[i] = { name = point.name, shape = shape_text(point.sizes, b and b[i].sizes, first, second),
      dtype = point.sizes.dtype, same_as = point.same_as }
  end
  return setmetatable(list, Points)
end

return points
