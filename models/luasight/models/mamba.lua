--- Mamba (Gu and Dao 2023, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces"): each channel has a state;
--- the token decides how fast the state decays and what is added to it.
---
--- Axes: B batch, T position, C width, I inner width, N size of a state, R rank of the time steps.
local ls = require "luasight"
local activations = require "luasight.models.parts.activations"
local cache = require "luasight.models.parts.cache"
local config_reader = require "luasight.models.parts.config"
local decoder = require "luasight.models.parts.decoder"
local helpers = require "luasight.family"
local names = require "luasight.models.parts.names"
local norms = require "luasight.models.parts.norms"

local torch, nn = ls.torch, ls.nn

-- A convolution in which each channel reads its own values at the present position and at the K - 1 positions before.
local Conv1d = nn.Module "Conv1d"

---@param channels integer
---@param K integer
---@param bias boolean
function Conv1d:init(channels, K, bias)
  self.channels, self.kernel = channels, K
  self.weight = helpers.empty({ channels, 1, K }, {})
  if bias then self.bias = helpers.empty({ channels }, {}) end
end

function Conv1d:extra_repr()
  return ("%d, %d, kernel_size=(%d,), stride=(1,), padding=(%d,), groups=%d%s"):format(self.channels, self.channels,
    self.kernel, self.kernel - 1, self.channels, self.bias and "" or ", bias=False")
end

---Computes the convolution over the positions; an output depends on no later input.
---@param x any           B T I
---@param options table?  seen: B K-1 I, the inputs before x where x continues a text; the call writes its last K-1 inputs
---  there
---@return any            # B T I
function Conv1d:forward(x, options)
  local before, named = self.kernel - 1, { groups = self.channels }
  if not options then
    named.padding = { before }
    return torch.conv1d(x:transpose(1, 2), self.weight, self.bias, named):narrow(2, 0, x:size(1)):transpose(1, 2)
  end
  local seen = options.seen
  local all = torch.cat({ options.continues and seen:to(x) or x:new_zeros { x:size(0), before, x:size(2) }, x }, 1)
  seen:copy_(all:narrow(1, x:size(1), before))
  return torch.conv1d(all:transpose(1, 2), self.weight, self.bias, named):transpose(1, 2)
end

local RMSNorm = nn.Module("RMSNorm", norms.RMSNorm)

function RMSNorm:extra_repr() return ("%d, eps=%s"):format(self.normalized_shape[1], helpers.float_text(self.eps)) end

local Mamba = decoder.family("Mamba", {
  Conv1d = Conv1d,
  RMSNorm = RMSNorm,
  Mixer = nn.Module "Mixer",
  Block = nn.Module "Block",
  Model = nn.Module "Model",
  ForCausalLM = decoder.ForCausalLM,
})
Mamba.Conv1d._class_name = "Conv1d"

-- ---- the mixer -------------------------------------------------------------------------------------------------------

---Computes h[t] = exp(decay[t]) h[t - 1] + input[t] for all t at once: with P the running sum of decay, h[t] is exp(P[t])
---times the running sum of input exp(-P). That sum is computed as a logarithm in float64, separately for the positive and
---the negative inputs.
---@param decay any  B I T N, at most 0
---@param input any  B I T N
---@return any       # B I T N
local function scan(decay, input)
  local P, b = decay:double():cumsum(2), input:double()
  local function half(x) return (P + (x:clamp_min(1e-300):log() - P):logcumsumexp(2)):exp() end
  return (half(b) - half(-b)):to(input)
end

local Mixer = Mamba.Mixer

---@param config table
function Mixer:init(config)
  local C, I, N, R = config.hidden_size, config.intermediate_size, config.state_size, config.time_step_rank
  self.inner, self.state, self.rank, self.state_shape = I, N, R, { I, N }
  self.conv1d = self.family.Conv1d(I, config.conv_kernel, config.use_conv_bias)
  self.act = activations.new(config.hidden_act)
  self.in_proj = nn.Linear(C, 2 * I, { bias = config.use_bias })
  self.x_proj = nn.Linear(I, R + 2 * N, { bias = false })
  self.dt_proj = nn.Linear(R, I)
  self.A_log = helpers.empty({ I, N }, {})
  self.D = helpers.empty({ I }, {})
  self.out_proj = nn.Linear(I, C, { bias = config.use_bias })
end

---Initializes the mixer of a new model: states decay at rates 1, 2, 3 ..., and time steps are spread between two bounds.
---@param config table
function Mixer:initialize(config)
  self.A_log:copy_(torch.arange(1, self.A_log:size(-1) + 1):log():expand_as(self.A_log))
  nn.init.ones_(self.D)
  local bias = self.dt_bias or self.dt_proj.bias
  local low, high = math.log(config.time_step_min), math.log(config.time_step_max)
  local dt = (bias:rand_like() * (high - low) + low):exp():clamp_min(config.time_step_floor)
  bias:copy_(dt + (-(-dt):expm1()):log()) -- the inverse of softplus: softplus(bias) = dt
end

---Returns how many numbers the cache keeps for each row: how many for the last inputs of the convolution, and how many for the
---state.
---@return integer seen, integer state
function Mixer:kept()
  local state = 1
  for _, size in ipairs(self.state_shape) do state = state * size end
  return self.conv1d.channels * (self.conv1d.kernel - 1), state
end

---Returns x with 0 at positions of padding.
---@param x any          B T W
---@param options table  the options of `convolve`
---@return any  # B T W
function Mixer:shown(x, options)
  local real = not options.continues and options.attention_mask -- a token that continues a text is no padding
  return real and x * real:ne(0):unsqueeze(-1):to(x) or x
end

---Applies the mixer's convolution and then its activation function; positions of padding are set to 0.
---@param x any          B T W, where W is the number of channels of the convolution
---@param options table  attention_mask: B T, 0 at padding; cache: the layer's part of the cache, with X numbers for each
---  row (R X, R rows); continues: x continues the text in the cache
---@return any, any?  # B T W; a view of the state in the cache, which has the shape state_shape for each row
function Mixer:convolve(x, options)
  local function shown(y) return self:shown(y, options) end
  local part, given, state = options.cache, nil, nil
  if part then
    local numbers, more = self:kept()
    local seen = part:narrow(1, 0, numbers):unflatten(1, { self.conv1d.kernel - 1, self.conv1d.channels })
    given = { seen = seen, continues = options.continues }
    state = part:narrow(1, numbers, more):unflatten(1, self.state_shape)
  end
  return shown(self.act(self.conv1d(shown(x), given))), state
end

---Runs the convolution and the state space of one layer.
---@param x any           B T C
---@param options table?  the options of `convolve`
---@return any  # B T C
function Mixer:forward(x, options)
  local I, N, R, o = self.inner, self.state, self.rank, options or {}
  local both = self.in_proj(x) -- B T 2I
  local u, state = self:convolve(both:narrow(-1, 0, I), o) -- B T I, R I N
  local selected = self.x_proj(u) -- B T R+2N
  local dt = self.dt_proj(selected:narrow(-1, 0, R)):float():softplus():transpose(1, 2):unsqueeze(-1) -- B I T 1
  local taken = selected:narrow(-1, R, N):float():unsqueeze(1) -- B 1 T N
  local read = selected:narrow(-1, R + N, N):float():unsqueeze(1) -- B 1 T N
  local wide = u:float():transpose(1, 2) -- B I T
  local decay = (self.A_log + wide:new_zeros {}):exp():neg():unsqueeze(1) * dt -- B I T N
  local h = scan(decay, wide:unsqueeze(-1) * dt * taken) -- B I T N
  if o.continues then h = h + decay:cumsum(2):exp() * state:unsqueeze(2) end
  if state then state:copy_(h:select(2, -1)) end
  local y = (h * read):sum(-1) + wide * self.D:unsqueeze(-1) -- B I T
  return self.out_proj(y:transpose(1, 2):to(x) * both:narrow(-1, I, I):silu())
end

-- ---- the model -------------------------------------------------------------------------------------------------------

local Block = Mamba.Block
Block.batch_axis = {}
Block.aliases = names.with(names.without("a state space has no attention and no MLP: its mixer is both",
  "resid_mid attn attn_out q k v scores pattern z mlp mlp_out mlp_pre mlp_post"),
  { resid_pre = "input[0][0]", resid_post = "output[0]" })

function Block:init(config)
  self.precise = config.residual_in_fp32
  self.norm = self.family.RMSNorm(config.hidden_size, config.layer_norm_epsilon)
  self.mixer = self.family.Mixer(config)
end

---Runs one layer: adds the output of the mixer for the normalized x to x.
---@param x any           B T C
---@param options table?  the options of the mixer
---@return any  # a tuple: B T C
function Block:forward(x, options)
  local y = self.mixer(self.norm(x:to { dtype = self.norm.weight.dtype }), options) -- B T C
  return helpers.tuple((self.precise and x:float() or x) + y)
end

local Model = Mamba.Model

function Model:init(config)
  self.embeddings = nn.Embedding(config.vocab_size, config.hidden_size)
  self.layers = decoder.layers(self.family.Block, config)
  self.norm_f = self.family.RMSNorm(config.hidden_size, config.layer_norm_epsilon)
end

Mamba.inputs = { "input_ids", "attention_mask", "inputs_embeds" }

---Runs the model without its head: token embeddings, all layers and the last norm.
---@param input_ids any     B T, or nil where inputs_embeds is given
---@param options table?    attention_mask: B S, 0 at padding; inputs_embeds: B T C; cache, continues: see parts/cache.lua
---@return any  # a struct: last_hidden_state, B T C
function Model:forward(input_ids, options)
  input_ids, options = decoder.read(input_ids, options, Mamba.inputs)
  local x = options.inputs_embeds or self.embeddings(input_ids) -- B T C
  local inner = { attention_mask = options.attention_mask }
  for i, layer in self.layers:each() do x = layer(x, cache.for_layer(options, i, inner))[0] end
  return helpers.struct { { "last_hidden_state", self.norm_f(x:to { dtype = self.norm_f.weight.dtype }) } } -- B T C
end

local ForCausalLM = Mamba.ForCausalLM
ForCausalLM.inner, ForCausalLM.embedding, ForCausalLM.arguments = "backbone", "embeddings", Mamba.inputs
ForCausalLM.final_norm, ForCausalLM.cache_axes, ForCausalLM.batch_axis = "norm_f", cache.of_states, cache.batch_axis.states

---Makes the cache for a generation; its size does not depend on the length of the text.
---@param rows integer
---@return any  # L R X: L layers, R rows, X numbers for each row
function ForCausalLM:new_cache(rows)
  local seen, state = self.backbone.layers[0].mixer:kept()
  return cache.states(self.config.num_hidden_layers, rows, seen + state, self.lm_head.weight)
end

-- ---- the architecture ------------------------------------------------------------------------------------------------

Mamba.fields = {
  vocab_size = { 50280, kind = "size" },
  hidden_size = { 768, kind = "size" },
  state_size = { 16, kind = "size" },
  num_hidden_layers = { 32, kind = "size" },
  layer_norm_epsilon = { 1e-5, kind = "number" },
  expand = { 2, kind = "number" },
  conv_kernel = { 4, kind = "size" },
  use_bias = { false, kind = "boolean" },
  use_conv_bias = { true, kind = "boolean" },
  hidden_act = { "silu", kind = "string" },
  initializer_range = { 0.1, kind = "number" },
  residual_in_fp32 = { true, kind = "boolean" },
  tie_word_embeddings = { true, kind = "boolean" },
  time_step_min = { 0.001, kind = "number" },
  time_step_max = { 0.1, kind = "number" },
  time_step_floor = { 1e-4, kind = "number" },
}

---@param given table
---@param fields table<string, luasight.ConfigField>
---@return table
function Mamba.read_config(given, fields)
  local config = config_reader.read(given, fields, {})
  config_reader.refuse(given, { "quantization_config" })
  local size = math.floor(config.expand * config.hidden_size)
  config.intermediate_size = not fields.num_heads and config.intermediate_size or size -- Mamba 2 does not read the setting
  local R = config.time_step_rank
  if R == nil or R == "auto" then R = math.ceil(config.hidden_size / 16) end
  if type(R) ~= "number" or R < 1 or R % 1 ~= 0 then
    helpers.raise("format", ("the setting time_step_rank is %s, but it must be \"auto\" or a whole number above 0"):format(
      tostring(R)))
  end
  config.time_step_rank = R
  return config
end

---Returns the present name of a parameter for its name in the first files of Mamba, in which the embedding has another name.
---@param name string
---@return string
function Mamba.rename(name) return (name:gsub("^(.-)embedding%.", "%1embeddings.")) end

local architecture = decoder.architecture(ForCausalLM, function(given) return Mamba.read_config(given, Mamba.fields) end,
  { rename = Mamba.rename })
architecture.classes = Mamba
return architecture
