--- Modules that a script adds to a model, called with { hook = true }: their own points can be read, and set, as those of the
--- model can.
---
---     model.transformer.h[3].sae = Sae()                        before the trace
---     model.transformer.h[3].sae.code.output = v                above the call that it edits
---     local y = model.transformer.h[3].sae(x, { hook = true })
---     model.transformer.h[3].sae.code.output                    below it
---
--- Such a call runs the module's forward in the body itself: what it does joins the trace line by line.
local binding = require "luasight.ffi"
local record = require "luasight.nn.record"
local tensor = require "luasight.tensor"

local attached = {}

---@class luasight.Attached  what a trace knows of the calls with hooks in it
---@field values table<string, table<string, any>[]>  by path: for each call its points
---@field edits table<string, table<string, any>>     by path and point, waiting for the next call

local function of(tracer)
  local known = rawget(tracer, "_attached")
  if not known then
    known = { values = {}, edits = {} }
    tracer._attached = known
  end
  return known
end

---The value of a point in a call with a hook; nil where no such call has come.
---@param tracer luasight.Tracer
---@param path string
---@param name string
---@param number integer?  of the call, from 0; the last one unless told
---@return any
function attached.read(tracer, path, name, number)
  local known = rawget(tracer, "_attached")
  local calls = known and known.values[path]
  local call = calls and calls[number and number + 1 or #calls]
  return call and call[name]
end

---Keeps an edit for the next call with a hook.
---@param tracer luasight.Tracer
---@param path string
---@param name string
---@param value any
function attached.write(tracer, path, name, value)
  local edits = of(tracer).edits
  edits[path] = edits[path] or {}
  edits[path][name] = value
end

---Raises where an edit was written and no call with a hook came behind it.
---@param tracer luasight.Tracer
function attached.check(tracer)
  local known = rawget(tracer, "_attached")
  local path = known and next(known.edits)
  if path then
    binding.raise("unreached", "this point was set, and no call with a hook came below", { point = path .. "." ..
      next(known.edits[path]), hint = "set the points of an added module above its call with { hook = true }" })
  end
end

---The point's value, or what was set there.
local function pass(known, path, call, name, value)
  local edits = known.edits[path]
  if edits and type(edits[name]) ~= "nil" then
    value, edits[name] = edits[name], nil
    if next(edits) == nil then known.edits[path] = nil end
  end
  call[name] = value
  return value
end

---((positional, ...), {keywords}), as at the inputs of the model's own modules.
local function pair_of(args, options)
  local named = {}
  for name, v in pairs(options or {}) do named[#named + 1] = { name, v } end
  table.sort(named, function(a, b) return a[1] < b[1] end)
  return tensor.tuple(tensor.tuple(unpack(args, 1, args.n)), tensor.struct(named))
end

local function first_of(value, path)
  if tensor.is_handle(value) then return value end
  binding.raise("argument", "the input of an added module takes a tensor, its first argument",
    { point = path .. ".input" })
end

local function paths_of(module, path, paths)
  paths[module] = path
  for name, child in module:_children() do paths_of(child, path .. "." .. name, paths) end
  return paths
end

---Calls an added module, and makes points of all its modules.
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
