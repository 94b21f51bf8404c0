--- Mamba-2 (Dao and Gu 2024, "Transformers are SSMs"): the channels of a head share one decay, so the states need not be
--- computed for each position. Position s contributes to t the product of what s writes and what t reads, times the decay
--- from s to t.
---
--- Axes: B batch, T position, C width, I inner width (H P), H heads, P head width, G groups, N size of a state.
local ls = require "luasight"
local activations = require "luasight.models.parts.activations"
local decoder = require "luasight.models.parts.decoder"
local helpers = require "luasight.family"
local mamba = require "luasight.models.mamba".classes

local torch, nn = ls.torch, ls.nn

local Mamba2 = decoder.family("Mamba2", mamba)
Mamba2.Conv1d._class_name = "Conv1d"

function Mamba2.RMSNorm:extra_repr() return "" end

-- ---- a norm in groups, with a gate -----------------------------------------------------------------------------------

local RMSNormGated = nn.Module "MambaRMSNormGated"

---Makes a norm for `width` channels, which are normalized in groups.
---@param width integer
---@param group integer  the number of channels that are normalized together
---@param eps number
function RMSNormGated:init(width, group, eps)
  self.groups, self.group, self.eps = width / group, group, eps
  self.weight = helpers.empty({ width }, {})
  if not helpers.is_skipping() then nn.init.ones_(self.weight) end
end

function RMSNormGated:extra_repr() return "" end

---Multiplies x by silu(gate) and normalizes each group of channels of the product.
---@param x any     B T I
---@param gate any  B T I
---@return any      # B T I
function RMSNormGated:forward(x, gate)
  local y = (x:float() * gate:float():silu()):unflatten(-1, { self.groups, self.group }) -- B T G I/G
  y = torch.rms_norm(y, { self.group }, nil, self.eps):flatten(-2)
  return y:to(x) * self.weight
end

-- ---- the mixer -------------------------------------------------------------------------------------------------------

local Mixer = Mamba2.Mixer

---@param config table
function Mixer:init(config)
  local C, I, H, G, N = config.hidden_size, config.intermediate_size, config.num_heads, config.n_groups, config.state_size
  local wide = I + 2 * G * N -- the number of channels of the convolution
  self.inner, self.heads, self.head_dim, self.groups, self.state, self.wide = I, H, config.head_dim, G, N, wide
  self.state_shape = { H, config.head_dim, N }
  self.limit = config.time_step_limit
  self.act = activations.new(config.hidden_act)
  self.conv1d = self.family.Conv1d(wide, config.conv_kernel, config.use_conv_bias)
  self.in_proj = nn.Linear(C, I + wide + H, { bias = config.use_bias })
  self.dt_bias = helpers.empty({ H }, {})
  self.A_log = helpers.empty({ H }, {})
  self.norm = RMSNormGated(I, I / G, config.layer_norm_epsilon)
  self.D = helpers.empty({ H }, {})
  self.out_proj = nn.Linear(I, C, { bias = config.use_bias })
end

---Returns for each position what it reads from the state, into which it and the earlier positions have written their values.
---@param u any      B T I, the values that are written
---@param write any  B T (G N), the direction in which each position writes
---@param read any   B T (G N), the direction in which each position reads
---@param dt any     B T H, the time steps
---@param state any?  R H P N (R rows), the state after earlier positions where the text continues; the new state is written
---  to it
---@param continues boolean?
---@return any       # B T I
function Mixer:mix(u, write, read, dt, state, continues)
  local H = self.heads
  local function heads(x, count, size) return x:float():unflatten(-1, { count, size }):transpose(1, 2) end
  local function grouped(x) -- B H T N
    return heads(x, self.groups, self.state):repeat_interleave(H / self.groups, 1)
  end
  local decay = (self.A_log + dt:new_zeros {}):exp():neg() * dt -- B T H
  local P = decay:double():cumsum(1):transpose(1, 2) -- B H T
  local between = P:unsqueeze(-1) - P:unsqueeze(-2) -- B H T T
  local later = between:new_ones({ dt:size(1), dt:size(1) }, { dtype = "bool" }):triu(1) -- T T
  local shares = between:masked_fill(later, -math.huge):exp():float() -- B H T T
  local x = heads(u, H, self.head_dim) -- B H T P
  local from, to = grouped(read), grouped(write) -- B H T N
  local written = x * dt:transpose(1, 2):unsqueeze(-1) -- B H T P
  local y = (from:matmul(to:transpose(-2, -1)) * shares):matmul(written) -- B H T P
  if state then
    local left = (P:narrow(-1, -1, 1) - P):exp():float():unsqueeze(-1) -- B H T 1, the decay from a position to the end
    local now = (written * left):transpose(-2, -1):matmul(to) -- B H P N
    if continues then
      y = y + from:matmul(state:transpose(-2, -1)) * P:exp():float():unsqueeze(-1)
      now = now + state * P:select(-1, -1):exp():float():unsqueeze(-1):unsqueeze(-1)
    end
    state:copy_(now)
  end
  y = y + x * self.D:view { H, 1, 1 }
  return y:transpose(1, 2):flatten(2)
end

---Runs the convolution and the state space of one layer.
---@param x any           B T C
---@param options table?  the options of `convolve`
---@return any  # B T C
function Mixer:forward(x, options)
  local I, GN, o = self.inner, self.groups * self.state, options or {}
  local all = self.in_proj(x) -- B T I+(I+2GN)+H
  local gate = all:narrow(-1, 0, I)
  local mixed, state = self:convolve(all:narrow(-1, I, self.wide), o) -- B T I+2GN, R H P N
  local dt = self:shown(all:narrow(-1, I + self.wide, self.heads), o) -- B T H
  dt = (dt + self.dt_bias):float():softplus()
  if self.limit[1] > 0 then dt = dt:clamp_min(self.limit[1]) end
  if self.limit[2] < math.huge then dt = dt:clamp_max(self.limit[2]) end
  local y = self:mix(mixed:narrow(-1, 0, I), mixed:narrow(-1, I, GN), mixed:narrow(-1, I + GN, GN), dt, state, o.continues)
    :to(x)
  return self.out_proj(self.norm(y, gate))
end

-- ---- the architecture ------------------------------------------------------------------------------------------------

local fields = decoder.with(mamba.fields, { vocab_size = 32768, hidden_size = 4096, state_size = 128,
  num_hidden_layers = 64, tie_word_embeddings = false, num_heads = { 128, kind = "size" },
  head_dim = { 64, kind = "size" }, n_groups = { 8, kind = "size" } })

local function refuse(...) helpers.raise("format", (...):format(select(2, ...))) end

local function read_config(given)
  local config = mamba.read_config(given, fields)
  local I, H, G = config.intermediate_size, config.num_heads, config.n_groups
  if I ~= H * config.head_dim then
    refuse("num_heads times head_dim is %d, but it must be expand times hidden_size, %d", H * config.head_dim, I)
  elseif H % G ~= 0 then
    refuse("num_heads is %d, which is no multiple of n_groups, %d", H, G)
  end
  local limit = config.time_step_limit or { 0, math.huge }
  if type(limit) ~= "table" or type(limit[1]) ~= "number" or type(limit[2]) ~= "number" then
    refuse("time_step_limit is %s, but it must be two numbers", helpers.value_text(limit))
  end
  config.time_step_limit = limit
  return config
end

return decoder.architecture(Mamba2.ForCausalLM, read_config, { rename = mamba.rename })
