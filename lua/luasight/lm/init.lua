--- Language models: a network with its tokenizer, whose input is text or token ids.
local binding = require "luasight.ffi"
local generation = require "luasight.lm.generation"
local model = require "luasight.model"
local options_of = require "luasight.base.options"
local prompt = require "luasight.lm.prompt"
local torch = require "luasight.tensor.torch"
local trace_at = require "luasight.model.place".trace_at
local traces = require "luasight.ffi.traces"

local language_model = {}

local LASTING = 4 -- after so many runs, a model's weights get the fastest layout

local kinds = { device = true, dtype = true, tokenizer = true, rename = true, revision = true }
local common_arguments = { "input_ids", "attention_mask", "position_ids", "inputs_embeds" }

local function is_module(v) return type(v) == "table" and type(v._children) == "function" end

-- ---- the tokenizer ---------------------------------------------------------------------------------------------------

local function is_callable(v)
  local meta = getmetatable(v)
  return type(v) == "function" or type(meta) == "table" and meta.__call ~= nil
end

---Returns a function that returns the model's tokenizer, which it loads at the first call, and whether there is a tokenizer.
---`given` is the option tokenizer, `folder` the model's folder.
local function tokenizer_source(given, folder)
  if given ~= nil and type(given) ~= "string" then
    if not is_callable(given) then
      binding.raise("argument", "the option tokenizer is a folder or a result of ls.Tokenizer, not a " .. type(given))
    end
    return function() return given end, true
  end
  local from, loaded = given or folder, nil
  if not from then
    return function()
      binding.raise("state", "this model has no tokenizer: pass token ids, or load the model with the option tokenizer")
    end, false
  end
  local function load()
    loaded = loaded or require "luasight.text.tokenizer".Tokenizer(from)
    return loaded
  end
  if given then load() end -- the tokenizer that the user named is loaded at once, so that a wrong name raises an error here
  return load, given ~= nil or require "luasight.text.tokenizer.files".exists(from)
end

