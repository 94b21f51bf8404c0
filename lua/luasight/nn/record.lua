--- Recording: a module's forward is recorded as a function of the core, once for each signature of a call. Calling a module
--- records a call, or runs the recorded function.
---
--- A recording depends on the call's signature (which arguments it has, and the values of those that are not tensors) and
--- on which of the modules are in training mode. Both together are the key under which functions and programs are kept in
--- the module's record.
local binding = require "luasight.ffi"
local extent = require "luasight.ffi.extent"
local site = require "luasight.ffi.site"
local tensor = require "luasight.tensor"

local C, ffi = binding.C, binding.ffi
local ref_t = binding.ref_t
local NODE, KEY = C.LS_NODE, C.LS_KEY
local TRACE = 2 -- a result of ls_node_is_open: the node belongs to a trace

local record = {}

local structure = 0 -- a counter that grows when a recorded module changes its fields: all earlier recordings are then stale
local modes = 0     -- a counter that grows with each train() and eval()

---Runs the model of a trace up to the point at which a value exists; set by trace/init.lua.
---@type fun(v: ffi.cdata*)
record.demand = nil

---Marks all recordings as stale, because a field, parameter or child of a recorded module has changed.
---@param module table
function record.changed(module)
  if rawget(module, "_record") then structure = structure + 1 end
end

---Notes that some module has entered or left training mode.
function record.mode_changed() modes = modes + 1 end

---Returns a number that grows with every change after which a program has to be asked for again.
---@return integer
function record.version() return structure * 65536 + modes end

-- ---- the tree of modules in the core ---------------------------------------------------------------------------------

---@class luasight.record
---@field core ffi.cdata*  the module in the core
---@field dynamic boolean   whether the module, or one below it, branches on numbers: it is recorded anew at each call
---@field functions table<string, table<string, ffi.cdata*>>  by the training modes of the modules, then by signature
---@field programs table<string, table<string, ffi.cdata*>>

local core_of

local function fill(module, core)
  for name, t in module:_tensors() do binding.check(C.ls_module_set_tensor(core, name, t.v)) end
  for point, axis in pairs(module.batch_axis or {}) do
    binding.check(C.ls_module_set_axis(core, point, axis or -1))
  end
  for point, axis in pairs(module.token_axis or {}) do
    binding.check(C.ls_module_set_axis(core, "tokens of " .. point, axis or -1))
  end
  for name, child in module:_children() do binding.check(C.ls_module_set_child(core, name, core_of(child))) end
end

local function fresh(module)
  local out = ffi.new("ls_module *[1]")
  binding.check(C.ls_module_new(module._class_name, out))
  return { core = ffi.gc(out[0], C.ls_module_release), functions = {}, programs = {}, structure = structure }
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

---Returns the module of the core that stands for this module.
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

---Adds one argument to the text of the signature, and its handles, in that order, to `inputs`.
local function describe(v, parts, inputs)
  if ffi.istype(ref_t, v) then
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

---Returns a copy of an argument in which each handle is replaced by the next input of the function.
local function with_inputs(v, take)
  if ffi.istype(ref_t, v) then return take() end
  if type(v) ~= "table" then return v end
  local copy = {}
  for _, k in ipairs(sorted_keys(v)) do copy[k] = with_inputs(v[k], take) end
  return copy
end

---@class luasight.signature
---@field key string    the text under which recordings are kept
---@field args table     the positional arguments as given, with their number `n`
---@field options table?  the keyword arguments
---@field inputs table   the handles among the positional arguments
---@field named table    a list of {name, handle} for the keyword arguments

local no_names = {}

local function signature(...)
  local n, first = select("#", ...), ...
  if n == 1 and ffi.istype(ref_t, first) then
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
      if ffi.istype(ref_t, v) then
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

local stream_t = ffi.typeof "ls_value[?]"

---Returns the argument stream of a call: the positional handles, then the keyword arguments.
local function stream_of(s)
  local n = #s.inputs + 2 * #s.named
  local stream = stream_t(n > 0 and n or 1)
  for i, v in ipairs(s.inputs) do stream[i - 1] = v.v end
  for i, pair in ipairs(s.named) do
    local at = #s.inputs + 2 * (i - 1)
    stream[at].kind = KEY
    stream[at].as.s = pair[1]
    stream[at + 1] = pair[2].v
  end
  return stream, n
end

-- ---- functions -------------------------------------------------------------------------------------------------------

local recordings = extent() -- the functions that are being recorded: { graph =, module = }

