--- Mixtures of experts (Shazeer et al. 2017, "Outrageously Large Neural Networks"): a router sends each token to a few of
--- many MLPs. Each expert computes only the tokens that were sent to it.
---
--- Axes: N tokens (B T, rows joined), C width, E experts, K experts for each token, I inner width of an expert.
local ls = require "luasight"
local activations = require "luasight.models.parts.activations"
local helpers = require "luasight.family"

local torch, nn = ls.torch, ls.nn

local experts = {}

-- ---- the router ------------------------------------------------------------------------------------------------------

---@class luasight.models.TopKRouter: luasight.nn.Module
local TopKRouter = nn.Module "TopKRouter"
experts.TopKRouter = TopKRouter
TopKRouter.token_axis = { input = false, output = false } -- rows and tokens share one axis

---Makes a router, which chooses K of E experts for each token.
---@param C integer  the width
---@param E integer  the number of experts
---@param K integer  the number of experts for each token
---@param normalized boolean  whether the weights of a token's K experts are scaled to add up to 1
function TopKRouter:init(C, E, K, normalized)
  if K > E then
    helpers.raise("format", ("the setting num_experts_per_tok is %d, but there are %d experts"):format(K, E))
  end
  self.top_k, self.normalized = K, normalized
  self.weight = helpers.empty({ E, C }, {})
  if not helpers.is_skipping() then nn.init.normal_(self.weight, { std = 0.02 }) end
end

---Chooses the K experts with the highest probabilities for each token. The weight of an expert is its probability, which the
---option `normalized` of the router scales.
---@param x any  N C
---@return any  # a tuple: logits (N E), weights (N K), the numbers of the experts (N K)
function TopKRouter:forward(x)
  local logits = torch.linear(x, self.weight) -- N E
  local weights, chosen = logits:float():softmax(-1):topk(self.top_k, -1) -- N K each
  if self.normalized then weights = weights / weights:sum({ -1 }, true) end
  return helpers.tuple(logits, weights:to(logits), chosen)
end

-- ---- the experts -----------------------------------------------------------------------------------------------------

---@class luasight.models.Experts: luasight.nn.Module
local Experts = nn.Module "Experts"
experts.Experts = Experts
Experts.token_axis = TopKRouter.token_axis

---Makes the weights of all experts of a mixture, joined in one parameter for each linear layer.
---@param C integer  the width
---@param I integer  the inner width of an expert
---@param E integer  the number of experts
---@param act string  the name of the activation function
function Experts:init(C, I, E, act)
  self.count, self.inner = E, I
  self.gate_up_proj = helpers.empty({ E, 2 * I, C }, {})
  self.down_proj = helpers.empty({ E, C, I }, {})
  self.act_fn = activations.new(act)
  self.act_fn.token_axis = TopKRouter.token_axis
  self.act_fn.batch_axis = TopKRouter.token_axis -- false: an expert's tokens are not those of rows
  if helpers.is_skipping() then return end
  nn.init.normal_(self.gate_up_proj, { std = 0.02 })
  nn.init.normal_(self.down_proj, { std = 0.02 })
end

---Returns the weight of expert number e, out of the parameter `all` with the weights of all experts. The number e is recorded
---as a value that depends on x. Otherwise the weight would depend on parameters alone, and be computed once for all runs.
local function weight_of(x, all, e) return all:select(0, x:new_zeros({ e, 0 }).shape[0]) end

---Returns for each token the weighted sum of the outputs of the experts that were chosen for the token.
---@param x any        N C
---@param chosen any   N K, the numbers of the experts of each token
---@param weights any  N K, the weights of these experts' outputs
---@return any  # N C
function Experts:forward(x, chosen, weights)
  local out, I = x:new_zeros(x.shape), self.inner
  for e = 0, self.count - 1 do
    local asks = chosen:eq(e) -- N K
    local tokens = asks:any(-1):nonzero():squeeze(-1) -- n
    local both = torch.linear(x:index_select(0, tokens), weight_of(x, self.gate_up_proj, e)) -- n 2I
    local inner = self.act_fn(both:narrow(-1, 0, I)) * both:narrow(-1, I, I) -- n I
    local share = (weights * asks):sum({ -1 }, true):index_select(0, tokens) -- n 1
    out = out:index_add(0, tokens, torch.linear(inner, weight_of(x, self.down_proj, e)) * share)
  end
  return out
end

-- ---- files -----------------------------------------------------------------------------------------------------------

local pieces = {
  w1 = { "gate_up_proj", 0 }, w3 = { "gate_up_proj", 1 }, w2 = { "down_proj", 0 },
  gate_proj = { "gate_up_proj", 0 }, up_proj = { "gate_up_proj", 1 }, down_proj = { "down_proj", 0 },
}

---Returns the module path of the parameter for the name of a tensor in a file. Where the file has a tensor for each linear
---layer of each expert, returns also the numbers of the expert and of the part of the parameter.
---@param name string
---@return string, integer?, integer?
function experts.place(name)
  name = name:gsub("%.block_sparse_moe%.", ".mlp.")
  local before, e, layer = name:match "^(.*%.experts)%.(%d+)%.([%w_]+)%.weight$"
  local piece = layer and pieces[layer]
  if not piece then return name end
  return before .. "." .. piece[1], tonumber(e), piece[2]
end

return experts
