--- The parts that all decoder models share: the fields of configurations, families of classes, the model with a head that
--- returns logits, and the translation of tensors' names in files to module paths.
local ls = require "luasight"
local arguments = require "luasight.models.parts.arguments"
local attention = require "luasight.models.parts.attention"
local cache = require "luasight.models.parts.cache"
local config_reader = require "luasight.models.parts.config"
local helpers = require "luasight.family"
local names = require "luasight.models.parts.names"
local rotary = require "luasight.models.parts.rotary"

local torch, nn = ls.torch, ls.nn

local decoder = {}

local function refuse(...) helpers.raise("format", (...):format(select(2, ...))) end

-- ---- configuration ---------------------------------------------------------------------------------------------------

---The fields that the configurations of all families have, with the defaults of Llama.
---@type table<string, luasight.ConfigField>
decoder.fields = {
  vocab_size = { 32000, kind = "size" },
  hidden_size = { 4096, kind = "size" },
  num_hidden_layers = { 32, kind = "size" },
  num_attention_heads = { 32, kind = "size" },
  max_position_embeddings = { 2048, kind = "size" },
  initializer_range = { 0.02, kind = "number" },
  tie_word_embeddings = { false, kind = "boolean" },
  attention_dropout = { 0, kind = "share" },
}

---Returns a copy of the table `fields`, which describes a configuration, with the changes for another family. In `changes`, a
---table describes an additional field; any other value is a new default of a field.
---@param fields table<string, luasight.ConfigField>
---@param changes table<string, any>
---@return table<string, luasight.ConfigField>
function decoder.with(fields, changes)
  local result = {}
  for name, field in pairs(fields) do result[name] = field end
  for name, v in pairs(changes) do
    if type(v) == "table" then result[name] = v else result[name] = { v, kind = fields[name].kind } end
  end
  return result
end

local not_implemented = { "add_cross_attention", "is_encoder_decoder", "pruned_heads", "quantization_config" }

---Returns the configuration with every field under the architecture's name; raises an error where the numbers of heads do not
---divide the width or each other.
---@param given table
---@param fields table<string, luasight.ConfigField>
---@param aliases table<string, string>?
---@return table
function decoder.read_config(given, fields, aliases)
  local config = config_reader.read(given, fields, aliases or {})
  config_reader.refuse(given, not_implemented)
  config_reader.direction(config)
  local C, H = config.hidden_size, config.num_attention_heads
  if not fields.head_dim or not config.head_dim then -- a family without the setting does not read it
    if C % H ~= 0 then refuse("hidden_size is %d, which %d heads (num_attention_heads) cannot share evenly", C, H) end
    config.head_dim = C / H
  end
  local shared = config.num_key_value_heads
  if shared and H % shared ~= 0 then
    refuse("num_attention_heads is %d, which is no multiple of num_key_value_heads, %d", H, shared)
  end
  return config
end

local kinds = { full_attention = true, sliding_attention = true }

---Returns the sliding window of each layer, as a list from 1: how many positions a position reads, or false for all earlier
---ones. Sets config.layer_types.
---@param config table
---@param slides fun(layer: integer): boolean  returns whether a layer (from 0) has a window, where layer_types is absent
---@return (integer|false)[]
function decoder.windows(config, slides)
  local types, windows = config.layer_types, {}
  if types == nil then
    types = {}
    for i = 1, config.num_hidden_layers do types[i] = slides(i - 1) and "sliding_attention" or "full_attention" end
  end
  if type(types) ~= "table" or #types ~= config.num_hidden_layers then
    refuse("layer_types must be a list of num_hidden_layers (%d) names", config.num_hidden_layers)
  end
  for i, kind in ipairs(types) do
    if not kinds[kind] then refuse("layer_types has %q, but only full_attention and sliding_attention are implemented",
      tostring(kind)) end
    windows[i] = kind == "sliding_attention" and config.sliding_window or false
  end
  config.layer_types = types
  return windows
end

-- ---- families of classes ---------------------------------------------------------------------------------------------

---Derives the classes of a family under another prefix: each class inherits from the parent's class of the same name, and
---its objects build their parts from the derived classes (`self.family.MLP`). Entries that are not classes are copied.
---@param prefix string               the prefix of the classes' names, such as "Qwen2"
---@param parent table<string, any>   the classes by name: MLP = the class LlamaMLP, ...
---@return table<string, any>
function decoder.family(prefix, parent)
  local family = {}
  for name, member in pairs(parent) do
    if type(member) == "table" and rawget(member, "_meta") then
      member = nn.Module(prefix .. name, member)
      member.family = family
    end
    family[name] = member
  end
  return family
end

---Applies dropout to x in training, for a dropout that is no module in Hugging Face's model.
---@param module table
---@param x any
---@param p number
---@return any
function decoder.dropout(module, x, p)
  if not module.training or p == 0 then return x end
  return torch.dropout(x, p, true)