---Returns the id of the token that fills short rows: that of the tokenizer's pad token, else its end-of-text token, else of the
---configuration's pad or end-of-text token. Ids outside of the vocabulary are skipped; where no id is left, returns 0.
local function pad_of(tokenizer, config, vocabulary)
  local candidates = {}
  for _, source in ipairs { type(tokenizer) == "function" and {} or tokenizer or {}, config } do
    for _, name in ipairs { "pad_token_id", "eos_token_id" } do
      local id = source[name]
      if type(id) == "table" then id = id[1] end
      candidates[#candidates + 1] = id
    end
  end
  for _, id in ipairs(candidates) do
    if id >= 0 and (not vocabulary or id < vocabulary) then return id end
  end
  return 0
end

-- ---- generation ------------------------------------------------------------------------------------------------------

local Generator = { __newindex = function()
  binding.raise("state", "the generated text can only be read in the body, and cannot be set", { point = "generator.output" })
end }

function Generator.__index(generator, name)
  if name ~= "output" then
    binding.raise("name", ("the generator has only the field output, not %q"):format(tostring(name)), { point = "generator" })
  end
  local tracer = trace_at(rawget(generator, "_place"))
  if not tracer or not tracer._invoke then
    binding.raise("state", "the generated text exists only inside the body of a generation", { point = "generator.output" })
  end
  return traces.text(tracer._recording.graph, tracer._invoke)
end

---Returns the fields that model.new needs for a model that can generate text: its options for a generation, and the functions
---that run one.
local function generating(net, tokenizer, has_tokenizer, reader)
  local all = { invoker_args = true, truncation = true, add_special_tokens = true }
  for name in pairs(generation.names) do all[name] = true end
  return {
    generate_options = all,
    generation = function(options)
      local own = {}
      for name, v in pairs(options) do
        if generation.names[name] then own[name] = v end
      end
      local source = setmetatable({ tokenizer = has_tokenizer and tokenizer or nil }, { __index = reader })
      return generation.settings(own, net, source)
    end,
    generation_steps = function(s) return (generation.lengths(s, 1)) end,
    start_generation = function(s, named) return generation.start(net, s, named) end,
    generate_alone = function(s, named) return generation.alone(net, s, named) end,
    text_of = generation.text,
    tokens_of = generation.tokens,
  }
end

-- ---- models ----------------------------------------------------------------------------------------------------------

local function device_of(net)
  local first = net:parameters()[1]
  return first and first.device or "cpu"
end

local function reader_of(net, tokenizer, has_tokenizer, folder)
  local config = type(net.config) == "table" and net.config or {}
  local vocabulary = config.vocab_size
  return {
    names = net.arguments or common_arguments,
    tokenizer = tokenizer,
    pad = function() return pad_of(has_tokenizer and tokenizer() or nil, config, vocabulary) end,
    context = net.context or config.n_positions or config.max_position_embeddings,
    reads_beyond = net.reads_beyond,
    vocabulary = vocabulary,
    folder = folder,
    device = device_of(net),
  }
end

---Returns a model's network. For a model that is loaded from files, returns also its folder, and a function that frees the
---memory of a parameter's numbers in the mapped file.
local function network_of(source, options)
  if type(source) == "string" then
    local folder = require("luasight.lm.hub").locate(source, { model = true, weights = options.device ~= "meta",
      tokenizer = options.tokenizer == nil }, options.revision)
    local net, forget = require "luasight.lm.loader".open(folder, options)
    return net, folder, forget
  end
  if not is_module(source) then
    binding.raise("argument", "ls.LanguageModel takes a folder, a name on the hub or an nn.Module, not a " .. type(source))
  end
  if options.revision ~= nil then
    binding.raise("argument", "the option revision is for models of the hub, not for an nn.Module")
  end
  if options.device ~= nil or options.dtype ~= nil then
    local loader = require "luasight.lm.loader"
    source:to { device = loader.device(options.device), dtype = loader.dtype(options.dtype) }
  end
  return source
end

---@class luasight.LanguageModel: luasight.Model  a model that reads and generates text
---@field tokenizer luasight.Tokenizer  the tokenizer, which is loaded at its first use
---@field config table                 the content of config.json, each field under the name that the model's family uses
---@field generator { output: luasight.Tensor }  in the body of a generation: the token ids of the whole text

---Makes a language model from a folder in Hugging Face's layout, from the hub, or around a network of your own.
---@param source string|table  a folder, "owner/name" on the hub (an existing folder of that name is preferred), or an
---  nn.Module
---@param options? { device: string?, dtype: string?, tokenizer: any, revision: string?, rename: table? }  device: "auto",
---  "cpu" (the default), "cuda", "meta" (shapes alone, for scans); dtype: "auto" (the default: that of the file) or the name
---  of a dtype; tokenizer: a folder, a name on the hub, or an object (by default that of the model's folder); revision: a
---  branch, a tag or a commit on the hub ("main" by default); rename: additional names for modules, see model/rename.lua
---@return luasight.LanguageModel
function language_model.LanguageModel(source, options)
  options = options_of.read("ls.LanguageModel", options, kinds)
  local net, folder, forget = network_of(source, options)
  local tokenizer, has_tokenizer = tokenizer_source(options.tokenizer, folder)
  local reader = reader_of(net, tokenizer, has_tokenizer, folder)

  local is_argument = {}
  for _, name in ipairs(reader.names) do is_argument[name] = true end
  local runs = 0
  local generates = generating(net, tokenizer, has_tokenizer, reader)
  local fields = {
    prepare = function(input, call_options)
      runs = runs + 1
      if forget and runs == LASTING then
        require "luasight.lm.layout".settle(net, forget)
        forget = nil
      end
      return prompt.arguments(input, call_options, reader)
    end,
    arguments = reader.names,
    is_input = function(v)
      for name in pairs(v) do
        if is_argument[name] then return true end
      end
      return false
    end,
    options = prompt.options,
    invoke_options = prompt.invoke_options,
    merge = function(members) return prompt.merge(members, reader) end,
    tokens = prompt.tokens,
    example = function(rows, length)
      return { input_ids = torch.zeros(rows or 1, length or 1, { dtype = "int64", device = reader.device }) }
    end,
    makes_examples = true,
    only_shapes = reader.device == "meta",
    rename = options.rename,
    public = { tokenizer = tokenizer, config = function() return net.config end,
      generator = function(place) return setmetatable({ _place = place }, Generator) end },
  }
  for name, v in pairs(generates) do fields[name] = fields[name] or v end
  return model.new(net, fields)
end

return language_model
