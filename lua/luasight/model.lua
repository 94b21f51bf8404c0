--- Models: a network with its points. A model and every module below it are handles with the same words: `output`,
--- `input`, taps, children, parameters; calling one inside a body adds the call to the trace.
local aliases = require "luasight.aliases"
local attached = require "luasight.attached"
local batch = require "luasight.batch"
local binding = require "luasight.ffi"
local inputs = require "luasight.inputs"
local is_module = require "luasight.nn.module".is_module
local near = require "luasight.near"
local points = require "luasight.points"
local record = require "luasight.record"
local rename = require "luasight.rename"
local scan = require "luasight.scan"
local torch = require "luasight.torch"
local trace = require "luasight.trace"
require "luasight.gradients"
require "luasight.tokens"
require "luasight.tracer"

local C, ffi = binding.C, binding.ffi
local ref_t = binding.ref_t
local getfenv, setfenv = debug.getfenv, debug.setfenv

---@class luasight.Network  what all handles of one model share
---@field module table            the root nn.Module
---@field root userdata           the handle of the root
---@field tracer luasight.Tracer? the innermost open trace
---@field prepare fun(level: integer, input: any, options: table): ...  the module's arguments for an input
---@field options table<string, boolean>         options that trace takes
---@field invoke_options table<string, boolean>  options that an invoke takes
---@field merge fun(members: luasight.Input[]): table  the inputs of several invokes as arguments of one call
---@field generation? fun(options: table): luasight.GenerationSettings
---@field edits luasight.Edit[]  part of every run
---@field example fun(rows: integer?, length: integer?): ...  arguments of some call, to name the points by
---@field makes_examples boolean?  they are such that the model can run on them
---@field renamed table<table, table<string, string>>?  more names of modules: their paths, by the module they stand in
---@field find fun(path: string): userdata?
---@field locate fun(handle: userdata, name: string): integer|false  the point in the trace being recorded
---@field lengths fun(args: table): integer[]?, integer?  tokens of each row, and of the longest

---@class luasight.Module  a module of a model; a child is reached by its name, `model.transformer.h[3].attn`
---@field output luasight.Tensor   what it gives, in a body; can be set
---@field input luasight.Tensor    what it is given, the pair of positional and keyword arguments; can be set
---@field q luasight.Tensor        B H T D: queries, in an attention
---@field k luasight.Tensor        B H S D: keys, with the key/value heads
---@field v luasight.Tensor        B H S D: values, with the key/value heads
---@field scores luasight.Tensor   B H T S: masked and scaled, before the softmax
---@field pattern luasight.Tensor  B H T S: where each position looks
---@field z luasight.Tensor        B H T D: what each head gives
---@field weight luasight.Tensor   parameters can be read
---@field bias luasight.Tensor
---@field [integer] luasight.Module  of a list of modules, from 0, negative ones from the end
---@field [string] luasight.Module
---@operator len: integer
---@overload fun(...): luasight.Tensor

---@alias luasight.Body fun(tracer: luasight.Tracer): ...

---@class luasight.Model: luasight.Module  a whole model; `model(input)` just runs it
---@overload fun(input: any, options?: table): luasight.Tensor

---@class luasight.Place  one handle's state
---@field network luasight.Network
---@field module table
---@field path string
---@field children table<any, userdata>

local prototype = newproxy(true)
local meta = getmetatable(prototype)

local function new_handle(network, module, path)
  local handle = newproxy(prototype)
  local numbers = setmetatable({}, { __mode = "k" }) -- of points, by program and name
  setfenv(handle, { network = network, module = module, path = path, children = {}, points = numbers })
  return handle
end

local function is_handle(v) return type(v) == "userdata" and getmetatable(v) == meta end

-- ---- points ------------------------------------------------------------------------------------------------------------

local function join_name(place, name) return place.path == "" and name or place.path .. "." .. name end

local function tracer_of(place, what, level)
  local tracer = place.network.tracer
  if tracer then return tracer end
  binding.raise("state", "exists only inside the body of a trace", level + 1, { point = join_name(place, what) })
end

local kinds = { input = C.LS_POINT_INPUT, output = C.LS_POINT_OUTPUT }

---The module itself, or in a scan its twin without numbers.
local function twin_of(place, tracer)
  local twins = tracer and tracer._twins
  return twins and twins[place.module] or place.module
