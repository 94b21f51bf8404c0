--- Recording: a module's forward is recorded as a function of the core, once for each signature of a call. Calling a module
--- records a call, or runs the recorded function.
---
--- A recording depends on the call's signature (which arguments it has, and the values of those that are not tensors) and
--- on which of the modules are in training mode. Both together are the key under which functions and programs are kept in
--- the module's record.
local binding = require "luasight.ffi"
local functions = require "luasight.ffi.functions"
local nodes = require "luasight.ffi.nodes"
local recording = require "luasight.ffi.recording"
local records = require "luasight.nn.records"
local signature = require "luasight.nn.signature"
local site = require "luasight.ffi.site"
local tensor = require "luasight.tensor"
local traces = require "luasight.ffi.traces"
local watch = require "luasight.nn.watch"

local record = { changed = records.changed, mode_changed = records.mode_changed, core = records.core,
  version = records.version, mixing = records.mixing }
local record_of = records.of

---Runs the model of an open trace until the value of the node `v` exists; lua/luasight/trace/init.lua sets this function.
---@type fun(v: ffi.cdata*)
record.demand = nil

-- ---- functions -------------------------------------------------------------------------------------------------------

---Returns the results of a Lua function, which are passed as arguments, as one value; several results become a tuple.
---@param ... any
---@return any
function record.one_result(...)
  local n = select("#", ...)
  if n == 1 then return (...) end
  if n == 0 then return nil end
  return tensor.tuple(...)
end

-- Lua's own error for a loop up to a value that has no number yet says nothing of what to do.
local function explained(ok, ...)
  if ok then return ... end
  local file, line = tostring((...)):match "^(.-):(%d+): 'for' %a+ must be a number$"
  if not file or type((...)) ~= "string" then error((...), 0) end
  binding.raise("state", "a loop of a forward runs to a value that has no number yet, such as x:size(0)", { file = file,
    line = tonumber(line), hint = "loop over what the module knows, or let the module declare itself: dynamic = true" })
end

---Records the operators that `body` calls as the nodes of the function `g`, and what `body` returns as the result of `g`.
local function record_body(g, module, eager, body)
  local open = { graph = g, module = module, eager = eager, autograd = -1 }
  local result = recording.during(open, function() return record.one_result(explained(pcall(body))) end)
  if functions.finish(g, result) then return g end
  binding.raise("argument", "a forward returns values and tuples, not a Lua list; use ls.tuple")
end

---Raises an error for a call of a module with more arguments than its forward takes.
local function refuse_arguments(module, most, n, options)
  local takes = most == 0 and "no arguments" or ("%d argument%s"):format(most, most == 1 and "" or "s")
  if not options then
    binding.raise("argument", ("the forward of %s takes %s, not %d"):format(module._class_name, takes, n))
  end
  local name = signature.sorted_keys(options)[1]
  binding.raise("name", ("the forward of %s takes %s and no options, so it has no %q"):format(module._class_name, takes,
    tostring(name)))
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
  local n, info = args.n, debug.getinfo(forward, "u")
  if options then
    if not info.isvararg and info.nparams - 2 > n then n = info.nparams - 2 end
    n = n + 1
    args[n] = options
  end
  if n >= info.nparams and not info.isvararg then refuse_arguments(module, math.max(info.nparams - 1, 0), n, options) end
  return forward(module, unpack(args, 1, n))
end

---Records a body whose function will run later, and computes its values meanwhile. The end of the recording, also one by an
---error, puts back what the body has changed.
local function rehearse(g, module, body)
  local ok, problem = pcall(record_body, g, module, true, body)
  if ok then return end
  pcall(functions.finish, g, nil)
  error(problem, 0)
end

---Returns the results of a forward, unless it has put values into tables among its arguments.
local function kept(given, args, options, ...)
  for i = 1, args.n do signature.check_kept(args[i], given) end
  signature.check_kept(options, given)
  return ...
end

