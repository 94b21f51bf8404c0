--- The layers Linear, Conv1D and Embedding, which have weights, and Dropout, Identity and Flatten, which have none.
local module = require "luasight.nn.module"
local options = require "luasight.base.options"
local parameter = require "luasight.nn.parameter"
local settings = require "luasight.nn.settings"
local torch = require "luasight.tensor.torch"

local function size(what, name, v) return options.value(what, name, v, options.size) end

local linear = {}

-- ---- Linear ----------------------------------------------------------------------------------------------------------

---Computes y = x W^T + b on the last axis.
---@class luasight.nn.Linear: luasight.nn.Module
---@field weight ffi.cdata*  [out_features, in_features]
---@field bias ffi.cdata*?   [out_features]
local Linear = module.class "Linear"
linear.Linear = Linear

---With bias = false, the new layer computes y = x W^T.
---@param in_features integer
---@param out_features integer
---@param given? { bias: boolean?, dtype: string?, device: string? }
function Linear:init(in_features, out_features, given)
  given = options.read("nn.Linear", given, { bias = "boolean", dtype = "string", device = "string" })
  self.in_features = size("nn.Linear", "in_features", in_features)
  self.out_features = size("nn.Linear", "out_features", out_features)
  self.weight = parameter.empty({ out_features, in_features }, given)
  if given.bias ~= false then self.bias = parameter.empty({ out_features }, given) end
  if not parameter.is_skipping() then self:reset_parameters() end
end

-- The layer that most scripts have is filled as nn.init.kaiming_uniform_(t, math.sqrt(5)) fills it, without loading nn.init.
local GAIN = math.sqrt(2 / (1 + math.sqrt(5) ^ 2))

---Fills a tensor with numbers drawn evenly from -bound to bound.
local function fill(t, bound) torch.no_grad(t.uniform_, t, -bound, bound) end

function Linear:reset_parameters()
  local fan_in = self.in_features
  if self.weight:numel() > 0 then fill(self.weight, math.sqrt(3) * (GAIN / math.sqrt(fan_in))) end
  if self.bias then fill(self.bias, fan_in > 0 and 1 / math.sqrt(fan_in) or 0) end
end

function Linear:extra_repr()
  return ("in_features=%d, out_features=%d, bias=%s"):format(self.in_features, self.out_features,
    require "luasight.nn.text".value(self.bias and true or false))
end

---Returns x W^T + b.
---@param x any  [..., in_features]
---@return any  # [..., out_features]
function Linear:forward(x) return torch.linear(x, self.weight, self.bias) end

-- ---- Conv1D ----------------------------------------------------------------------------------------------------------

---GPT-2's linear layer, whose weight is transposed: it computes y = x W + b.
---@class luasight.nn.Conv1D: luasight.nn.Module
---@field weight ffi.cdata*  [nx, nf]
---@field bias ffi.cdata*    [nf]
local Conv1D = module.class "Conv1D"
linear.Conv1D = Conv1D

---The new layer works on the last axis.
---@param nf integer  the width of the output
---@param nx integer  the width of the input
---@param given? { dtype: string?, device: string? }
function Conv1D:init(nf, nx, given)
  given = options.read("nn.Conv1D", given, { dtype = "string", device = "string" })
  self.nf, self.nx = size("nn.Conv1D", "nf", nf), size("nn.Conv1D", "nx", nx)
  self.weight = parameter.empty({ nx, nf }, given)
  self.bias = parameter.empty({ nf }, given)
  if not parameter.is_skipping() then self:reset_parameters() end
end

function Conv1D:reset_parameters()
  local init = require "luasight.nn.initializers"
  init.zeros_(self.bias)
  init.normal_(self.weight, 0, 0.02)
end

function Conv1D:extra_repr() return ("nf=%d, nx=%d"):format(self.nf, self.nx) end

-- Computes x W + b. The bias is added to the product in place, which is safe since nothing else refers to the product.
---@param x any  [..., nx]
---@return any  # [..., nf]
function Conv1D:forward(x) return torch.matmul(x, self.weight):add_(self.bias) end

-- ---- Embedding -------------------------------------------------------------------------------------------------------

---A table of vectors: the output has, for each id in the input, the row of `weight` with this number.
---@class luasight.nn.Embedding: luasight.nn.Module
---@field weight ffi.cdata*  [num_embeddings, embedding_dim]
local Embedding = module.class "Embedding"
linear.Embedding = Embedding

