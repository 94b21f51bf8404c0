--- tracer:cache(): saves the outputs (and inputs) of many modules at once.
local aliases = require "luasight.model.aliases"
local binding = require "luasight.ffi"
local check_list = require "luasight.base.list".check
local near = require "luasight.base.near"
local nodes = require "luasight.ffi.nodes"
local options = require "luasight.base.options"
local place_of = require "luasight.model.place"
local sequences = require "luasight.ffi.sequences"
local tensor = require "luasight.tensor"
local trace = require "luasight.trace"

local cache = {}

---@class luasight.Cache  saved values, for reading after the trace: cache["transformer.h.3"].output
local Cache = {}

---Returns a Lua pattern for a path, in which `*` stands for one name and `**` for any path.
local function to_pattern(text)
  local escaped = text:gsub("[%^%$%(%)%%%.%[%]%+%-%?]", "%%%1")
  return "^" .. escaped:gsub("%*+", function(stars) return #stars > 1 and ".*" or "[^.]*" end) .. "$"
end

local kinds = { modules = true, inputs = "boolean", device = "string" }

local function read_options(given)
  given = options.read("cache", given, kinds)
  local modules = given.modules
  if type(modules) == "string" then modules = { modules } end
  if modules ~= nil and (type(modules) ~= "table" or #modules == 0) then
    binding.raise("argument", "the option modules is a list of paths, in which * stands for one name and ** for any path")
  end
  return modules, given.inputs or false, given.device
end

---Returns the path of a module, or of a value at a module, with the model's own names in place of standard names.
local function own_path(root, text)
  local ok, handle = pcall(root.get, root, text)
  if ok then return place_of.path(handle) end
  local of, name = text:match "^(.*)%.([^.]+)$"
  return of and own_path(root, of) .. "." .. name or text
end

---Replaces standard names in front of the first * of a path by the model's own: "layers.*.mlp" becomes
---"transformer.h.*.mlp" for GPT-2.
local function with_own_names(root, text)
  local first = text:match "^([^*]*)%.[^.]*%*"
  return first and own_path(root, first) .. text:sub(#first + 1) or text
end

---@class luasight.Cached  a module or value to be cached
---@field path string      its path in the model's own names
---@field handle userdata  the handle of the module
---@field value string?    the name of the value, which is read instead of the module's output
---@field point integer|false?  the point at which the model has the value; false: the model does not reach it
---@field full boolean?    true: the option had this path without a *, so it is an error if the module does not run

---Returns the module at a path, or the modules at all paths that fit a pattern with *.
---@return luasight.Cached[]
local function modules_at(root, text)
  local found = {}
  if not text:find("*", 1, true) then
    local ok, handle = pcall(root.get, root, text)
    return ok and { { path = place_of.path(handle), handle = handle, full = true } } or {}
  end
  local pattern = to_pattern(with_own_names(root, text))
  for path, handle in root:named_modules() do
    if path:find(pattern) then found[#found + 1] = { path = path, handle = handle } end
  end
  return found
end

---Returns the point at which a module has a value, by the value's name: "output", a tap, or an alias, which leads to a point at
---this module or at one below it. Returns false where the model does not reach the point, nil where there is no such value.
local function point_of(tracer, handle, name)
  local place = debug.getfenv(handle)
  local point = place_of.find_point(place, tracer, name)
  if point then return point end
  if aliases.kind(place.module, name) ~= "value" then return place_of.forget_point(place, name) end
  for word in aliases.of(place.module, name):gmatch "[^.:%[%]]+" do
    local below = place_of.child(debug.getfenv(handle), word) or aliases.kind(place_of.module(handle), word) == "module" and
      handle[word]
    if not below then return word ~= name and point_of(tracer, handle, word) or false end
    handle = below
  end
  return false
end

---Returns the values that a path such as "layers.*.resid_post" names: its last name is the value, the rest names the
---modules.
---@return luasight.Cached[]
local function values_at(root, text, tracer)
  local of, name = text:match "^(.*)%.([^.*]+)$"
  if not of then return {} end
  local found = {}
  for _, at in ipairs(modules_at(root, of)) do
    local point = point_of(tracer, at.handle, name)
    if point ~= nil then
      found[#found + 1] = { path = at.path .. "." .. name, handle = at.handle, value = name, full = at.full, point = point }
    end
  end
  return found
end

---Returns all modules and values to be cached; raises an error for a path that does not exist or a pattern that fits no
---module.
---@return luasight.Cached[]
local function select_all(root, modules, tracer)
  local chosen, taken = {}, {}
  if modules then check_list("tracer:cache, modules", modules) end
  for _, text in ipairs(modules or { "**" }) do
    local found = modules_at(root, text)
    if #found == 0 then found = values_at(root, text, tracer) end
    if #found == 0 then
      if not text:find("*", 1, true) then root:get(text) end
      binding.raise("name", ("no module has a path like %q"):format(text))
    end
    for _, one in ipairs(found) do
      if one.point == nil then one.point = point_of(tracer, one.handle, "output") end
      if not taken[one.path] then chosen[#chosen + 1] = one end
      taken[one.path] = true
    end
  end
  return chosen
end

---Reads and saves the named value of a module at a step of a generation.
local function read_value(tracer, chosen, step)
  local before, moved = tracer._step, tracer._moved
  tracer._step, tracer._moved = step, nil
  local ok, value = pcall(function() return chosen.handle[chosen.value] end)
  tracer._step, tracer._moved = before, moved
  if not ok then error(value, 0) end
  return value:save()
end

---Makes a cache: reads and saves the values that the options name, at the current step of a generation and all later steps.
---@param tracer luasight.Tracer
---@param root userdata  the handle of the model as seen from the trace
---@param given table?
---@return luasight.Cache
function cache.new(tracer, root, given)
  local modules, inputs, device = read_options(given)
  local entries, order, place_in = {}, {}, {}
  for i, chosen in ipairs(select_all(root, modules, tracer)) do
    local point = chosen.point
    if not point and chosen.full then
      binding.raise("unreached", "the model never calls this module",
        { point = chosen.path .. (chosen.value and "" or ".output") })
    end
    if point then
      local entry = { point = point, full = chosen.full, is_value = chosen.value ~= nil, outputs = {},
        inputs = inputs and not chosen.value and {} or nil }
      local function add(list, step, at)
        local value = trace.read(tracer, step, at):save()
        if not chosen.full then nodes.make_optional(value) end
        list[#list + 1] = value
      end
      for step = tracer._step, (tracer._steps or 1) - 1 do
        if chosen.value then entry.outputs[#entry.outputs + 1] = read_value(tracer, chosen, step)
        else add(entry.outputs, step, point) end
        if entry.inputs then add(entry.inputs, step, point_of(tracer, chosen.handle, "input")) end
      end
      entries[chosen.path] = entry
      order[#order + 1], place_in[chosen.path] = chosen.path, i
    end
  end
  table.sort(order, function(a, b)
    local x, y = entries[a].point, entries[b].point
    if x ~= y then return x < y end
    return place_in[a] < place_in[b]
  end)
  return setmetatable({ _entries = entries, _order = order, _device = device, _root = tracer._network.root,
    _recording = tracer._recording, _steps = tracer._steps }, Cache)
end

local function moved(v, device)
  if not device then return v end
  return sequences.map(v, function(t) return t:to(device) end)
end

---Returns the value of a list of saved proxies; after a generation, a tuple with one value for each step.
local function values_of(self, list)
  if not self._steps then return moved(list[1].value, self._device) end
  local came = {}
  for _, p in ipairs(list) do
    if p:is_set() then came[#came + 1] = moved(p.value, self._device) end
  end
  return tensor.tuple(unpack(came))
end

local Entry = {}
function Entry.__index(entry, name)
  if name == "output" then return values_of(entry._cache, entry._lists.outputs) end
  if name == "input" then
    if not entry._lists.inputs then
      binding.raise("state", "the inputs of modules were not cached", { hint = "ask for them: tracer:cache { inputs = true }" })
    end
    return values_of(entry._cache, entry._lists.inputs)
  end
  binding.raise("name", ("a cached module has the fields output and input, not %q"):format(tostring(name)))
end

---Removes the modules that did not run from the cache, once its trace has ended. A module stays where the options named it by
---its path, without a *.
local function settle(self)
  if self._settled or self._recording.graph then return end
  local order = {}
  for _, path in ipairs(self._order) do
    local entry, came = self._entries[path], false
    for _, p in ipairs(entry.outputs) do came = came or p:is_set() end
    if entry.full or came then order[#order + 1] = path else self._entries[path] = nil end
  end
  self._order, self._settled = order, true
end

local methods = {}

---Returns the paths in the cache, in the order in which the model reached them.
---@return string[]
function methods:keys()
  settle(self)
  return { unpack(self._order) }
end

function Cache.__index(self, path)
  if methods[path] then return methods[path] end
  if type(path) == "string" and path:sub(1, 1) == "_" then return nil end -- one of the cache's own fields that has no value
  if self._recording.graph then
    binding.raise("state", "the cache can be read only after the trace has run")
  end
  settle(self)
  local lists = self._entries[path] or self._entries[own_path(self._root, tostring(path))]
  if not lists then
    binding.raise("name", ("nothing was cached under the path %q%s"):format(tostring(path),
      near.text(tostring(path), self._order)))
  end
  if lists.is_value then return values_of(self, lists.outputs) end
  return setmetatable({ _cache = self, _lists = lists }, Entry)
end

Cache.__tostring = function(self) return ("cache of %d modules"):format(#self:keys()) end

return cache