end

---Makes the layers of a model: `Layer(config, i)` for i from 0.
---@param Layer table
---@param config table
---@return table  # an nn.ModuleList
function decoder.layers(Layer, config)
  local layers = {}
  for i = 0, config.num_hidden_layers - 1 do
    layers[i + 1] = Layer(config, i)
    layers[i + 1].token_axis = attention.Layer.token_axis
    layers[i + 1].batch_axis = Layer.batch_axis or attention.Layer.batch_axis
  end
  return nn.ModuleList(layers)
end

---Makes parameters share the tensors of other parameters, where the configuration says so. The field `tied` of the model's
---class maps each such parameter to the other one.
---@param net table
function decoder.tie(net)
  if not net.config.tie_word_embeddings then return end
  for path, base in pairs(net.tied) do
    local above, name = path:match "^(.*)%.([^.]+)$"
    local there, what = base:match "^(.*)%.([^.]+)$"
    net:get_submodule(above)[name] = net:get_submodule(there)[what]
  end
end

-- ---- the language model ----------------------------------------------------------------------------------------------

---The reason, for error messages, why an encoder cannot generate text.
decoder.guesses_masked = "it guesses the tokens that are masked"

---The names of the arguments of a decoder's forward, without those for a cache.
decoder.inputs = { "input_ids", "attention_mask", "position_ids", "inputs_embeds" }

---Reads and checks the arguments of a decoder's forward, those for a cache included.
---@param input_ids any
---@param options table?
---@param known string[]?  the names of the arguments without those for a cache; by default decoder.inputs
---@return any input_ids, table options
function decoder.read(input_ids, options, known)
  input_ids, options = arguments.read(cache.with(known or decoder.inputs), input_ids, options)
  cache.check(options)
  return input_ids, options
end

---A decoder with a head that returns logits. A family defines `Model`, and may define `head_bias`, `inner` (the name of the
---model without head), the names of its `embedding`, `blocks` and `final_norm`, and `adjust(logits)`, which changes logits.
---@class luasight.models.ForCausalLM: luasight.nn.Module
local ForCausalLM = nn.Module "ForCausalLM"
decoder.ForCausalLM = ForCausalLM
ForCausalLM.arguments = decoder.inputs
ForCausalLM.inner, ForCausalLM.embedding, ForCausalLM.blocks, ForCausalLM.final_norm = "model", "embed_tokens", "layers", "norm"
ForCausalLM.cache_axes, ForCausalLM.batch_axis = cache.of_attention, cache.batch_axis.whole
ForCausalLM.reads_beyond = true -- the model may read beyond max_position_embeddings, since it has no table of positions

---@param config table
function ForCausalLM:init(config)
  self.config = config
  self[self.inner] = self.family.Model(config)
  self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, { bias = self.head_bias or false })
  self:tie_weights()
end

---Makes the head and the token embedding share one weight, where the configuration says so.
function ForCausalLM:tie_weights() decoder.tie(self) end

---Converts the logits of the head to those that the model returns: the same logits, unless a family replaces this method.
---@param logits any  B T V
---@return any
function ForCausalLM:adjust(logits) return logits end

---Returns the decoder without its head.
---@return table
function ForCausalLM:body() return self[self.inner] end

---Takes the arguments of the decoder, and logits_to_keep, the number of positions, from the end, whose logits are wanted.
---Returns { logits = B T V }.
---@param input_ids any
---@param options table?
---@return any
function ForCausalLM:forward(input_ids, options)
  input_ids, options = decoder.read(input_ids, options, self.arguments)
  local keep = options.logits_to_keep
  options.logits_to_keep = nil
  local hidden = self:body()(input_ids, next(options) and options or nil).last_hidden_state -- B T C
  return helpers.struct { { "logits", self:adjust(self.lm_head(cache.last(hidden, keep))) } } -- B T V
end

---Makes a key/value cache for generation; a forward gets the view of the cache's first S positions, `cache:narrow(4, 0, S)`.
---@param rows integer
---@param length integer  the length of the longest text
---@return any?  # L 2 R H N D
function ForCausalLM:new_cache(rows, length)
  return cache.of_layers(self:get_submodule(self.inner .. "." .. self.blocks), rows, length, self.lm_head.weight)
end

---Returns whether a text of this length needs other rotary angles than the keys in the cache have, so that the whole text has
---to be read again.
---@param length integer
---@return boolean
function ForCausalLM:rereads(length) return rotary.changes(self.config.rope_parameters, length) end

---Initializes a model for training: small random numbers in all parameters but those of norms. A module with other kinds of
---parameters sets them in its method `initialize`.
---@param net table
function decoder.initialize(net)
  local std = net.config.initializer_range
  for _, module in net:named_modules() do
    local kind = module._class_name
    if not kind:find "Norm$" then
      for name, t in module:_tensors() do
        if name == "bias" then nn.init.zeros_(t)
        elseif module._tensor_kinds[name] == "parameter" then nn.init.normal_(t, { mean = 0, std = std }) end
      end
    end
  end
  for _, module in net:named_modules() do
    if module.initialize then module:initialize(net.config) end
  end