---Makes a table of vectors: the output has, for each id in the input, the row of the weight with this number.
---@param num_embeddings integer
---@param embedding_dim integer
---@param given? { padding_idx: integer?, scale_grad_by_freq: boolean?, dtype: string?, device: string? }  padding_idx: the
---  id of a row that is not trained; scale_grad_by_freq: the gradient of a row is divided by how often the input has its id
function Embedding:init(num_embeddings, embedding_dim, given)
  given = options.read("nn.Embedding", given,
    { padding_idx = "number", scale_grad_by_freq = "boolean", dtype = "string", device = "string" })
  self.num_embeddings = size("nn.Embedding", "num_embeddings", num_embeddings)
  self.embedding_dim = size("nn.Embedding", "embedding_dim", embedding_dim)
  local padding = given.padding_idx
  if padding then
    self.padding_idx = size("nn.Embedding", "padding_idx", padding < 0 and padding + num_embeddings or padding)
    if self.padding_idx >= num_embeddings then
      require "luasight.ffi".raise("index", ("nn.Embedding: padding_idx is %d, but the weight has %d rows"):format(padding,
        num_embeddings))
    end
  end
  self.scale_grad_by_freq = given.scale_grad_by_freq or nil
  self.weight = parameter.empty({ num_embeddings, embedding_dim }, given)
  if not parameter.is_skipping() then self:reset_parameters() end
end

function Embedding:reset_parameters()
  require "luasight.nn.initializers".normal_(self.weight)
  if self.padding_idx then torch.no_grad(function() self.weight[self.padding_idx] = 0 end) end
end

function Embedding:extra_repr()
  local padding = self.padding_idx and (", padding_idx=%d"):format(self.padding_idx) or ""
  local scaled = self.scale_grad_by_freq and ", scale_grad_by_freq=True" or ""
  return ("%d, %d%s%s"):format(self.num_embeddings, self.embedding_dim, padding, scaled)
end

---Returns for each id the row of the weight that has this number.
---@param ids any  a tensor of whole numbers, of any shape
---@return any  # [..., embedding_dim]
function Embedding:forward(ids)
  if self.scale_grad_by_freq then return torch.embedding(self.weight, ids, self.padding_idx or -1, true) end
  return torch.embedding(self.weight, ids, self.padding_idx or -1)
end

-- ---- layers without weights ------------------------------------------------------------------------------------------

---In training, sets elements to 0 at random and scales the others up; otherwise returns its input unchanged.
---@class luasight.nn.Dropout: luasight.nn.Module
---@field p number  the share of the elements that is set to 0
local Dropout = module.class "Dropout"
linear.Dropout = Dropout

local dropout = { { name = "p", kind = options.share, default = 0.5 } }

---@param ... any  the setting p, by position or by name; 0.5 by default
function Dropout:init(...) settings.take(self, dropout, ...) end

function Dropout:extra_repr() return ("p=%s, inplace=False"):format(require "luasight.nn.text".float(self.p)) end

---Returns x with random elements set to 0 in training, and x itself otherwise.
---@param x any
---@return any  # the same shape
function Dropout:forward(x)
  if not self.training or self.p == 0 then return x end
  return torch.dropout(x, self.p, true)
end

---Returns its input unchanged; nn.Identity(...) takes any arguments and ignores them.
---@class luasight.nn.Identity: luasight.nn.Module
local Identity = module.class "Identity"
linear.Identity = Identity

---@param ... any  ignored, as in PyTorch
function Identity:init(...) end -- luacheck: no unused args

---@param x any
---@return any
function Identity:forward(x) return x end

---Joins the axes of a tensor from `start_dim` to `end_dim` into one axis: by default all axes but the first.
---@class luasight.nn.Flatten: luasight.nn.Module
local Flatten = module.class "Flatten"
linear.Flatten = Flatten

local flatten = { { name = "start_dim", kind = options.axis, default = 1 },
  { name = "end_dim", kind = options.axis, default = -1 } }

---@param ... any  the settings start_dim and end_dim, by position or by name
function Flatten:init(...) settings.take(self, flatten, ...) end

function Flatten:extra_repr() return settings.text(self, flatten) end

---@param x any
---@return any
function Flatten:forward(x) return torch.flatten(x, self.start_dim, self.end_dim) end

return linear
