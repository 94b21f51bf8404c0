--- Recording: a module's forward becomes a function of the core, once for each way of calling it; calling a module
--- records a call, or runs what was recorded.
---
--- What is recorded depends on how a module is called (its signature: which arguments are there, and the value of those
--- that are no tensors) and on which of its modules train. Both together are the key under which functions and programs
--- are kept in the module's record.
local binding = require "luasight.ffi"
local extent = require "luasight.ffi.extent"
local functions = require "luasight.ffi.functions"
local nodes = require "luasight.ffi.nodes"
local site = require "luasight.ffi.site"
local tensor = require "luasight.tensor"
local traces = require "luasight.ffi.traces"

local is_handle = binding.is_handle

local record = {}

local structure = 0 -- grows when a recorded module changes its fields: everything recorded before is stale
local modes = 0     -- grows with each train() and eval()

---The model of a trace runs up to where a value exists; set by trace/init.lua.
---@type fun(v: ffi.cdata*)
record.demand = nil

---A module that was recorded got another field, parameter or child.
---@param module table
function record.changed(module)
  if rawget(module, "_record") then structure = structure + 1 end
end

---Some module began or ended training.
function record.mode_changed() modes = modes + 1 end

---Grows with every change after which a program must be asked for again.
---@return integer
function record.version() return structure * 65536 + modes end

-- ---- the module tree in the core -------------------------------------------------------------------------------------

---@class luasight.record
---@field core ffi.cdata*  the module in the core
---@field dynamic boolean   it, or a module below, branches on numbers: recorded at each call, with values
---@field functions table<string, table<string, ffi.cdata*>>  by which modules train, and the way of calling
---@field programs table<string, table<string, ffi.cdata*>>

local core_of

local function fill(module, core)
  for name, t in module:_tensors() do functions.set_tensor(core, name, t) end
  for point, axis in pairs(module.batch_axis or {}) do functions.set_batch_axis(core, point, axis) end
  for point, axis in pairs(module.token_axis or {}) do functions.set_token_axis(core, point, axis) end
  for name, child in module:_children() do functions.set_child(core, name, core_of(child)) end
end

local function fresh(module)
  return { core = functions.new_module(module._class_name), functions = {}, programs = {}, structure = structure }
end

local record_of

---@return luasight.record
record_of = function(module)
  local r = rawget(module, "_record")
  if r and r.structure == structure then return r end
  r = fresh(module)
  rawset(module, "_record", r)
  fill(module, r.core)
  r.dynamic = not not module.dynamic
  for _, child in module:_children() do r.dynamic = r.dynamic or record_of(child).dynamic end
  return r
end

core_of = function(module) return record_of(module).core end

---The module's place in the core.
---@param module table
---@return ffi.cdata*
function record.core(module) return core_of(module) end

