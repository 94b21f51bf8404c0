--- Rotary position embeddings (Su et al. 2021, "RoFormer"): queries and keys are turned by angles that grow with the
--- position. Several methods stretch these angles for longer texts.
---
--- Axes: B batch, T position, H heads, D head width, R the number of channels of a head that turn.
local ls = require "luasight"
local helpers = require "luasight.family"

local torch, nn = ls.torch, ls.nn

local rotary = {}

local function refuse(...) helpers.raise("format", (...):format(select(2, ...))) end

-- ---- settings --------------------------------------------------------------------------------------------------------

-- The settings that each kind of scaling of the angles (rope_type) needs, besides rope_theta and partial_rotary_factor.
local needs = {
  default = {},
  linear = { "factor" },
  dynamic = { "factor" },
  llama3 = { "factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings" },
  yarn = { "factor", "original_max_position_embeddings" },
  longrope = { "short_factor", "long_factor", "original_max_position_embeddings" },
}

local function check(p)
  local kinds = {}
  for kind in pairs(needs) do kinds[#kinds + 1] = kind end
  table.sort(kinds)
  if not needs[p.rope_type] then
    helpers.raise("format", ("luasight has no rotary embeddings of the type %q%s"):format(tostring(p.rope_type),
      helpers.near(tostring(p.rope_type), kinds)), { hint = "rope_type is " .. table.concat(kinds, ", ") })
  end
  for _, name in ipairs(needs[p.rope_type]) do
    local is_list = name == "short_factor" or name == "long_factor"
    if type(p[name]) ~= (is_list and "table" or "number") then
      refuse("the rope_type %s needs the setting %s, a %s", p.rope_type, name, is_list and "list of numbers" or "number")
    end
  end
end

---Returns the settings of the rotary embeddings from a configuration, whichever version of transformers wrote the file.
---@param config table   a configuration with head_dim and max_position_embeddings
---@param default table  rope_theta for a configuration that does not have it; partial_rotary_factor where only a part of a
---  head may turn
---@param given table?   the settings of one kind of layers, where kinds differ; by default those of the whole model
---@return table         # rope_type, rope_theta, partial_rotary_factor, and the settings that the type needs
function rotary.read(config, default, given)
  local scaling = config.rope_scaling
  if type(scaling) == "table" and next(scaling) == nil then scaling = nil end
  local source, p = given or scaling or config.rope_parameters or {}, {}
  if type(source) ~= "table" then refuse("rope_scaling is %s, but it must be an object", tostring(source)) end
  for name, v in pairs(source) do p[name] = v end
  p.rope_type = p.rope_type or p.type or "default"
  for _, name in ipairs { "rope_theta", "partial_rotary_factor" } do
    p[name] = p[name] or not given and config[name] or default[name] or name == "partial_rotary_factor" and 1 or nil
    if type(p[name]) ~= "number" then refuse("the setting %s is %s, but it must be a number", name, tostring(p[name])) end
  end
  if not default.partial_rotary_factor and p.partial_rotary_factor ~= 1 then
    if p.rope_type ~= "default" then
      refuse("partial_rotary_factor = %s with rope_type %s is not implemented in this family", p.partial_rotary_factor,
        tostring(p.rope_type))
    end
    p.partial_rotary_factor = 1 -- the plain angles of this family do not read it
  end
  if needs[p.rope_type] and #needs[p.rope_type] > 1 then -- config's own field takes precedence
    p.original_max_position_embeddings = config.original_max_position_embeddings or p.original_max_position_embeddings
      or config.max_position_embeddings
  end
  p.max_position_embeddings = config.max_position_embeddings
  p.size = math.floor(config.head_dim * p.partial_rotary_factor)
  if p.rope_type == "yarn" and p.factor == nil then
    p.factor = config.max_position_embeddings / p.original_max_position_embeddings
  end
  check(p)
  if p.size % 2 ~= 0 then
    refuse("rotary embeddings turn pairs, but %d of each head's numbers (head_dim times partial_rotary_factor) are to be "
      .. "turned", p.size)
  end
  return p
end

-- ---- frequencies -----------------------------------------------------------------------------------------------------

-- The methods of scaling the rotary angles, by rope_type. Each function takes the settings, the wavelengths without scaling
-- (R/2 numbers, base ^ (2i / R)), the greatest position of each row plus 1 (B 1 1), and the channels 0 2 4 ... (R/2). It
-- returns the frequencies (R/2 or B 1 R/2) and a factor for cosines and sines.
local scalings = {}

function scalings.default(_, lengths) return lengths:reciprocal(), 1 end

function scalings.linear(p, lengths) return lengths:reciprocal() / p.factor, 1 end

-- The method dynamic: in texts longer than in training, the base of the wavelengths grows with the length of the text.
function scalings.dynamic(p, _, total, channels)
  local R, longest = p.size, p.max_position_embeddings
  local ratio = total:clamp_min(longest) * (p.factor / longest) - (p.factor - 1) -- B 1 1
  local base = ratio:pow(R / (R - 2)) * p.rope_theta
  return base:pow(channels / R):reciprocal(), 1 -- B 1 R/2
end

-- The method of Llama 3.1: high frequencies are unchanged, low ones are divided by a factor, with a smooth transition.
function scalings.llama3(p, lengths)
  local plain = lengths:reciprocal()
  -- How often each pair of channels turns in a text of the trained length.
  local turns = plain * (p.original_max_position_embeddings / (2 * math.pi))
  local share = ((turns - p.low_freq_factor) / (p.high_freq_factor - p.low_freq_factor)):clamp(0, 1)
  return plain / p.factor * (1 - share) + plain * share, 1
end

local function yarn_growth(scale, m) return scale <= 1 and 1 or 0.1 * m * math.log(scale) + 1 end

-- The method yarn (Peng et al. 2023): like llama3, but the transition runs linearly over the channels between those that turn
-- beta_fast times and beta_slow times in a text of the trained length.
function scalings.yarn(p, lengths, _, channels)
  local R = p.size
  local function channel_of(turns)
    return R * math.log(p.original_max_position_embeddings / (turns * 2 * math.pi)) / (2 * math.log(p.rope_theta))
  end
  local low, high = channel_of(p.beta_fast or 32), channel_of(p.beta_slow or 1)
  if p.truncate ~= false then low, high = math.floor(low), math.ceil(high) end
  low, high = math.max(low, 0), math.min(high, R - 1)
  if low == high then high = high + 0.001 end
  local stretched = ((channels / 2 - low) / (high - low)):clamp(0, 1) -- R/2
  local factor = p.attention_factor
  if not factor and (p.mscale or 0) ~= 0 and (p.mscale_all_dim or 0) ~= 0 then
    factor = yarn_growth(p.factor, p.mscale) / yarn_growth(p.factor, p.mscale_all_dim)
  end
  local plain = lengths:reciprocal()
  return plain / p.factor * stretched + plain * (1 - stretched), factor or yarn_growth(p.factor, 1)
end

-- The method longrope (Ding et al. 2024): the wavelength of each channel has a factor of its own, and another factor in texts
-- longer than in training.
function scalings.longrope(p, lengths, total)
  local trained = p.original_max_position_embeddings
  local function factors(name)
    if #p[name] ~= p.size / 2 then refuse("the setting %s has %d numbers, but it must have %d", name, #p[name], p.size / 2) end
    return (torch.tensor(p[name], { device = lengths.device }) * lengths):reciprocal() -- R/2
  end
  local growth = p.factor or p.max_position_embeddings / trained
  local factor = p.attention_factor or (growth <= 1 and 1 or math.sqrt(1 + math.log(growth) / math.log(trained)))
  return torch.where(total:gt(trained), factors "long_factor", factors "short_factor"), factor -- B 1 R/2
end

---Returns whether all positions are turned by other angles in a text of this length than in a text that is one token shorter.
---@param p table?  the settings that rotary.read returns, or a table of such settings, one for each kind of layers
---@param length integer
---@return boolean
function rotary.changes(p, length)
  if p and not p.rope_type then
    for _, one in pairs(p) do
      if type(one) == "table" and rotary.changes(one, length) then return true end
    end
    return false
  end
  return p ~= nil and (p.rope_type == "dynamic" and length > p.max_position_embeddings
    or p.rope_type == "longrope" and length == p.original_max_position_embeddings + 1)
end

-- ---- the module ------------------------------------------------------------------------------------------------------

---@class luasight.RotaryEmbedding: luasight.nn.Module
local Embedding = nn.Module "RotaryEmbedding"
rotary.Embedding = Embedding

---Makes the module that computes the rotary angles of a model.
---@param parameters table  the settings that rotary.read returns
function Embedding:init(parameters)
  self.parameters = parameters
  -- The numbers of the channels are integers in a buffer, so that they move to the model's device with the model, but a
  -- conversion of the model's dtype does not round them.
  self.channels = nn.Buffer(torch.arange(0, parameters.size, 2), { persistent = false })
end

---Returns cosines and sines of the rotary angles of each position, in the dtype of x.
---@param x any          a tensor of the wanted dtype
---@param options table  position_ids: B T
---@return any  # a tuple: cosines and sines, B T R each
function Embedding:forward(x, options)
  return rotary.embed(self.parameters, self.channels, x, options.position_ids)
end

---Returns cosines and sines of the angles, which are computed in float32.
---@param p table          the settings that rotary.read returns
---@param channels any     0 2 4 ... (R/2)
---@param x any            a tensor of the wanted dtype
---@param positions any    B T, whole numbers
---@return any  # a tuple: cosines and sines, B T R each
function rotary.embed(p, channels, x, positions)
  channels = channels:float()
  local base = channels:new_full({}, p.rope_theta)
  local total = (positions:amax({ -1 }, true) + 1):unsqueeze(-1):float() -- B 1 1
  local frequencies, factor = scalings[p.rope_type](p, base:pow(channels / p.size), total, channels)
  local angles = positions:unsqueeze(-1):float() * frequencies -- B T R/2
  angles = torch.cat({ angles, angles }, -1) -- B T R
  local cos, sin = angles:cos(), angles:sin()
  if factor ~= 1 then cos, sin = cos * factor, sin * factor end
  return helpers.tuple(cos:to(x), sin:to(x))
end

-- ---- turning ---------------------------------------------------------------------------------------------------------

---Turns each pair of the channels i and i + R/2 by the pair's angle.
local function turn(x, cos, sin, R)
  local turned = torch.cat({ -x:narrow(-1, R / 2, R / 2), x:narrow(-1, 0, R / 2) }, -1)
  return x * cos + turned * sin
end

---Turns each pair of the neighbouring channels 2i and 2i + 1 by the pair's angle.
local function turn_neighbours(x, cos, sin, R)
  local two = x:unflatten(-1, { R / 2, 2 }) -- B H T R/2 2
  local turned = torch.stack({ -two:select(-1, 1), two:select(-1, 0) }, -1):flatten(-2) -- B H T R
  return x * cos + turned * sin
end

---Returns queries and keys with the first R channels of each head turned by the angles of its position.
---@param q any         B H T D
---@param k any         B H T D
---@param rotation any  a tuple: cosines and sines, B T R each
---@param R integer
---@param D integer
---@param neighbours boolean?  true: a pair is two neighbouring channels; else they are R/2 apart
---@return any q, any k
function rotary.apply(q, k, rotation, R, D, neighbours)
  local cos, sin = rotation[0]:unsqueeze(1), rotation[1]:unsqueeze(1) -- B 1 T R
  local turned = neighbours and turn_neighbours or turn
  local function apply(x)
    if R == D then return turned(x, cos, sin, R) end
    return torch.cat({ turned(x:narrow(-1, 0, R), cos, sin, R), x:narrow(-1, R, D - R) }, -1)
  end
  return apply(q), apply(k)
end

return rotary
