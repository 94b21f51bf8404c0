--- tracer:cache(): the outputs (and inputs) of many modules at once.
local binding = require "luasight.ffi"
local near = require "luasight.near"
local place_of = require "luasight.place"
local tensor = require "luasight.tensor"
local trace = require "luasight.trace"

local C = binding.C

local cache = {}

---@class luasight.Cache  after the trace: cache["transformer.h.3"].output
local Cache = {}

---`*` is one name, `**` any path.
local function to_pattern(text)
  local escaped = text:gsub("[%^%$%(%)%%%.%[%]%+%-%?]", "%%%1")
  return "^" .. escaped:gsub("%*+", function(stars) return #stars > 1 and ".*" or "[^.]*" end) .. "$"
end

local option_names = { "modules", "inputs", "device" }

local function read_options(given)
  given = given or {}
  for name in pairs(given) do
    if name ~= "modules" and name ~= "inputs" and name ~= "device" then
      binding.raise("name", ("cache has no option %q%s"):format(tostring(name), near.text(tostring(name), option_names)), 4)
    end
  end
  local modules = given.modules
  if type(modules) == "string" then modules = { modules } end
  if modules ~= nil and (type(modules) ~= "table" or #modules == 0) then
    binding.raise("argument", "modules is a list of paths, in which * is one name and ** any path", 4)
  end
  return modules, given.inputs or false, given.device
end

---The path of a module under the model's own names.
local function own_path(root, text)
  local ok, handle = pcall(root.get, root, text)
  return ok and place_of.path(handle) or text
end

---Modules by a path whose names before the first * may be standard names: "layers.*.mlp" of GPT-2 is "transformer.h.*.mlp".
local function with_own_names(root, text)
  local first = text:match "^([^*]*)%.[^.]*%*"
  return first and own_path(root, first) .. text:sub(#first + 1) or text
end

---The modules asked for: handle by path; a full path that does not exist is an error.
local function select_modules(root, modules)
  local chosen = {}
  if not modules then
    for path, handle in root:named_modules() do chosen[#chosen + 1] = { path = path, handle = handle } end
    return chosen
  end
  local taken = {}
  for _, text in ipairs(modules) do
    if not text:find("*", 1, true) then
      local handle = text == "" and root or root:get(text)
      local path = place_of.path(handle)
      if not taken[path] then chosen[#chosen + 1] = { path = path, handle = handle, full = true } end
      taken[path] = true
    else
      local pattern, any = to_pattern(with_own_names(root, text)), false
      for path, handle in root:named_modules() do
        if path:find(pattern) then
          any = true
          if not taken[path] then chosen[#chosen + 1] = { path = path, handle = handle } end
          taken[path] = true
        end
      end
      if not any then binding.raise("name", ("no module has a path like %q"):format(text), 4) end
    end
  end
  return chosen
end

---Reads what the options ask for, at every step from the current one on.
---@param tracer luasight.Tracer
---@param locate fun(handle: userdata, name: string): integer|false
---@param given table?
---@return luasight.Cache
function cache.new(tracer, locate, given)
  local modules, inputs, device = read_options(given)
  local entries, order = {}, {}
  for _, chosen in ipairs(select_modules(tracer._network.root, modules)) do
    local point = locate(chosen.handle, "output")
    if not point and chosen.full then
      binding.raise("unreached", "the model never calls this module", 4, { point = chosen.path .. ".output" })
    end
    if point then
      local entry = { point = point, full = chosen.full, outputs = {}, inputs = inputs and {} or nil }
      local function add(list, step, at)
        local value = trace.read(tracer, step, at, 4):save()
        if not chosen.full then C.ls_trace_optional(value.v) end
        list[#list + 1] = value
      end
      for step = tracer._step, (tracer._steps or 1) - 1 do
        add(entry.outputs, step, point)
        if inputs then add(entry.inputs, step, locate(chosen.handle, "input")) end
      end
      entries[chosen.path] = entry
      order[#order + 1] = chosen.path
    end
  end
  table.sort(order, function(a, b) return entries[a].point < entries[b].point end)
  return setmetatable({ _entries = entries, _order = order, _device = device, _root = tracer._network.root,
    _recording = tracer._recording, _steps = tracer._steps }, Cache)
end

local function moved(v, device)
  if not device then return v end
  if C.ls_seq_length(v.v) > 0 then
    local parts = {}
    for i, inner in v:each() do parts[i + 1] = moved(inner, device) end
    return tensor.tuple(unpack(parts))
  end
  return v:to(device)
end

---What came of a list of saved proxies: one value, after a generation a tuple with one for each step.
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
      binding.raise("state", "inputs were not cached", 3, { hint = "tracer:cache { inputs = true }" })
    end
    return values_of(entry._cache, entry._lists.inputs)
  end
  binding.raise("name", ("a cached module has output and input, no %q"):format(tostring(name)), 3)
end

---Leaves out the modules that did not run, of those that were not named in full.
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

---The paths in the order in which the model reached them.
---@return string[]
function methods:keys()
  settle(self)
  return { unpack(self._order) }
end

function Cache.__index(self, path)
  if methods[path] then return methods[path] end
  if type(path) == "string" and path:sub(1, 1) == "_" then return nil end -- a field of its own that is not set
  if self._recording.graph then
    binding.raise("state", "the cache is filled when the trace has run", 3)
  end
  settle(self)
  local lists = self._entries[path] or self._entries[own_path(self._root, tostring(path))]
  if not lists then
    binding.raise("name", ("nothing is cached under %q%s"):format(tostring(path), near.text(tostring(path), self._order)), 3)
  end
  return setmetatable({ _cache = self, _lists = lists }, Entry)
end

Cache.__tostring = function(self) return ("cache of %d modules"):format(#self:keys()) end

return cache