local function new_function(core)
  local out = ffi.new("ls_function *[1]")
  binding.check(C.ls_function_new(core, out))
  return ffi.gc(out[0], C.ls_function_release)
end

local function input(g, name)
  local r = binding.new_ref()
  binding.check(C.ls_function_input(g, name, r.v))
  return r
end

---Returns the results of a function as one value; several results become a tuple.
---@param ... any
---@return any
function record.one_result(...)
  local n = select("#", ...)
  if n == 1 then return (...) end
  if n == 0 then return nil end
  return tensor.tuple(...)
end

---Records `body(...)` as the nodes of the function `g`; after an error the function is not recorded any more.
local function record_body(g, module, body)
  local result = recordings:during({ graph = g, module = module }, function() return record.one_result(body()) end)
  local e = binding.stream.take()
  local scratch, n = e.encode_one(result)
  local status = n == 1 and C.ls_function_finish(g, scratch) or 0
  binding.stream.give(e)
  if n ~= 1 then binding.raise("argument", "a forward returns values and tuples, not lists; use ls.tuple") end
  binding.check(status)
  return g
end

---Calls the forward of a module; keyword arguments are passed as a table in the place of its last parameter.
---@param module table
---@param args table  the positional arguments, with their number `n`
---@param options table?
---@return any ...
local function call_forward(module, args, options)
  local forward = module.forward
  if type(forward) ~= "function" then
    binding.raise("state", module._class_name .. " has no forward, so it cannot be called")
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

---Records a module for one signature. `with_values` says that the recording computes with the values of this call: "copies"
---where the recording will run again, "run" where the recording is itself the run.
local function record_function(module, r, s, with_values)
  local g = new_function(r.core)
  local args, options = { n = s.args.n }, nil
  local fresh_inputs = {}
  for i = 1, #s.inputs do fresh_inputs[i] = input(g, nil) end
  local at = 0
  local function take()
    at = at + 1
    return fresh_inputs[at]
  end
  for i = 1, s.args.n do args[i] = with_inputs(s.args[i], take) end
  if s.options then
    options = {}
    local named = {}
    for _, pair in ipairs(s.named) do named[pair[1]] = input(g, pair[1]) end
    for _, name in ipairs(sorted_keys(s.options)) do
      options[name] = named[name] or with_inputs(s.options[name], take)
    end
  end
  if with_values then
    local stream, n = stream_of(s)
    binding.check(C.ls_function_eager(g, stream, n, with_values == "copies" and 1 or 0))
  end
  record_body(g, module, function() return call_forward(module, args, options) end)
  return g -- not a tail call, because the search for script positions looks for this function on the stack
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

local function new_program(g)
  local out = ffi.new("ls_program *[1]")
  binding.check(C.ls_program_new(g, out))
  return ffi.gc(out[0], C.ls_program_release)
end

---Returns the result that a function computed while it was recorded.
local function result_of(g)
  local out = binding.new_ref()
  binding.check(C.ls_function_result(g, out.v))
  return binding.settle(out)
end

---Records a module with the values of this call, without autograd; returns the function.
local function record_without_autograd(module, s, with_values)
  return binding.with_autograd(0, record_function, module, record_of(module), s, with_values)
end

local function program_of(module, s)
  local r = record_of(module)
  if r.dynamic then
    local g = record_without_autograd(module, s, "copies")
    result_of(g)
    return new_program(g)
  end
  local known = of_mode(r.programs, mode_of(module, r))
  local p = known[s.key]
  if not p then
    p = new_program((function_of(module, s)))
    known[s.key] = p
  end
  return p
end

---Returns the program of a module for the arguments of one call, and their argument stream.
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

---Returns the program of a module for a call whose arguments are all tensors: a number of positional ones, and named ones.
---@param module table
---@param positional integer
---@param keywords string[]
---@return ffi.cdata* program
function record.program(module, positional, keywords)
  if record_of(module).dynamic then
    binding.raise("state", ("%s branches on numbers, so it can only be recorded with values"):format(module._class_name))
  end
  local any = binding.new_ref() -- an empty handle for every tensor: a signature does not look into handles
  local args, named = {}, nil
  for i = 1, positional do args[i] = any end
  for _, name in ipairs(keywords) do
    named = named or {}
    named[name] = any
  end
  if named then args[positional + 1] = named end
  return program_of(module, signature(unpack(args)))
end