---Records the forward of a module for one signature. With `with_values`, each operator is also computed when it is recorded:
---on copies of the arguments ("copies"), for a function that will run on the arguments later, or on the arguments ("run").
local function record_function(module, r, s, with_values)
  local g = functions.new(r.core)
  if not r.dynamic and not r.noted then
    r.noted = true
    local list, modules = watch.of(module)
    records.watch(r, list)
    for _, other in ipairs(modules or {}) do records.note_use(module, other) end
  end
  local args, options = { n = s.args.n }, nil
  local fresh_inputs, given = {}, {}
  local function input(name)
    local v = functions.input(g, name)
    given[v] = true
    return v
  end
  for i = 1, #s.inputs do fresh_inputs[i] = input(nil) end
  local at = 0
  local function take()
    at = at + 1
    return fresh_inputs[at]
  end
  for i = 1, s.args.n do args[i] = signature.with_inputs(s.args[i], take) end
  if s.options then
    options = {}
    local named = {}
    for _, pair in ipairs(s.named) do named[pair[1]] = input(pair[1]) end
    for _, name in ipairs(signature.sorted_keys(s.options)) do
      options[name] = named[name] or signature.with_inputs(s.options[name], take)
    end
  end
  if with_values then
    local stream, n = signature.stream(s)
    functions.record_with_values(g, stream, n, with_values == "copies")
  end
  local function body() return kept(given, args, options, call_forward(module, args, options)) end
  if with_values == "copies" then
    rehearse(g, module, body)
  else
    record_body(g, module, with_values ~= nil, body)
  end
  return g -- no tail call above: this function has to be on the stack, where the search for script lines ends at it
end
site.lowest = record_function

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
  local known = r.functions
  local g = of_mode(known, records.mode(module, r))[s.key]
  if not g then
    g = record_function(module, r, s)
    of_mode(known, records.mode(module, r))[s.key] = g -- the recording has told which modules' modes count
  end
  return g, r
end

---Records the forward of a module with autograd off, and computes its operators meanwhile; returns the recorded function.
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
  local known = r.programs
  local p = of_mode(known, records.mode(module, r))[s.key]
  if not p then
    p = functions.program((function_of(module, s)))
    of_mode(known, records.mode(module, r))[s.key] = p
  end
  return p
end

---Returns the program of a module for the arguments of one call, and their argument stream.
---@param module table
---@param ... any
---@return ffi.cdata* program, ffi.cdata* stream, integer n
function record.prepare(module, ...)
  local s = signature.of(...)
  local p = program_of(module, s)
  local stream, n = signature.stream(s)
  return p, stream, n, s
end

---Returns the program of a module for a call with `positional` tensors by position and a tensor for each name in `keywords`.
---@param module table
---@param positional integer
---@param keywords string[]
---@return ffi.cdata* program
function record.program(module, positional, keywords)
  if record_of(module).dynamic then
    binding.raise("state", ("an edit in a file cannot call %s, which branches on numbers"):format(module._class_name))
  end
  local any = binding.new_ref() -- stands for every tensor: a signature does not depend on the values of handles
  local args, named = {}, nil
  for i = 1, positional do args[i] = any end
  for _, name in ipairs(keywords) do
    named = named or {}
    named[name] = any
  end
  if named then args[positional + 1] = named end
  return program_of(module, signature.of(unpack(args)))
end

---Returns a table of keyword arguments that makes an input of the function `g` for each name that a forward reads.
local function any_options(g)
  return setmetatable({}, { __index = function(t, name)
    if type(name) ~= "string" then return nil end
    local input = functions.input(g, name)
    rawset(t, name, input)
    return input
  end })
end

---Returns a program of a module whose arguments are not known, for its points: its forward is recorded with tensors by
---position, as few as it needs, and then with names. Returns nil where no such recording succeeds, or where the module branches
---on numbers.
---@param module table
---@return ffi.cdata*?
function record.likely_program(module)
  if record_of(module).dynamic or type(module.forward) ~= "function" then return nil end
  local most = debug.getinfo(module.forward, "u").nparams - 1
  for n = 1, math.max(1, most) do
    local ok, program = pcall(record.program, module, n, {})
    if ok then return program end
  end
  for n = most - 1, 0, -1 do
    local ok, program = pcall(function()
      local g, args = functions.new(record.core(module)), { n = n }
      for i = 1, n do args[i] = functions.input(g, nil) end
      return functions.program(record_body(g, module, false, function() return call_forward(module, args, any_options(g)) end))
    end)
    if ok then return program end
  end
end

---Returns the recorded function of a module for the signature of these arguments.
---@param module table
---@param ... any
---@return ffi.cdata*
function record.function_for(module, ...)
  local s = signature.of(...)
  if not record_of(module).dynamic then return (function_of(module, s)) end
  local g = record_without_autograd(module, s, "copies")
  functions.result(g)
  return g
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

