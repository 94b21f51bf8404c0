--- Modules that a script adds to a model and calls with { hook = true }: their points can be read and set like those of the
--- model.
---
---     model.transformer.h[3].sae = Sae()                        before the trace
---     model.transformer.h[3].sae.code.output = v                before the call that it edits
---     local y = model.transformer.h[3].sae(x, { hook = true })
---     model.transformer.h[3].sae.code.output                    after the call
---
--- Such a call runs the module's forward in the body itself: its operators become nodes of the trace.
local binding = require "luasight.ffi"
local record = require "luasight.nn.record"
local tensor = require "luasight.tensor"

local attached = {}

---@class luasight.Attached  what a trace keeps about calls of added modules with { hook = true }
---@field values table<string, table<string, any>[]>  for each path the calls, each with the values of its points by name
---@field edits table<string, table<string, any>>     for each path and point, the value that the next call shall use

local function of(tracer)
  local known = rawget(tracer, "_hooked")
  if not known then
    known = { values = {}, edits = {} }
    tracer._hooked = known
  end
  return known
end

---Returns the value at a point of an added module in a call with { hook = true }; nil where there was no such call.
---@param tracer luasight.Tracer
---@param path string
---@param name string
---@param number integer?  the number of the call, from 0; the last call by default
---@return any
function attached.read(tracer, path, name, number)
  local known = rawget(tracer, "_hooked")
  local calls = known and known.values[path]
  local call = calls and calls[number and number + 1 or #calls]
  return call and call[name]
end

---Keeps the value that a script sets at a point of an added module, until the module is next called with { hook = true }.
---@param tracer luasight.Tracer
---@param path string
---@param name string
---@param value any
function attached.write(tracer, path, name, value)
  local edits = of(tracer).edits
  edits[path] = edits[path] or {}
  edits[path][name] = value
end

---Raises an error where a point of an added module was set and no call with { hook = true } followed.
---@param tracer luasight.Tracer
function attached.check(tracer)
  local known = rawget(tracer, "_hooked")
  local path = known and next(known.edits)
  if path then
    binding.raise("unreached", "a point of an added module was set, but no call of it with { hook = true } followed", {
      point = path .. "." .. next(known.edits[path]),
      hint = "set the points of an added module above its call with { hook = true }" })
  end
end

---Returns the value with which a call of an added module continues at a point: the value that the script has set there before
---the call, otherwise the computed `value`. Also keeps the returned value in `call`, so that the script can read it.
local function pass(known, path, call, name, value)
  local edits = known.edits[path]
  if edits and type(edits[name]) ~= "nil" then
    value, edits[name] = edits[name], nil
    if next(edits) == nil then known.edits[path] = nil end
  end
  call[name] = value
  return value
end

---Returns the arguments of a call as the pair ((positional, ...), {keywords}), like the inputs of the model's own modules.
local function pair_of(args, options)
  local named = {}
  for name, v in pairs(options or {}) do named[#named + 1] = { name, v } end
  table.sort(named, function(a, b) return a[1] < b[1] end)
  return tensor.tuple(tensor.tuple(unpack(args, 1, args.n)), tensor.struct(named))
end

local function first_of(value, path)
  if tensor.is_handle(value) then return value end
  binding.raise("argument", "the input of an added module can only be set to a tensor, which becomes its first argument",
    { point = path .. ".input" })
end

local function paths_of(module, path, paths)
  paths[module] = path
  for name, child in module:_children() do paths_of(child, path .. "." .. name, paths) end
  return paths
end

---Calls an added module, and records the inputs and outputs of all its modules as points.
---@param tracer luasight.Tracer
---@param path string
---@param module table
---@param ... any
---@return any
function attached.call(tracer, path, module, ...)
  local known, paths, stack = of(tracer), paths_of(module, path, {}), {}
  local function enter(inner, args, options)
    local own = paths[inner]
    if not own then return record.call_forward(inner, args, options) end
    local call = {}
    known.values[own] = known.values[own] or {}
    table.insert(known.values[own], call)
    local given = pair_of(args, options)
    local input = pass(known, own, call, "input", given)
    if not rawequal(input, given) then args[1] = first_of(input, own) end
    stack[#stack + 1] = { path = own, call = call }
    local result = record.one_result(record.call_forward(inner, args, options))
    stack[#stack] = nil
    return pass(known, own, call, "output", result)
  end
  local function tap(name, value)
    local top = stack[#stack]
    return top and pass(known, top.path, top.call, name, value) or value
  end
  return record.inline(enter, tap, module, ...)
end

return attached
