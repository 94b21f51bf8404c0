--- Models: the methods of a whole model (trace, generate, scan, edit, ...), and the functions that make models.
local batch = require "luasight.trace.batch"
local binding = require "luasight.ffi"
local graph_files = require "luasight.ffi.graph_files"
local handle = require "luasight.model.handle"
local inputs = require "luasight.trace.inputs"
local options_of = require "luasight.base.options"
local place_of = require "luasight.model.place"
local record = require "luasight.nn.record"
local rename = require "luasight.model.rename"
local scan = require "luasight.trace.scan"
local stepwise = require "luasight.trace.stepwise"
local torch = require "luasight.tensor.torch"
local trace = require "luasight.trace"
local traces = require "luasight.ffi.traces"
require "luasight.trace.gradients"
require "luasight.trace.token_index"
require "luasight.trace.tracer"

local getfenv = debug.getfenv
local new_handle, is_handle = place_of.new_handle, place_of.is_handle
local find_module = place_of.find_module

-- ---- methods of the whole model ----------------------------------------------------------------------------------------

local root_methods = handle.root_methods
local copy_of -- this function, which makes another handle of a model, is defined below

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

local function check_numbers(network)
  if not network.only_shapes then return end
  binding.raise("state", "this model was opened with device = \"meta\": it has shapes and no numbers to run on",
    { hint = "model:scan(input, body) runs on shapes" })
end

local function check_input(call)
  if call.input == nil then binding.raise("argument", "a trace needs an input") end
end

---Runs the model without a body: model(input).
function handle.run(network, ...)
  check_numbers(network)
  local call = inputs.sort(network, "trace", network.options, ...)
  if call.body then binding.raise("argument", "model(input) runs the model and takes no body; pass the body to model:trace") end
  check_input(call)
  return run_plain(network, network.prepare(call.input, call.options))
end

local function add_input(tracer, ...)
  local index = trace.invoke(tracer, traces.WHOLE, ...)
  tracer._recording.invokes[index] = { index = index, network = tracer._network, kind = traces.WHOLE,
    args = { n = select("#", ...), ... } }
  return tracer
end

local function open(network, input, options, apart)
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
  check_numbers(network)
  local call = inputs.sort(network, "trace", network.options, ...)
  if call.options.trace == false then
    if call.body then binding.raise("argument", "model:trace with { trace = false } only runs the model and takes no body") end
    check_input(call)
    return run_plain(network, network.prepare(call.input, call.options))
  end
  if not call.body then
    check_input(call)
    binding.raise("argument", "a trace needs a body: model:trace(input, function() ... end); model(input) just runs")
  end
  if call.input ~= nil then return trace.run(open(network, call.input, call.options), call.body) end
  if next(call.options) then
    binding.raise("argument", "a trace needs an input if options are given",
      { hint = "pass the options of an invoke with its input: tracer:invoke(input, options, body)" })
  end
  local tracer = trace.open(network)
  tracer._takes_invokes = true
  return trace.run(tracer, call.body)
end

-- Returns those options of a generation that say how a prompt becomes tokens.
local function prompt_options(options)
  return { truncation = options.truncation, add_special_tokens = options.add_special_tokens,
    invoker_args = options.invoker_args }
end

---Sorts the arguments of model:generate or model:stream; returns them, and the settings of the generation made from them.
local function generation_call(network, what, ...)
  check_numbers(network)
  if not network.generation then
    binding.raise("state", "this model does not generate text", { hint = "ls.LanguageModel makes one that does" })
  end
  local call = inputs.sort(network, what, network.generate_options, ...)
  return call, network.generation(call.options)
end

---Opens the trace for a generation with the given settings.
local function open_generation(network, call, settings, apart)
  local tracer = trace.open(network, apart)
  tracer._settings, tracer._steps, tracer._takes_invokes = settings, network.generation_steps(settings), call.input == nil
  traces.generate(tracer._recording.graph, tracer._steps)
  if call.input ~= nil then
    tracer:_add_input(traces.WHOLE, { input = call.input, options = prompt_options(call.options) })
  end
  return tracer
end

---Begins a generation without a body. Where the model has stored edits, the generation needs a trace, in which they act;
---otherwise the model runs alone.
---@return luasight.GenerationSteps
local function steps_of(network, call, settings)
  check_input(call)
  if #network.edits == 0 then
    return network.generate_alone(settings, network.prepare(call.input, prompt_options(call.options)))
  end
  return stepwise.open(open_generation(network, call, settings, true), function() return network.root.generator.output end)
end

---Generates text beside a recorded body; without a body it only generates.
---@param ... any  input?, options?, body?
---@return any ...  # the values that the body returned, saved; without a body the ids [B, T + new]
---@overload fun(self: luasight.Model, input: any, options?: luasight.GenerationOptions): luasight.Tensor
---@overload fun(self: luasight.Model, input: any, options: luasight.GenerationOptions, body: luasight.Body): ...
---@overload fun(self: luasight.Model, input: any, body: luasight.Body): ...
---@overload fun(self: luasight.Model, options: luasight.GenerationOptions, body: luasight.Body): ...
function root_methods:generate(...)
  local network = getfenv(self).network
  local call, settings = generation_call(network, "generate", ...)
  if call.body then return trace.run(open_generation(network, call, settings), call.body) end
  return network.text_of(steps_of(network, call, settings))
