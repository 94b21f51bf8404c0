--- Modules that a script adds to a model and calls with { hook = true }: their points can be read, set and edited like those of
--- the model, anywhere in the body.
---
---     model.transformer.h[3].sae = Sae()                        before the trace
---     local y = model.transformer.h[3].sae(x, { hook = true })
---     model.transformer.h[3].sae.code[":, :, 3"] = 0            below the call or above it
---
--- The core runs such a call point by point. A name means the last call of the module above the line, else the one to come;
--- module:call(k) names the others.
local binding = require "luasight.ffi"
local call_names = require "luasight.trace.call_names"
local functions = require "luasight.ffi.functions"
local record = require "luasight.nn.record"
local traces = require "luasight.ffi.traces"

local getfenv = debug.getfenv

local hooked = {}

---@class luasight.HookedCall  a call of an added module in one invoke
---@field hook integer          the number of the call in the core
---@field program ffi.cdata*    the program that numbers its points; above the call the one of a call with tensors
---@field step integer          the step of a generation in which it was named or made
---@field called boolean        whether the script has come to the call
---@field named string?         the first point that the script named above the call
---@field above table<string, boolean>?  the points that the script set above the call
---@field twice string?         a point that the script set above the call and below it
---@field path string?          the path of the module, where the call comes from a file

local function join(path, name) return path == "" and name or path .. "." .. name end

---Returns the calls of the module at `path` in the invoke being recorded.
---@return luasight.HookedCall[]
local function calls_of(tracer, path)
  local known = rawget(tracer, "_hooked")
  if not known then
    known = {}
    rawset(tracer, "_hooked", known)
  end
  known[path] = known[path] or {}
  return known[path]
end