end

-- ---- the inner model by itself --------------------------------------------------------------------------------------

---Makes the class of a model without a head. Its forward takes the arguments of the model with a head and returns a struct,
---{ last_hidden_state = B T C }.
---@param Model table  the class of the inner model
---@param Whole table  the class of the model with a head
---@return table
function decoder.alone(Model, Whole)
  local Alone = nn.Module(Model._class_name, Model)
  Alone.arguments, Alone.reads_beyond, Alone.tied = Whole.arguments, Whole.reads_beyond, {}
  Alone.cannot_generate = Whole.cannot_generate or "its folder has the model without a head, which would give logits"
  Alone.aliases = {}
  for name, alias in pairs(Whole.aliases) do
    local inside = type(alias) == "string" and alias:sub(1, #Whole.inner + 1) == Whole.inner .. "."
    Alone.aliases[name] = inside and alias:sub(#Whole.inner + 2) or type(alias) == "table" and alias or
      names.none "its folder has the model without a head"
  end

  function Alone:init(config)
    Model.init(self, config)
    self.config = config
  end

  return Alone
end

-- ---- architectures ---------------------------------------------------------------------------------------------------

---@class luasight.FileNames  describes the names of tensors in the files of a family
---@field drop string[]?   patterns of the names of tensors that the model does not need
---@field rename (fun(name: string): string, integer?, integer?)?  returns the present name for a name in an older file, and
---  for a tensor with a part of an expert also the numbers of the expert and of the part
---@field heads string[]?  the names of the modules beside the model without a head; by default "lm_head"
---@field alone table?     the class of the model without a head; by default it is made from the family's class `Model`
---@field keeps string[]?  patterns of names that the model without a head needs, although they are in `drop`

---Returns the standard names of a model with a head, each with its path.
---@param Whole table  the class of the model
---@return table<string, luasight.Alias>
local function names_of(Whole)
  local inside = Whole.inner .. "."
  return { embed = inside .. Whole.embedding, layers = inside .. Whole.blocks, norm = inside .. Whole.final_norm,
    head = "lm_head" }
end

---Makes an architecture in the form that models/init.lua describes.
---@param Whole table                    the class of the model with a head: its field `inner` names the module of the model
---  without a head, `embedding` the token embedding in it; `tied` is needed where more than the head's weight is shared
---@param read fun(given: table): table  reads the configuration
---@param files? luasight.FileNames
---@return luasight.Architecture
function decoder.architecture(Whole, read, files)
  local inner, drop, rename = Whole.inner, files and files.drop or {}, files and files.rename
  local heads = {}
  for _, head in ipairs(files and files.heads or { "lm_head" }) do heads[head] = true end
  Whole.tied = rawget(Whole, "tied") or { ["lm_head.weight"] = ("%s.%s.weight"):format(inner, Whole.embedding) }
  Whole.aliases = rawget(Whole, "aliases") or names_of(Whole)
  local function maker(Class)
    return function(config)
      local net = Class(read(config))
      if net.new_cache then net:body().batch_axis = net.batch_axis end -- it takes the same cache
      if net:parameters()[1].device ~= "meta" then torch.no_grad(decoder.initialize, net) end
      return net
    end
  end

  ---Returns the present name of a tensor for its name in a file; nil where the model does not need the tensor.
  local function known(name, keeps)
    local kept = false
    for _, pattern in ipairs(keeps or {}) do kept = kept or name:find(pattern) end
    for _, pattern in ipairs(drop) do
      if not kept and name:find(pattern) then return nil end
    end
    if rename then return rename(name) end
    return name
  end

  local architecture = { tied = Whole.tied, new = maker(Whole) }

  -- In files of a decoder without a head, the names lack the prefix of the inner model, such as "model."; it is added.
  function architecture.place(given)
    local name, expert, part = known(given)
    if not name then return nil end
    if not heads[name:match "^[^.]+"] and name:sub(1, #inner + 1) ~= inner .. "." then name = inner .. "." .. name end
    return name, expert, part
  end

  local Alone = files and files.alone or Whole.family and decoder.alone(Whole.family.Model, Whole)
  if Alone then
    architecture.alone = { class = Alone._class_name, tied = {}, new = maker(Alone) }

    -- In files of the model with a head, the names have the prefix of the inner model, which is removed; the tensors of the
    -- head are left out.
    function architecture.alone.place(given)
      local name, expert, part = known(given, files and files.keeps)
      if not name or heads[name:match "^[^.]+"] then return nil end
      return name:sub(1, #inner + 1) == inner .. "." and name:sub(#inner + 2) or name, expert, part
    end
  end
  return architecture
end

return decoder