end

---Generates one text token by token: for token, text in model:stream(prompt, { max_new_tokens = 50 }) do.
---@param ... any  input, options?
---@return fun(): integer?, string?  # the token's id, and the text that is complete so far (a character may need several
---  tokens)
function root_methods:stream(...)
  local network = getfenv(self).network
  local call, settings = generation_call(network, "stream", ...)
  if call.body then binding.raise("argument", "model:stream takes no body: for token, text in model:stream(prompt) do") end
  return network.tokens_of(steps_of(network, call, settings))
end

---Runs a body over shapes and dtypes alone: values have no numbers, no weight is read and nothing is computed.
---@param ... any  input, options?, body
---@return any ...  # the values that the body returned
---@overload fun(self: luasight.Model, input: any, body: luasight.Body): ...
function root_methods:scan(...)
  local network = getfenv(self).network
  local call = inputs.sort(network, "scan", network.options, ...)
  check_input(call)
  if not call.body then
    binding.raise("argument", "a scan needs a body: model:scan(input, function() ... end)")
  end
  local tracer = scan.open(network, network.prepare(call.input, call.options))
  return trace.run(tracer, call.body)
end

---Opens a trace that stays open between lines of the shell; t:run() runs and closes it.
---@param ... any  input, options?
---@return luasight.Tracer
function root_methods:tracer(...)
  local network = getfenv(self).network
  check_numbers(network)
  local call = inputs.sort(network, "tracer", network.options, ...)
  check_input(call)
  if call.body then binding.raise("argument", "model:tracer opens a trace without a body; model:trace takes one") end
  return trace.leave_open(open(network, call.input, call.options, true))
end

---Stores edits that act at every call and in every later trace, in the order in which they were made. They become part of the
---new handle that is returned, which shares the weights, or of this handle itself with { inplace = true }.
---@param ... any  options?, body
---@return luasight.Model
---@overload fun(self: luasight.Model, body: fun(tracer: luasight.Tracer)): luasight.Model
---@overload fun(self: luasight.Model, options: { inplace: boolean? }, body: fun(tracer: luasight.Tracer)): luasight.Model
function root_methods:edit(...)
  local network = getfenv(self).network
  local options, body = ...
  if type(options) == "function" then options, body = {}, options end
  if type(options) ~= "table" or type(body) ~= "function" then
    binding.raise("argument", "edit takes a body: model:edit(function() ... end)")
  end
  options_of.read("edit", options, { inplace = "boolean" })
  local target = options.inplace and network or getfenv(copy_of(network)).network
  table.insert(target.edits, require "luasight.trace.edits".record(network, body))
  return target.root
end

---Removes all stored edits of this handle of the model.
function root_methods:clear_edits() getfenv(self).network.edits = {} end

---Writes the stored edits to a file as JSON.
---@param path string
function root_methods:save_edits(path) require "luasight.trace.edits".save(getfenv(self).network, path) end

---Adds the stored edits in a JSON file to this handle of the model.
---@param path string
function root_methods:load_edits(path)
  local network = getfenv(self).network
  for _, edit in ipairs(require "luasight.trace.edits".load(network, path)) do table.insert(network.edits, edit) end
end

---Writes the recorded function of a module to a file as JSON; the JSON has the names of the weights, not their numbers.
local function write_graph(path, module, ...)
  local f = record.function_for(module, ...)
  local names = {}
  for name in module:named_state() do names[#names + 1] = name end
  graph_files.write(path, graph_files.of_function(f, names))
end

---Writes the function of the model, as it is recorded for this input, to a file as JSON: its operators, modules, points and
---constants, with the names of the weights in place of their numbers. C programs run and trace it without Lua
---(`ls_function_read` in abi.h).
---@param path string
---@param ... any  input, options?
---@overload fun(self: luasight.Model, path: string, input: any)
---@overload fun(self: luasight.Model, path: string, input: any, options: table)
function root_methods:save_graph(path, ...)
  local network = getfenv(self).network
  if type(path) ~= "string" then
    binding.raise("argument", "save_graph takes a path and an input: model:save_graph(path, input)")
  end
  check_numbers(network)
  local call = inputs.sort(network, "save_graph", network.options, ...)
  check_input(call)
  if call.body then binding.raise("argument", "model:save_graph takes no body") end
  write_graph(path, network.module, network.prepare(call.input, call.options))
end

-- ---- making models -----------------------------------------------------------------------------------------------------

local model = { is_handle = is_handle }

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
---@field public? table<string, fun(): any>  fields that scripts may read, as functions that make the value
---@field rename? table<string, string|string[]>  additional names for modules, see rename.lua

local function no_tokens() end

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
copy_of = function(network)
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
    added = {}, is_input = function() return true end, merge = batch.concatenate, tokens = no_tokens,
    example = function() return torch.zeros(1) end }
  for k, v in pairs(fields or {}) do network[k] = v end
  if network.rename then network.renamed = rename.places(module, network.rename, handle.is_word) end
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
