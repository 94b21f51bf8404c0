--- Methods of a whole model that not every script needs: generate, stream, scan, tracer, edit and what goes with stored edits,
--- save_graph.
local binding = require "luasight.ffi"
local graph_files = require "luasight.ffi.graph_files"
local inputs = require "luasight.trace.inputs"
local model = require "luasight.model"
local options_of = require "luasight.base.options"
local record = require "luasight.nn.record"
local scan = require "luasight.trace.scan"
local trace = require "luasight.trace"
local traces = require "luasight.ffi.traces"

local getfenv = debug.getfenv

local root_methods = {}

-- ---- generations, scans, open traces -----------------------------------------------------------------------------------

-- Returns those options of a generation that say how a prompt becomes tokens.
local function prompt_options(options)
  return { truncation = options.truncation, add_special_tokens = options.add_special_tokens,
    invoker_args = options.invoker_args }
end

---Sorts the arguments of model:generate or model:stream; returns them, and the settings of the generation made from them.
local function generation_call(network, what, ...)
  model.check_numbers(network)
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
  model.check_input(call)
  if #network.edits == 0 then
    return network.generate_alone(settings, network.prepare(call.input, prompt_options(call.options)))
  end
  return require "luasight.trace.stepwise".open(open_generation(network, call, settings, true), function()
    return network.root.generator.output
  end)
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
  model.check_input(call)
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
  model.check_numbers(network)
  local call = inputs.sort(network, "tracer", network.options, ...)
  model.check_input(call)
  if call.body then binding.raise("argument", "model:tracer opens a trace without a body; model:trace takes one") end
  return trace.leave_open(model.open(network, call.input, call.options, true))
end

-- ---- stored edits ----------------------------------------------------------------------------------------------------

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
  local target = options.inplace and network or getfenv(model.copy_of(network)).network
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

-- ---- the recorded function ---------------------------------------------------------------------------------------------

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
  model.check_numbers(network)
  local call = inputs.sort(network, "save_graph", network.options, ...)
  model.check_input(call)
  if call.body then binding.raise("argument", "model:save_graph takes no body") end
  write_graph(path, network.module, network.prepare(call.input, call.options))
end

return root_methods