end

---The number of a point in the program of a trace, false where the module has no such point; `number` is the call of the
---module in one run, from 0.
local function find_point(place, tracer, name, number)
  local program = tracer._program
  local known = place.points[program]
  if not known then
    known = {}
    place.points[program] = known
  end
  local key = number > 0 and number .. name or name
  local point = known[key]
  if point == nil then
    local kind = kinds[name]
    point = C.ls_program_point(program, record.core(twin_of(place, tracer)), kind or C.LS_POINT_TAP, not kind and name or nil,
      number)
    if point < 0 then point = false end
    known[key] = point
  end
  return point
end

---The point that a name stands for now, and the step it belongs to: that of the tracer, moved on by the module's own
---`next` and `call`.
---@return integer|false point, integer step
local function locate(place, tracer, name, level)
  if not tracer._invoke then
    binding.raise("state", "a point is read and set inside an invoke", level + 1, { point = join_name(place, name) })
  end
  local step, number = tracer._step, 0
  local moved = place.call and { call = place.call } or tracer._moved and tracer._moved[place.path]
  if moved then
    local calls = math.max(1, C.ls_program_calls(tracer._program, record.core(twin_of(place, tracer))))
    local call = moved.call or step * calls + moved.by
    step, number = math.floor(call / calls), call % calls
    if not tracer._steps and step > 0 then
      binding.raise("unreached", ("the model calls this module %s, so there is no call %d"):format(calls == 1 and "once" or
        calls .. " times", call), level + 1, { point = join_name(place, name) })
    end
  end
  return find_point(place, tracer, name, number), step
end