---Returns the function of a module for the signature of these arguments.
---@param module table
---@param ... any
---@return ffi.cdata*
function record.function_for(module, ...)
  local s = signature(...)
  if not record_of(module).dynamic then return (function_of(module, s)) end
  local g = record_without_autograd(module, s, "copies")
  result_of(g)
  return g
end

-- ---- modules whose forward joins a trace --------------------------------------------------------------------------------

local inlines = extent() -- the functions { enter =, tap = } for the forward of a module that a body added

---Calls a module such that its operators, and those of the modules that it calls, become nodes of the open trace.
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
    return v.v.kind == NODE and C.ls_node_is_open(v.v) > 0 and v or nil
  end
  for _, v in ipairs(s.inputs) do
    if look(v) then return v end
  end
  for _, pair in ipairs(s.named) do
    if look(pair[2]) then return pair[2] end
  end
end

---Calls a module: inside a forward it records a call, on values of an open trace it adds the call to the trace, and on
---tensors it runs the module, with autograd as in PyTorch.
---@param module table
---@param ... any
---@return any
function record.call(module, ...)
  local s = signature(...)
  local node = open_graph(s)
  local inline = node and inlines:current()
  if inline and C.ls_node_is_open(node.v) == TRACE then return inline.enter(module, s.args, s.options) end
  local out = binding.new_ref()
  if not node and recordings:current() and #s.inputs + #s.named == 0 then
    binding.raise("argument", "a module that is called inside a forward needs at least one value of that forward as argument")
  end
  if node and C.ls_node_is_open(node.v) == 1 then
    local g, r = function_of(module, s)
    local stream, n = stream_of(s)
    local caller = ffi.cast("ls_function *", node.v.as.p)
    binding.check(C.ls_function_call(caller, r.core, g, stream, n, binding.site(), out.v))
    return out
  end
  if record_of(module).dynamic then
    if not node then return result_of(record_function(module, record_of(module), s, "run")) end
    for _, v in ipairs(s.inputs) do record.demand(v) end
    for _, pair in ipairs(s.named) do record.demand(pair[2]) end
  end
  local p = program_of(module, s)
  local stream, n = stream_of(s)
  if node then
    binding.check(C.ls_trace_call(ffi.cast("ls_trace *", node.v.as.p), p, stream, n, binding.site(), out.v))
    return out
  end
  if binding.modes.shared then binding.modes.set() end
  binding.check(C.ls_program_run(p, stream, n, 1, out.v))
  return binding.settle(out)
end

---Runs a module without autograd.
---@param module table
---@param ... any
---@return any
function record.run(module, ...)
  if record_of(module).dynamic then
    return result_of(record_without_autograd(module, signature(...), "run"))
  end
  local program, stream, n = record.prepare(module, ...)
  local out = binding.new_ref()
  binding.check(C.ls_program_run(program, stream, n, 0, out.v))
  return binding.settle(out)
end

-- ---- taps, and computations in two forms -----------------------------------------------------------------------------

---Names a value inside a forward, so that a trace can read and set the value.
---@param name string
---@param value any  a value of the forward that is being recorded; any other value is returned unchanged
---@return any
function record.tap(name, value)
  local recording = recordings:current()
  local inline = not recording and inlines:current()
  if inline then return inline.tap(name, value) end
  if not recording or not ffi.istype(ref_t, value) or value.v.kind ~= NODE then return value end
  local out = binding.new_ref()
  binding.check(C.ls_function_tap(recording.graph, name, value.v, binding.site(), out.v))
  return out
end

local function record_form(module, form, inputs)
  local g = new_function(nil)
  local fresh_inputs = {}
  for i = 1, #inputs do fresh_inputs[i] = input(g, nil) end
  return record_body(g, module, function() return form(unpack(fresh_inputs, 1, #inputs)) end)
end

---Records two forms of a computation with equal results: `fused` runs unless a tap inside `plain` is read or set.
---@param plain fun(...): any
---@param fused fun(...): any  a function that calls operators only
---@param ... any  the handles that both forms take
---@return any
function record.either(plain, fused, ...)
  local inputs, recording = { ... }, recordings:current()
  if not recording then return fused(...) end
  local g = recording.graph
  local plain_graph = record_form(recording.module, plain, inputs)
  local fused_graph = record_form(recording.module, fused, inputs)
  local stream = ffi.new("ls_value[?]", #inputs)
  for i, v in ipairs(inputs) do stream[i - 1] = v.v end
  local out = binding.new_ref()
  binding.check(C.ls_function_either(g, plain_graph, fused_graph, stream, #inputs, binding.site(), out.v))
  return out
end


return record