local function demand_all(s)
  for _, v in ipairs(s.inputs) do record.demand(v) end
  for _, pair in ipairs(s.named) do record.demand(pair[2]) end
end
---Returns the program of a module for a call in a body, and its stream. One that branches on numbers is recorded with values.
---@return ffi.cdata* program, ffi.cdata* stream, integer n
function record.prepare_call(module, ...)
  if record_of(module).dynamic then demand_all(signature.of(...)) end
  return record.prepare(module, ...)
end

---Records the call of a module in the forward that is being recorded.
local function record_call(open, module, s)
  records.note_use(open.module, module)
  local g, r = function_of(module, s)
  if r.dynamic and not open.eager then
    binding.raise("state", "a dynamic module is called in a forward that is not dynamic",
      { hint = "make it a child of the module that calls it, or declare the caller dynamic = true too" })
  end
  records.note_call(open.module, r)
  local stream, n = signature.stream(s)
  return functions.call(open.graph, r.core, g, stream, n, s)
end

---Calls a module: inside a forward the call is recorded, on values of an open trace the call is added to the trace, and on
---tensors the module runs, with autograd as in PyTorch.
---@param module table
---@param ... any
---@return any
function record.call(module, ...)
  local s = signature.of(...)
  local open = recording.forward()
  if open then return record_call(open, module, s) end
  local node = open_graph(s)
  if node and nodes.is_forward(node) then
    binding.raise("state", "a value of a module's forward cannot be used while that forward waits in another coroutine")
  end
  if record_of(module).dynamic then
    if not node then return functions.result(record_function(module, record_of(module), s, "run")) end
    demand_all(s)
  end
  local p = program_of(module, s)
  local stream, n = signature.stream(s)
  if node then return traces.call(node, p, stream, n, s) end
  return functions.run(p, stream, n, true, s)
end

---Runs a module without autograd.
---@param module table
---@param ... any
---@return any
function record.run(module, ...)
  if record_of(module).dynamic then
    return functions.result(record_without_autograd(module, signature.of(...), "run"))
  end
  local program, stream, n, s = record.prepare(module, ...)
  return functions.run(program, stream, n, false, s)
end

-- ---- taps, and computations in two forms -----------------------------------------------------------------------------

local tapped = setmetatable({}, { __mode = "k" }) -- for each function that is recorded, the names of its taps

local function check_tap(g, name)
  if type(name) ~= "string" or name == "" or name:find "[.%z]" or name:find(" (call ", 1, true) then
    local is_text = type(name) == "string"
    binding.raise(is_text and "name" or "argument", ("nn.tap: the name of a value is a text without dots, not %s"):format(
      is_text and ("%q"):format(name) or "a " .. type(name)))
  elseif name == "input" or name == "output" then
    binding.raise("name", ("nn.tap: every module has a value of the name %q already"):format(name))
  end
  local names = tapped[g] or {}
  if names[name] then
    binding.raise("name", ("nn.tap: this forward has named another value %q already"):format(name),
      { hint = ("in a loop, number them: nn.tap(%q .. i, x)"):format(name) })
  end
  names[name], tapped[g] = true, names
end

---Names a value inside a forward, so that a trace can read and set the value.
---@param name string
---@param value any  a value of the forward that is being recorded; any other value is returned unchanged
---@return any
function record.tap(name, value)
  local open = recording.current()
  if not open or not nodes.is_node(value) then return value end
  check_tap(open.graph, name)
  return functions.tap(open.graph, name, value)
end

local function record_form(open, form, inputs)
  local g = functions.new(nil)
  local fresh_inputs = {}
  for i = 1, #inputs do fresh_inputs[i] = functions.input(g, nil) end
  return record_body(g, open.module, open.eager, function() return form(unpack(fresh_inputs, 1, #inputs)) end)
end

---Records two forms of a computation with equal results: `fused` runs unless a tap inside `plain` is read or set.
---@param plain fun(...): any
---@param fused fun(...): any  a function that calls operators only
---@param ... any  the handles that both forms take
---@return any
function record.two_forms(plain, fused, ...)
  local inputs, open = { ... }, recording.current()
  if not open then return fused(...) end
  local plain_graph = record_form(open, plain, inputs)
  local fused_graph = record_form(open, fused, inputs)
  return functions.two_forms(open.graph, plain_graph, fused_graph, inputs)
end

return record