local function mode_bits(module, bits)
  bits[#bits + 1] = module.training and "t" or "e"
  for _, child in module:_children() do mode_bits(child, bits) end
  return bits
end

local function mode_of(module, r)
  if r.modes ~= modes then
    local text = table.concat(mode_bits(module, {}))
    r.mode = text:match "^t+$" and "t" or text:match "^e+$" and "e" or text
    r.modes = modes
  end
  return r.mode
end

-- ---- signatures ------------------------------------------------------------------------------------------------------

local function is_options(v) return type(v) == "table" and getmetatable(v) == nil and v[1] == nil and next(v) ~= nil end

local function sorted_keys(t)
  local keys = {}
  for k in pairs(t) do keys[#keys + 1] = k end
  table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
  return keys
end

---Adds one argument to the signature; handles go into `inputs` in the order of the signature.
local function describe(v, parts, inputs)
  if is_handle(v) then
    parts[#parts + 1] = "v"
    inputs[#inputs + 1] = v
  elseif type(v) == "table" then
    parts[#parts + 1] = "{"
    for _, k in ipairs(sorted_keys(v)) do
      parts[#parts + 1] = tostring(k) .. "="
      describe(v[k], parts, inputs)
    end
    parts[#parts + 1] = "}"
  elseif v == nil then
    parts[#parts + 1] = "-"
  elseif type(v) == "number" or type(v) == "boolean" or type(v) == "string" then
    parts[#parts + 1] = type(v):sub(1, 1) .. ":" .. tostring(v)
  else
    binding.raise("argument", "a module cannot take a " .. type(v) .. " as argument")
  end
  parts[#parts + 1] = ","
end

---The same argument with the function's inputs in the place of the handles.
local function with_inputs(v, take)
  if is_handle(v) then return take() end
  if type(v) ~= "table" then return v end
  local copy = {}
  for _, k in ipairs(sorted_keys(v)) do copy[k] = with_inputs(v[k], take) end
  return copy
end

---@class luasight.signature
---@field key string
---@field args table     positional arguments as given, with `n`
---@field options table?  keyword arguments
---@field inputs table   handles of the positional arguments
---@field named table    {name, handle} of the keyword arguments

local no_names = {}

local function signature(...)
  local n, first = select("#", ...), ...
  if n == 1 and is_handle(first) then
    return { key = "v,", args = { first, n = 1 }, inputs = { first }, named = no_names }
  end
  local s = { args = { n = n, ... }, inputs = {}, named = {} }
  local parts = {}
  if n > 0 and is_options(s.args[n]) then
    s.options, s.args[n], s.args.n = s.args[n], nil, n - 1
    n = n - 1
  end
  while n > 0 and s.args[n] == nil do n = n - 1 end
  s.args.n = n
  for i = 1, n do describe(s.args[i], parts, s.inputs) end
  if s.options then
    for _, name in ipairs(sorted_keys(s.options)) do
      local v = s.options[name]
      parts[#parts + 1] = ";" .. tostring(name) .. "="
      if is_handle(v) then
        parts[#parts + 1] = "v"
        s.named[#s.named + 1] = { name, v }
      else
        describe(v, parts, s.inputs)
      end
    end
  end
  s.key = table.concat(parts)
  return s
end

---The argument stream of a call: the positional handles, then the keyword ones.
local function stream_of(s) return functions.arguments(s.inputs, s.named) end

-- ---- functions -------------------------------------------------------------------------------------------------------

local recordings = extent() -- the functions being recorded: { graph =, module = }

---What a function gave, as one value: several results are a tuple.
---@param ... any
---@return any
function record.one_result(...)
  local n = select("#", ...)
  if n == 1 then return (...) end
  if n == 0 then return nil end
  return tensor.tuple(...)
end

---Records `body(...)` as function `g`; an error in it leaves nothing behind.
local function record_body(g, module, body)
  local result = recordings:during({ graph = g, module = module }, function() return record.one_result(body()) end)
  if functions.finish(g, result) then return g end
  binding.raise("argument", "a forward returns values and tuples; use ls.tuple for a list")
end

---forward(self, x, mask, options): keyword arguments arrive as a table in the last place that forward names.
---@param module table
---@param args table  with `n`
---@param options table?
---@return any ...
local function call_forward(module, args, options)
  local forward = module.forward
  if type(forward) ~= "function" then
    binding.raise("state", module._class_name .. " has no forward")
  end
  local n = args.n
  if options then
    local info = debug.getinfo(forward, "u")
    if not info.isvararg and info.nparams - 2 > n then n = info.nparams - 2 end
    n = n + 1
    args[n] = options
  end
  return forward(module, unpack(args, 1, n))
end

---Records a module for one way of calling it. `values` says that it is recorded with the values of this call: "copies" where
---it will run once more, "run" where this is its run.
local function record_function(module, r, s, with_values)
  local g = functions.new(r.core)
  local args, options = { n = s.args.n }, nil
  local fresh_inputs = {}
  for i = 1, #s.inputs do fresh_inputs[i] = functions.input(g, nil) end
  local at = 0
  local function take()
    at = at + 1
    return fresh_inputs[at]
  end
  for i = 1, s.args.n do args[i] = with_inputs(s.args[i], take) end
  if s.options then
    options = {}
    local named = {}
    for _, pair in ipairs(s.named) do named[pair[1]] = functions.input(g, pair[1]) end
    for _, name in ipairs(sorted_keys(s.options)) do
      options[name] = named[name] or with_inputs(s.options[name], take)
    end
  end
  if with_values then
    local stream, n = stream_of(s)
    functions.record_with_values(g, stream, n, with_values == "copies")
  end
  record_body(g, module, function() return call_forward(module, args, options) end)
  return g -- no tail call: this function has to be found on the stack
end
site.fence = record_function

local function of_mode(all, mode)
  local known = all[mode]
  if not known then
    known = {}
    all[mode] = known
  end
  return known
end

local function function_of(module, s)
  local r = record_of(module)
  if r.dynamic then return record_function(module, r, s, "run"), r end
  local known = of_mode(r.functions, mode_of(module, r))
  local g = known[s.key]
  if not g then
    g = record_function(module, r, s)
    known[s.key] = g
  end
  return g, r
end

---Records a module with the values of this call; gives the function.
local function record_without_autograd(module, s, with_values)
  return binding.with_autograd(0, record_function, module, record_of(module), s, with_values)
end

local function program_of(module, s)
  local r = record_of(module)
  if r.dynamic then
    local g = record_without_autograd(module, s, "copies")
    functions.result(g)
    return functions.program(g)
  end
  local known = of_mode(r.programs, mode_of(module, r))
  local p = known[s.key]
  if not p then
    p = functions.program((function_of(module, s)))
    known[s.key] = p
  end
  return p
end

---The program of a module for the arguments of one call, and their argument stream.
---@param module table
---@param ... any
---@return ffi.cdata* program, ffi.cdata* stream, integer n
function record.prepare(module, ...)
  local s = signature(...)
  local p = program_of(module, s)
  local stream, n = stream_of(s)
  return p, stream, n, s
end

record.call_forward = call_forward

---The program of a module for a call with tensors alone: so many positional ones, and those of these names.
---@param module table
---@param positional integer
---@param keywords string[]
---@return ffi.cdata* program
function record.program(module, positional, keywords)
  if record_of(module).dynamic then
    binding.raise("state", ("%s branches on numbers, so it has to be called with values"):format(module._class_name))
  end
  local any = binding.new_ref() -- what stands for a tensor: nothing is looked at but that it is a handle
  local args, named = {}, nil
  for i = 1, positional do args[i] = any end
  for _, name in ipairs(keywords) do
    named = named or {}
    named[name] = any
  end
  if named then args[positional + 1] = named end
  return program_of(module, signature(unpack(args)))
end

---The function of a module for one way of calling it.
---@param module table
---@param ... any
---@return ffi.cdata*
function record.function_for(module, ...)
  local s = signature(...)
  if not record_of(module).dynamic then return (function_of(module, s)) end
  local g = record_without_autograd(module, s, "copies")
  functions.result(g)
  return g
end

-- ---- calls in a body, line by line --------------------------------------------------------------------------------------

local inlines = extent() -- { enter =, tap = } while the forward of an added module runs in a body

---Calls a module whose forward, and that of each module that it calls, joins the trace line by line.
---@param enter fun(module: table, args: table, options: table?): any  runs one forward
---@param tap fun(name: string, value: any): any
---@param module table
---@param ... any
---@return any
function record.inline(enter, tap, module, ...)
  return (inlines:during({ enter = enter, tap = tap }, record.call, module, ...))
end

-- ---- calls -----------------------------------------------------------------------------------------------------------

local function open_graph(s)
  local function look(v)
    return nodes.is_open(v) and v or nil
  end
  for _, v in ipairs(s.inputs) do
    if look(v) then return v end
  end
  for _, pair in ipairs(s.named) do
    if look(pair[2]) then return pair[2] end
  end
end

---Calls a module: inside a forward it records a call, on values of an open trace it adds the call to the trace, and on
---tensors it runs, with autograd as PyTorch has it.
---@param module table
---@param ... any
---@return any
function record.call(module, ...)
  local s = signature(...)
  local node = open_graph(s)
  local inline = node and inlines:current()
  if inline and nodes.is_trace(node) then return inline.enter(module, s.args, s.options) end
  if not node and recordings:current() and #s.inputs + #s.named == 0 then
    binding.raise("argument", "a module called inside a forward needs at least one of its values")
  end
  if node and nodes.is_forward(node) then
    local g, r = function_of(module, s)
    local stream, n = stream_of(s)
    local result = functions.call(node, r.core, g, stream, n)
    return result -- no tail call: `s` holds the handles in the stream
  end
  if record_of(module).dynamic then
    if not node then return functions.result(record_function(module, record_of(module), s, "run")) end
    for _, v in ipairs(s.inputs) do record.demand(v) end
    for _, pair in ipairs(s.named) do record.demand(pair[2]) end
  end
  local p = program_of(module, s)
  local stream, n = stream_of(s)
  local result = node and traces.call(node, p, stream, n) or functions.run(p, stream, n, true)
  return result -- as above
end

---Runs a module without autograd.
---@param module table
---@param ... any
---@return any
function record.run(module, ...)
  if record_of(module).dynamic then
    return functions.result(record_without_autograd(module, signature(...), "run"))
  end
  local program, stream, n = record.prepare(module, ...)
  local result = functions.run(program, stream, n, false)
  return result -- no tail call: the arguments are held meanwhile
end

-- ---- taps and forms --------------------------------------------------------------------------------------------------

---Names a value inside a forward, so that a trace can read and set it there.
---@param name string
---@param value any  a value of the forward being recorded; anything else is given back as it is
---@return any
function record.tap(name, value)
  local recording = recordings:current()
  local inline = not recording and inlines:current()
  if inline then return inline.tap(name, value) end
  if not recording or not nodes.is_node(value) then return value end
  return functions.tap(recording.graph, name, value)
end

local function record_form(module, form, inputs)
  local g = functions.new(nil)
  local fresh_inputs = {}
  for i = 1, #inputs do fresh_inputs[i] = functions.input(g, nil) end
  return record_body(g, module, function() return form(unpack(fresh_inputs, 1, #inputs)) end)
end

---Two forms of one computation with equal results: `fused` runs unless a tap inside `plain` is asked for.
---@param plain fun(...): any
---@param fused fun(...): any  operators only
---@param ... any  handles
---@return any
function record.either(plain, fused, ...)
  local inputs, recording = { ... }, recordings:current()
  if not recording then return fused(...) end
  local plain_graph = record_form(recording.module, plain, inputs)
  local fused_graph = record_form(recording.module, fused, inputs)
  return functions.either(recording.graph, plain_graph, fused_graph, inputs)
end

return record