local function add(tracer, path, program)
  local list, recording = calls_of(tracer, path), tracer._recording
  local call = { hook = traces.hook(recording.graph, program), program = program, step = tracer._step, called = false }
  recording.hooks = call.hook + 1
  list[#list + 1] = call
  return call
end

---Returns the path of the module whose calls have the points of a place: the module itself or one around it.
local function host_of(tracer, place)
  local known, at, added = rawget(tracer, "_hooked"), place, nil
  while at do
    if known and known[at.path] then return at.path end
    added = added or place.network.added[at.path] and at.path
    at = at.parent and getfenv(at.parent)
  end
  return added
end

---Returns the path from the host to a place, with the calls that the script asks for, and the number of the host's call; nil
---where it asks for none. With a program, calls that a name itself says have their numbers too (call_names.lua).
local function way_to(place, host, tracer, program)
  local asked = place.call or not place.fixed and tracer._moved and tracer._moved[place.path] or nil
  if place.path == host then return "", asked end
  local way, number = way_to(getfenv(place.parent), host, tracer, program)
  way = join(way, place.name)
  if not asked and program then way = call_names.last(place, program, way, host) end
  return asked and ("%s (call %d)"):format(way, asked) or way, number
end

---Returns a call that the script has named: by its number, else the last one above, else the next one.
local function named_call(tracer, host, number)
  local known = rawget(tracer, "_hooked")
  local list, found = known and known[host] or {}, nil
  if number then return list[number + 1], number - #list end
  for _, call in ipairs(list) do
    if call.step == tracer._step and (call.called or not found) then found = call end
  end
  return found, 0
end

---Returns the call and the number of a point of an added module; nil where the module has no such point.
local function find(tracer, place, name, meta_copy_of)
  local host = host_of(tracer, place)
  local way, number = way_to(place, host, tracer)
  local call, missing = named_call(tracer, host, number)
  local program = call and call.program
  if not call then
    local module = getfenv(place.network.find(host)).module
    program = record.likely_program(meta_copy_of({ module = module }, tracer))
  end
  local point = program and functions.find(program, join(way, name))
  if not point then return nil end
  point = functions.find(program, join((way_to(place, host, tracer, program)), name))
  if not call then
    for _ = 0, missing do call = add(tracer, host, program) end
  end
  if not call.called then call.named = call.named or join(place.path, name) end
  return call, point
end

---Returns the value at a point of an added module, in a call with { hook = true }; nil where it has no such point.
---@param tracer luasight.Tracer
---@param place luasight.Place
---@param name string
---@param meta_copy_of fun(place: table, tracer: luasight.Tracer): table
---@return any
function hooked.read(tracer, place, name, meta_copy_of)
  local call, point = find(tracer, place, name, meta_copy_of)
  return call and traces.read(tracer._recording.graph, traces.inside(call.hook), 0, point)
end

---Replaces the value at a point of an added module, in a call with { hook = true }.
---@param tracer luasight.Tracer
---@param place luasight.Place
---@param name string
---@param value any
---@param meta_copy_of fun(place: table, tracer: luasight.Tracer): table
function hooked.write(tracer, place, name, value, meta_copy_of)
  local call, point = find(tracer, place, name, meta_copy_of)
  if not call then
    binding.raise("unreached", "this added module has no such point, as far as it is known above its call", {
      point = join(place.path, name), hint = "name the points of an added module below its call with { hook = true }" })
  end
  call.above = call.above or {}
  local key = join(place.path, name)
  if not call.called then call.above[key] = true
  elseif call.above[key] then call.twice = key end
  return traces.write(tracer._recording.graph, traces.inside(call.hook), 0, point, value, false)
end

---Raises an error where a point of an added module was named and no call with { hook = true } followed.
---@param tracer luasight.Tracer
function hooked.check(tracer)
  for _, list in pairs(rawget(tracer, "_hooked") or {}) do
    for _, call in ipairs(list) do
      if not call.called then
        binding.raise("unreached", "a point of an added module was named, but no call of it with { hook = true } followed", {
          point = call.named, hint = "call the module in the same body: module(x, { hook = true })" })
      end
    end
  end
end

---Calls an added module; all its modules have points in this call.
---@param tracer luasight.Tracer
---@param path string
---@param module table
---@param ... any
---@return any
function hooked.call(tracer, path, module, ...)
  local program, stream, n, held = record.prepare_call(module, ...)
  local call
  for _, known in ipairs(calls_of(tracer, path)) do
    if known.twice then
      binding.raise("argument", "this point was set above the last call and once more below it, and now another call follows", {
        point = known.twice, hint = "say which call is meant: module:call(1).code = value, counted from 0" })
    end
    if not known.called and known.step == tracer._step then
      call = known
      break
    end
  end
  call = call or add(tracer, path, program)
  local result = traces.call_with_points(tracer._recording.graph, program, stream, n, call.hook, held)
  call.program, call.called = program, true
  return result
end

---Returns the step of each call, in the order of the calls' numbers.
---@param of table<string, luasight.HookedCall[]>
---@return integer[]
function hooked.steps(of)
  local steps = {}
  for _, list in pairs(of) do
    for _, call in ipairs(list) do steps[call.hook + 1] = call.step end
  end
  return steps
end

---Returns calls in the order of their numbers as lists by the path of the module.
---@param calls luasight.HookedCall[]  each with the path in `path`
---@return table<string, luasight.HookedCall[]>
function hooked.by_path(calls)
  local of = {}
  for _, call in ipairs(calls) do
    of[call.path] = of[call.path] or {}
    table.insert(of[call.path], call)
  end
  return of
end

---Makes the calls that a stored edit makes known to a trace into which its nodes were copied.
---@param tracer luasight.Tracer
---@param of table<string, luasight.HookedCall[]>?  the calls of the stored edit
---@param step integer?  the step of the copies; nil: they act in the steps that the edit names
function hooked.include(tracer, of, step)
  local recording = tracer._recording
  local first, count = recording.hooks or 0, 0
  for path, list in pairs(of or {}) do
    local own = calls_of(tracer, path)
    for _, call in ipairs(list) do
      own[#own + 1] = { hook = first + call.hook, program = call.program, step = step or call.step, called = true }
      count = count + 1
    end
  end
  recording.hooks = first + count
end

return hooked