---Whether a handle is that of a module that a script added, or of one inside it.
local function is_added(place)
  for path in pairs(place.network.added or {}) do
    if place.path == path or place.path:sub(1, #path + 1) == path .. "." then return true end
  end
  return false
end

local function reach(place, tracer, name, level)
  local point, step = locate(place, tracer, name, level + 1)
  if point then return point, step end
  binding.raise("unreached", "the model never calls this module", level + 1, {
    point = join_name(place, name),
    hint = is_added(place) and "an added module has points below its call with { hook = true }" or
      "modules that only hold others (lists) have no output of their own; read those of their children",
  })
end

local function read(place, name, level)
  local tracer = tracer_of(place, name, level + 1)
  local value = attached.read(tracer, place.path, name, place.call)
  if type(value) ~= "nil" then return value end
  local point, step = reach(place, tracer, name, level + 1)
  return trace.read(tracer, step, point, level + 1)
end

-- ---- children ----------------------------------------------------------------------------------------------------------

local function join(path, name) return path == "" and tostring(name) or path .. "." .. name end

local find_module -- the module at a path below a handle

local function child(place, name)
  local known = place.children[name]
  if known then return known end
  local module = place.module:_child(name)
  if not module then
    local renamed = place.network.renamed
    local path = renamed and renamed[place.module] and renamed[place.module][name]
    return path and find_module(place.network.root, path)
  end
  known = new_handle(place.network, module, join(place.path, name))
  place.children[name] = known
  return known
end

local function count(place)
  local n = 0
  while place.module:_child(tostring(n)) do n = n + 1 end
  return n
end

local function index_child(place, i, level)
  local n = count(place)
  local at = i < 0 and i + n or i
  local found = at % 1 == 0 and at >= 0 and at < n and child(place, tostring(at))
  if found then return found end
  local name = place.path == "" and "the model" or place.path
  binding.raise("index", n == 0 and name .. " has no numbered modules" or
    ("%s[%s]: there are %d modules, 0 to %d"):format(name, tostring(i), n, n - 1), level + 1)
end

local function each_child(place)
  local i, n = -1, count(place)
  return function()
    i = i + 1
    if i < n then return i, child(place, tostring(i)) end
  end
end

---"2:5" of a list of modules.
local function slice_children(place, text, level)
  local from, to = text:match "^%s*(%-?%d*)%s*:%s*(%-?%d*)%s*$"
  if not from then return nil end
  local n = count(place)
  local function bound(s, default)
    local v = tonumber(s) or default
    return math.max(0, math.min(n, v < 0 and v + n or v))
  end
  if n == 0 then index_child(place, 0, level + 1) end
  local list = {}
  for i = bound(from, 0), bound(to, n) - 1 do list[#list + 1] = child(place, tostring(i)) end
  return list
end

local Children = {}
function Children.__index(list, key)
  local names = {}
  for name in pairs(list) do names[#names + 1] = name end
  binding.raise("name", ("there is no child %q%s"):format(tostring(key), near.text(tostring(key), names)), 3)
end

---The modules directly below by name, those too whose name is also that of a point or a word.
local function children_of(place)
  local list = {}
  for name in place.module:_children() do list[name] = child(place, name) end
  return setmetatable(list, Children)
end

---The module at a path below a handle, nil where there is none.
find_module = function(handle, path)
  for name in tostring(path):gmatch "[^.]+" do
    handle = handle and child(getfenv(handle), name)
  end
  return handle
end

-- ---- words of every handle ---------------------------------------------------------------------------------------------

local methods = {}

---The module at a path: model:get("transformer.h.3").
---@param path string
---@return userdata
function methods:get(path)
  local at = self
  for name in tostring(path):gmatch "[^.]+" do
    local place = getfenv(at)
    local below = child(place, name)
    if not below then
      local names = {}
      for n in place.module:_children() do names[#names + 1] = n end
      binding.raise("name", ("there is no module %q in %s%s"):format(name, place.path == "" and "the model" or place.path,
        near.text(name, names)), 3)
    end
    at = below
  end
  return at
end

---Iterates over the numbered modules: for i, block in model.transformer.h:each() do; i from 0.
---@return fun(): integer?, userdata?
function methods:each() return each_child(getfenv(self)) end

---The module's next call: in a generation that of the next step. Its plain access moves along.
---@return userdata
function methods:next()
  local place = getfenv(self)
  local tracer = tracer_of(place, "next", 3)
  tracer._moved = tracer._moved or {}
  local moved = tracer._moved[place.path] or { by = 0 }
  tracer._moved[place.path] = { by = moved.by + 1, call = moved.call and moved.call + 1 }
  return self
end

---One call of a module that runs several times, from 0: model.block:call(1).output.
---@param k integer
---@return userdata
function methods:call(k)
  local place = getfenv(self)
  local handle = new_handle(place.network, place.module, place.path)
  getfenv(handle).call = k
  return handle
end

---The output is `value` and the module, with all inside it, does not run.
---@param value any  what the module would give; ls.tuple(x) where it gives a tuple
function methods:skip(value)
  local place = getfenv(self)
  local tracer = tracer_of(place, "output", 3)
  local point, step = reach(place, tracer, "output", 3)
  trace.write(tracer, step, point, value, true, 3)
end

---What can be read and set at this module, with shapes: of the input given, inside a body of its input, else of examples that
---a language model makes itself.
---@param ... any  input?
---@return luasight.Points  # prints itself; a list of { name, shape, dtype }
function methods:points(...)
  local place = getfenv(self)
  local network, tracer = place.network, place.network.tracer
  local invoke = tracer and tracer._recording.invokes[tracer._invoke]
  if select("#", ...) > 0 then
    return points.of(network, place.module, place.path, 3, network.prepare(3, (...), {}))
  elseif invoke then
    return points.of(network, place.module, place.path, 3, unpack(invoke.args, 1, invoke.args.n))
  elseif not network.makes_examples then
    binding.raise("argument", "the shapes of this model's points depend on an input: give one, module:points(input)", 3)
  end
  return points.of(network, place.module, place.path, 3)
end

---Iterates over path and handle of this module and all below.
---@return fun(): string?, userdata?
function methods:named_modules()
  local found = {}
  local function walk(handle)
    local place = getfenv(handle)
    found[#found + 1] = { place.path, handle }
    for name in place.module:_children() do walk(child(place, name)) end
  end
  walk(self)
  local i = 0
  return function()
    i = i + 1
    if found[i] then return found[i][1], found[i][2] end
  end
end

-- ---- words of the whole model ------------------------------------------------------------------------------------------

local root_methods = {}
local copy_of -- defined with what makes models

---A run without a body; stored edits make it a trace of its own.
local function run_edited(network, level, ...)
  local tracer = trace.open(network, level + 1)
  trace.invoke(tracer, C.LS_INVOKE_WHOLE, level + 1, ...)
  return trace.run(tracer, level + 1, function() return network.root.output end).value
end

local function run_plain(network, level, ...)
  if #network.edits > 0 then return run_edited(network, level + 1, ...) end
  return record.run(level + 1, network.module, ...)
end

local function check_input(call, level)
  if call.input == nil then binding.raise("argument", "a trace needs an input", level + 1) end
end

local function open(network, level, input, options)
  local tracer = trace.open(network, level + 1)
  local function add(...)
    local index = trace.invoke(tracer, C.LS_INVOKE_WHOLE, level + 2, ...)
    tracer._recording.invokes[index] = { index = index, network = network, kind = C.LS_INVOKE_WHOLE,
      args = { n = select("#", ...), ... } }
    return tracer
  end
  return add(network.prepare(level + 1, input, options))
end

---Runs the model beside a recorded body. Without an input the body adds them: tracer:invoke(input, body).
---@param ... any  input?, options?, body
---@return any ...  # what the body returns, saved; with { trace = false } the output
---@overload fun(self: luasight.Model, input: any, body: luasight.Body): ...
---@overload fun(self: luasight.Model, input: any, options: table, body: luasight.Body): ...
---@overload fun(self: luasight.Model, body: luasight.Body): ...
function root_methods:trace(...)
  local network = getfenv(self).network
  local call = inputs.sort(network, "trace", network.options, 3, ...)
  if call.options.trace == false then
    if call.body then binding.raise("argument", "a trace with { trace = false } just runs and takes no body", 3) end
    check_input(call, 3)
    return run_plain(network, 3, network.prepare(3, call.input, call.options))
  end
  if not call.body then
    check_input(call, 3)
    binding.raise("argument", "a trace needs a body: model:trace(input, function() ... end); model(input) just runs", 3)
  end
  if call.input ~= nil then return trace.run(open(network, 3, call.input, call.options), 3, call.body) end
  if next(call.options) then
    binding.raise("argument", "a trace needs an input where it has options", 3,
      { hint = "the options of invokes stand with their inputs: tracer:invoke(input, options, body)" })
  end
  local tracer = trace.open(network, 3)
  tracer._takes_invokes = true
  return trace.run(tracer, 3, call.body)
end

-- What belongs to the tokenizer among the options of a generation.
local function prompt_options(options)
  return { truncation = options.truncation, add_special_tokens = options.add_special_tokens,
    invoker_args = options.invoker_args }
end

local function generation_of(network, level)
  if network.generation then return network.generation end
  binding.raise("state", "this model does not generate text", level + 1, { hint = "ls.LanguageModel makes one that does" })
end

---Generates text beside a recorded body; without a body it just generates.
---@param ... any  input?, options?, body?
---@return any ...  # what the body returns, saved; without a body the ids [B, T + new]
---@overload fun(self: luasight.Model, input: any, options?: luasight.GenerationOptions): luasight.Tensor
---@overload fun(self: luasight.Model, input: any, options: luasight.GenerationOptions, body: luasight.Body): ...
---@overload fun(self: luasight.Model, input: any, body: luasight.Body): ...
---@overload fun(self: luasight.Model, options: luasight.GenerationOptions, body: luasight.Body): ...
function root_methods:generate(...)
  local network = getfenv(self).network
  local settings_of = generation_of(network, 3)
  local call = inputs.sort(network, "generate", network.generate_options, 3, ...)
  local settings = settings_of(call.options)
  if not call.body then
    check_input(call, 3)
    if #network.edits == 0 then
      return network.generate(settings, network.prepare(3, call.input, prompt_options(call.options)))
    end
  end
  local tracer = trace.open(network, 3)
  tracer._settings, tracer._steps, tracer._takes_invokes = settings, network.generation_steps(settings), call.input == nil
  binding.check(C.ls_trace_generate(tracer._recording.graph, tracer._steps), 3)
  if call.input ~= nil then
    tracer:_add_input(C.LS_INVOKE_WHOLE, 3, { input = call.input, options = prompt_options(call.options) })
  end
  if not call.body then return trace.run(tracer, 3, function() return network.root.generator.output end).value end
  return trace.run(tracer, 3, call.body)
end

---Generates one text token by token: for token, text in model:stream(prompt, { max_new_tokens = 50 }) do.
---@param ... any  input, options?
---@return fun(): integer?, string?  # the id, and its text once the characters are whole
function root_methods:stream(...)
  local network = getfenv(self).network
  local settings_of = generation_of(network, 3)
  local call = inputs.sort(network, "stream", network.generate_options, 3, ...)
  check_input(call, 3)
  if call.body then binding.raise("argument", "a stream takes no body: for token, text in model:stream(prompt) do", 3) end
  if #network.edits > 0 then
    binding.raise("state", "a stream does not see stored edits; use generate", 3)
  end
  return network.stream(settings_of(call.options), network.prepare(3, call.input, prompt_options(call.options)))
end

---Runs a body over shapes and dtypes: every value has them and no numbers, no weight is read, nothing is computed.
---@param ... any  input, options?, body
---@return any ...  # what the body returns
---@overload fun(self: luasight.Model, input: any, body: luasight.Body): ...
function root_methods:scan(...)
  local network = getfenv(self).network
  local call = inputs.sort(network, "scan", network.options, 3, ...)
  check_input(call, 3)
  if not call.body then
    binding.raise("argument", "a scan needs a body: model:scan(input, function() ... end)", 3)
  end
  local tracer = scan.open(network, 3, network.prepare(3, call.input, call.options))
  return trace.run(tracer, 3, call.body)
end

---Opens a trace that stays open between lines: t:run() runs and closes it.
---@param ... any  input, options?
---@return luasight.Tracer
function root_methods:tracer(...)
  local network = getfenv(self).network
  local call = inputs.sort(network, "tracer", network.options, 3, ...)
  check_input(call, 3)
  if call.body then binding.raise("argument", "an open trace takes no body", 3) end
  return trace.leave_open(open(network, 3, call.input, call.options))
end

---Stores edits. With { inplace = true } they become part of this model, else of the new handle that is given back; both
---share the weights. They act at every call, in every later trace, in the order in which they were made.
---@param ... any  options?, body
---@return luasight.Model
---@overload fun(self: luasight.Model, body: fun(tracer: luasight.Tracer)): luasight.Model
---@overload fun(self: luasight.Model, options: { inplace: boolean? }, body: fun(tracer: luasight.Tracer)): luasight.Model
function root_methods:edit(...)
  local network = getfenv(self).network
  local options, body = ...
  if type(options) == "function" then options, body = {}, options end
  if type(options) ~= "table" or type(body) ~= "function" then
    binding.raise("argument", "edit takes a body: model:edit(function() ... end)", 3)
  end
  for name in pairs(options) do
    if name ~= "inplace" then
      binding.raise("name", ("edit has no option %q%s"):format(tostring(name), near.text(tostring(name), { "inplace" })), 3)
    end
  end
  local target = options.inplace and network or getfenv(copy_of(network)).network
  table.insert(target.edits, require "luasight.edits".record(network, 3, body))
  return target.root
end

---Takes back all stored edits of this handle.
function root_methods:clear_edits() getfenv(self).network.edits = {} end

---Writes the stored edits as data.
---@param path string
function root_methods:save_edits(path) require "luasight.edits".save(getfenv(self).network, path) end

---Adds the edits of a file to this handle.
---@param path string
function root_methods:load_edits(path)
  local network = getfenv(self).network
  for _, edit in ipairs(require "luasight.edits".load(network, path)) do table.insert(network.edits, edit) end
end

-- ---- the metatable -----------------------------------------------------------------------------------------------------

local function unknown(place, key, level)
  local names = { "output", "input" }
  for name in place.module:_children() do names[#names + 1] = name end
  for name in place.module:_tensors() do names[#names + 1] = name end
  for name in pairs(methods) do names[#names + 1] = name end
  aliases.add_names(place.module, names)
  if place.path == "" then
    for name in pairs(root_methods) do names[#names + 1] = name end
    for name in pairs(place.network.public) do names[#names + 1] = name end
  end
  local owner = place.path == "" and "the model has" or "has" -- the point names a module
  binding.raise("name", ("%s no %q%s"):format(owner, tostring(key), near.text(tostring(key), names)), level + 1,
    { point = place.path ~= "" and place.path or nil })
end

---The same tensor as an argument that no operator may change in place: a parameter inside a body.
local function read_only(t)
  local r = binding.new_ref()
  C.ls_value_retain(t.v)
  r.v = t.v
  r._aux = C.LS_READ_ONLY
  return r
end

---The point of a tap, where the module has one of that name.
local function tap(place, tracer, name, level)
  if not tracer._program or not find_point(place, tracer, name, 0) then return nil end
  return locate(place, tracer, name, level + 1)
end

---Where another name of this module leads: what it is taken from, and the step from there; nil where it is none.
---@return any at, string|integer? step
local function follow(self, place, key, level)
  local alias = aliases.of(place.module, key)
  if not alias then return nil end
  if type(alias) == "table" then
    binding.raise("name", ("has no %s: %s"):format(key, alias[1]), level + 1, { point = place.path })
  end
  local tracer = alias:find(":", 1, true) and tracer_of(place, key, level + 1)
  if alias == ":" .. key then reach(place, tracer, key, level + 1) end -- a tap of the module itself, and there is none
  return aliases.walk(self, alias)
end

function meta.__index(self, key)
  local place = getfenv(self)
  if key == "output" or key == "input" then return read(place, key, 3) end
  if type(key) == "number" then return index_child(place, key, 3) end
  if type(key) ~= "string" then unknown(place, key, 3) end
  if methods[key] then return methods[key] end
  if key == "children" then return children_of(place) end
  if place.path == "" and root_methods[key] then return root_methods[key] end
  if place.path == "" and place.network.public[key] then return place.network.public[key]() end
  local tracer = place.network.tracer
  if tracer then
    local point, step = tap(place, tracer, key, 3)
    if point then return trace.read(tracer, step, point, 3) end
    local value = attached.read(tracer, place.path, key, place.call)
    if type(value) ~= "nil" then return value end
  end
  local below = child(place, key) or slice_children(place, key, 3)
  if below then return below end
  local at, last = follow(self, place, key, 3)
  if at then return at[last] end
  local value = place.module[key]
  if value == nil or type(value) == "function" then unknown(place, key, 3) end
  return tracer and ffi.istype(ref_t, value) and read_only(value) or value
end

---Whether a name means something at every module.
local function is_word(name)
  return name == "output" or name == "input" or name == "children" or methods[name] ~= nil or root_methods[name] ~= nil
end

---Adds a module below another.
local function add(place, key, module)
  local path = join(place.path, tostring(key))
  if place.network.tracer then
    binding.raise("state", "a module is added before a trace, not inside its body", 4, { point = path })
  end
  if type(key) ~= "string" or is_word(key) or aliases.of(place.module, key) then
    binding.raise("name", ("%q means something else here"):format(tostring(key)), 4, { point = path })
  end
  place.module[key] = module
  place.network.added = place.network.added or {}
  place.network.added[path] = true
end

function meta.__newindex(self, key, value)
  local place = getfenv(self)
  if is_module(value) and not child(place, key) then return add(place, key, value) end
  if place.network.tracer and is_added(place) and not child(place, key) then
    return attached.write(place.network.tracer, place.path, key, value)
  end
  if key == "output" or key == "input" then
    local tracer = tracer_of(place, key, 3)
    local point, step = reach(place, tracer, key, 3)
    return trace.write(tracer, step, point, value, false, 3)
  end
  local tracer = place.network.tracer
  if tracer and type(key) == "string" then
    local point, step = tap(place, tracer, key, 3)
    if point then return trace.write(tracer, step, point, value, false, 3) end
  end
  if child(place, key) then
    binding.raise("argument", "is a module and cannot be set; its output can", 3, { point = join(place.path, key) })
  end
  local at, last = follow(self, place, key, 3)
  if at then
    at[last] = value
    return
  end
  for name in place.module:_tensors() do
    if name == key then
      binding.raise("state", "parameters can be read in a trace, not set", 3, { point = join(place.path, key) })
    end
  end
  unknown(place, key, 3)
end

local function has_open(...)
  for i = 1, select("#", ...) do
    local v = select(i, ...)
    if ffi.istype(ref_t, v) and v.v.kind == C.LS_NODE and C.ls_node_is_open(v.v) > 0 then return true end
  end
  return false
end

---The arguments of a call without the option `hook`, and whether it was there.
local function without_hook(...)
  local n = select("#", ...)
  local options = select(n, ...)
  if n == 0 or not inputs.is_options(options) or options.hook == nil then return false, ... end
  local rest, args = {}, { ... }
  for name, v in pairs(options) do
    if name ~= "hook" then rest[name] = v end
  end
  args[n] = next(rest) and rest or nil
  return options.hook, unpack(args, 1, next(rest) and n or n - 1)
end

local function call_added(place, hook, ...)
  if not hook then return record.call(twin_of(place, place.network.tracer), ...) end
  local tracer = tracer_of(place, "a call with a hook", 4)
  return attached.call(tracer, place.path, twin_of(place, tracer), ...)
end

function meta.__call(self, ...)
  local place = getfenv(self)
  if place.network.added and is_added(place) then return call_added(place, without_hook(...)) end
  if place.path ~= "" or has_open(...) then return record.call(twin_of(place, place.network.tracer), ...) end
  local call = inputs.sort(place.network, "trace", place.network.options, 3, ...)
  if call.body then binding.raise("argument", "model(input) just runs; give the body to model:trace", 3) end
  check_input(call, 3)
  return run_plain(place.network, 3, place.network.prepare(3, call.input, call.options))
end

function meta.__len(self) return count(getfenv(self)) end

function meta.__tostring(self) return tostring(getfenv(self).module) end

-- ---- making models -----------------------------------------------------------------------------------------------------

local model = { is_handle = is_handle }

---The nn.Module behind a handle.
---@param handle userdata
---@return luasight.nn.Module
function model.module_of(handle) return getfenv(handle).module end

local Args = {}

---Several positional inputs of a model: model:trace(ls.args(a, b), body).
---@param ... any
---@return table
function model.args(...) return setmetatable({ n = select("#", ...), ... }, Args) end

local function plain_input(level, input)
  if getmetatable(input) == Args then return unpack(input, 1, input.n) end
  if ffi.istype(ref_t, input) or inputs.is_options(input) then return input end
  binding.raise("argument", "the input of this model is a tensor, ls.args(...) or a table of named arguments, not a " ..
    type(input), level + 1)
end

---@class luasight.ModelFields
---@field prepare? fun(level: integer, input: any, options: table): ...
---@field is_input? fun(v: table): boolean  whether a table without a list part is an input
---@field options? table<string, boolean>
---@field public? table<string, fun(): any>  what scripts may read by name, made when asked for
---@field rename? table<string, string|string[]>  more names for modules, see rename.lua

local function no_lengths() end

---@param fields table
---@return userdata
local function new_network(fields)
  local network = { edits = {} }
  for k, v in pairs(fields) do network[k] = v end
  network.root = new_handle(network, network.module, "")
  function network.locate(handle, name, number) return find_point(getfenv(handle), network.tracer, name, number or 0) end
  function network.find(path) return find_module(network.root, path) end
  return network.root
end

---A new handle on the same weights, with the edits stored so far.
copy_of = function(network)
  local fields = {}
  for k, v in pairs(network) do fields[k] = v end
  fields.tracer, fields.edits = nil, { unpack(network.edits) }
  return new_network(fields)
end

---A model around a network.
---@param module table  an nn.Module
---@param fields? luasight.ModelFields
---@return userdata  # the handle of the root
function model.new(module, fields)
  local network = { module = module, prepare = plain_input, options = { trace = true }, invoke_options = {}, public = {},
    is_input = function() return true end, merge = batch.concatenate, lengths = no_lengths,
    example = function() return torch.zeros(1) end }
  for k, v in pairs(fields or {}) do network[k] = v end
  if network.rename then network.renamed = rename.places(module, network.rename, is_word) end
  return new_network(network)
end

---ls.Model(net): a model around a network of your own.
---@param module luasight.nn.Module
---@param options? { rename: table<string, string|string[]>? }  more names for modules
---@return luasight.Model
function model.Model(module, options)
  if type(module) ~= "table" or not module._children then
    binding.raise("argument", "ls.Model takes an nn.Module, not a " .. type(module), 3)
  end
  for name in pairs(options or {}) do
    if name ~= "rename" then
      binding.raise("name", ("ls.Model has no option %q%s"):format(tostring(name), near.text(tostring(name), { "rename" })), 3)
    end
  end
  return model.new(module, { rename = options and options.rename })
end

return model
