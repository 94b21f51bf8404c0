--- Models: what every script needs of a whole model (a call, trace), and the functions that make models. The other methods
--- are in methods.lua.
local binding = require "luasight.ffi"
local handle = require "luasight.model.handle"
local inputs = require "luasight.trace.inputs"
local options_of = require "luasight.base.options"
local place_of = require "luasight.model.place"
local record = require "luasight.nn.record"
local torch = require "luasight.tensor.torch"
local trace = require "luasight.trace"
local traces = require "luasight.ffi.traces"
require "luasight.trace.gradients"
require "luasight.trace.tracer"

local getfenv = debug.getfenv
local new_handle, is_handle = place_of.new_handle, place_of.is_handle
local find_module = place_of.find_module

-- ---- methods of the whole model ----------------------------------------------------------------------------------------

local root_methods = handle.root_methods
local model = {}

---Runs, without a body, a model that has stored edits: the run is a trace, in which the edits act.
local function run_edited(network, ...)
  local tracer = trace.open(network, true)
  trace.invoke(tracer, traces.WHOLE, ...)
  return trace.run(tracer, function() return network.root.output end).value
end

local function run_plain(network, ...)
  if #network.edits > 0 then return run_edited(network, ...) end
  return record.run(network.module, ...)
end

---Raises an error where a model has no numbers to run on.
---@param network luasight.Network
function model.check_numbers(network)
  if not network.only_shapes then return end
  binding.raise("state", "this model was opened with device = \"meta\": it has shapes and no numbers to run on",
    { hint = "model:scan(input, body) runs on shapes" })
end

---Raises an error where a call has no input.
---@param call luasight.Call
function model.check_input(call)
  if call.input == nil then binding.raise("argument", "a trace needs an input") end
end

---Runs the model without a body: model(input).
function handle.run(network, ...)
  model.check_numbers(network)
  local call = inputs.sort(network, "trace", network.options, ...)
  if call.body then binding.raise("argument", "model(input) runs the model and takes no body; pass the body to model:trace") end
  model.check_input(call)
  return run_plain(network, network.prepare(call.input, call.options))
end

local function add_input(tracer, ...)
  local index = trace.invoke(tracer, traces.WHOLE, ...)
  tracer._recording.invokes[index] = { index = index, network = tracer._network, kind = traces.WHOLE,
    args = { n = select("#", ...), ... } }
  return tracer
end

---Opens a trace with one input.
---@param network luasight.Network
---@param input any
---@param options table
---@param apart boolean?  true: the trace does not join a session
---@return luasight.Tracer
function model.open(network, input, options, apart)
  return add_input(trace.open(network, apart), network.prepare(input, options))
end

---Runs the model beside a recorded body. Without an input, the body adds inputs itself: tracer:invoke(input, body).
---@param ... any  input?, options?, body
---@return any ...  # the values that the body returned, saved; with { trace = false } the output
---@overload fun(self: luasight.Model, input: any, body: luasight.Body): ...
---@overload fun(self: luasight.Model, input: any, options: table, body: luasight.Body): ...
---@overload fun(self: luasight.Model, body: luasight.Body): ...
function root_methods:trace(...)
  local network = getfenv(self).network
  model.check_numbers(network)
  local call = inputs.sort(network, "trace", network.options, ...)
  if call.options.trace == false then
    if call.body then binding.raise("argument", "model:trace with { trace = false } only runs the model and takes no body") end
    model.check_input(call)
    return run_plain(network, network.prepare(call.input, call.options))
  end
  if not call.body then
    model.check_input(call)
    binding.raise("argument", "a trace needs a body: model:trace(input, function() ... end); model(input) just runs")
  end
  if call.input ~= nil then return trace.run(model.open(network, call.input, call.options), call.body) end
  if next(call.options) then
    binding.raise("argument", "a trace needs an input if options are given",
      { hint = "pass the options of an invoke with its input: tracer:invoke(input, options, body)" })
  end
  local tracer = trace.open(network)
  tracer._takes_invokes = true
  return trace.run(tracer, call.body)
end

-- Methods that not every script needs are loaded when one of them is first called.
for _, name in ipairs { "generate", "stream", "scan", "tracer", "edit", "clear_edits", "save_edits", "load_edits",
  "save_graph" } do
  root_methods[name] = function(...) return require "luasight.model.methods"[name](...) end
end

-- ---- making models -----------------------------------------------------------------------------------------------------

model.is_handle = is_handle

---Returns the nn.Module behind a handle.
---@param of userdata
---@return luasight.nn.Module
function model.module_of(of) return getfenv(of).module end

local Args = {}

---Joins several positional inputs of a model into one: model:trace(ls.args(a, b), body).
---@param ... any
---@return table
function model.args(...) return setmetatable({ n = select("#", ...), ... }, Args) end

local function plain_input(input)
  if getmetatable(input) == Args then return unpack(input, 1, input.n) end
  if binding.is_handle(input) or inputs.is_options(input) then return input end
  binding.raise("argument", "the input of this model is a tensor, ls.args(...) or a table of named arguments, not a " ..
    type(input))
end

---@class luasight.ModelFields  what `model.new` can be told about a model
---@field prepare? fun(input: any, options: table): ...  returns the arguments of the module for an input
---@field is_input? fun(v: table): boolean  returns whether a table that has names only is an input, not options
---@field options? table<string, boolean>
---@field public? table<string, fun(place: luasight.Place): any>  fields that scripts may read, as functions that make the value
---@field rename? table<string, string|string[]>  additional names for modules, see rename.lua

local function no_tokens() end

local function concatenate(members) return require "luasight.trace.batch".concatenate(members) end

---@param fields table
---@return userdata
local function new_network(fields)
  local network = { edits = {} }
  for k, v in pairs(fields) do network[k] = v end
  network.root = new_handle(network, network.module, "")
  network.root_of = place_of.root_of
  function network.find(path) return find_module(network.root, path) end
  return network.root
end

---Returns a new handle of the model, with the same weights and with the edits that are stored so far.
---@param network luasight.Network
---@return userdata
function model.copy_of(network)
  local fields = {}
  for k, v in pairs(network) do fields[k] = v end
  fields.edits = { unpack(network.edits) }
  return new_network(fields)
end

---Makes a model, the object that scripts trace, around a network.
---@param module table  an nn.Module
---@param fields? luasight.ModelFields
---@return userdata  # the handle of the root
function model.new(module, fields)
  local network = { module = module, prepare = plain_input, options = { trace = true }, invoke_options = {}, public = {},
    added = {}, is_input = function() return true end, merge = concatenate, tokens = no_tokens,
    example = function() return torch.zeros(1) end }
  for k, v in pairs(fields or {}) do network[k] = v end
  if network.rename then
    network.renamed = require "luasight.model.rename".places(module, network.rename, handle.is_word)
  end
  return new_network(network)
end

---Makes a model, which can be traced, around a network of your own: ls.Model(net).
---@param module luasight.nn.Module
---@param options? { rename: table<string, string|string[]>? }  rename: additional names for modules
---@return luasight.Model
function model.Model(module, options)
  if type(module) ~= "table" or not module._children then
    binding.raise("argument", "ls.Model takes an nn.Module, not a " .. type(module))
  end
  return model.new(module, { rename = options_of.read("ls.Model", options, { rename = true }).rename })
end

return model
