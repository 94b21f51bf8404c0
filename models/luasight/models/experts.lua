--- Mixtures of experts (Shazeer et al. 2017, "Outrageously Large Neural Networks"): a router sends each token to a few of
--- many MLPs. Each expert computes only the tokens that were sent to it.
---
--- Axes: N tokens (B T, rows joined), C width, E experts, K experts for each token, I inner width of an expert.
local ls = require "luasight"
local activations = require "luasight.models.activations"
local helpers = require "luasight.family"

local torch, nn = ls.torch, ls.nn

local experts = {}

-- ---- the router ------------------------------------------------------------------------------------------------------

---@class luasight.models.TopKRouter: luasight.nn.Module
local TopKRouter = nn.Module "TopKRouter"
experts.TopKRouter = TopKRouter

---@param C integer
---@param E integer
---@param K integer
---@param normalized boolean  whether the K weights of a token are scaled to add up to 1
function TopKRouter:init(C, E, K, normalized)
  if K > E then
    helpers.raise("format", ("num_experts_per_tok is %d, but there are %d experts"):format(K, E))
  end
  self.top_k, self.normalized = K, normalized
  self.weight = helpers.empty({ E, C }, {})
  if not helpers.is_skipping() then nn.init.normal_(self.weight, { std = 0.02 }) end
end

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

---@param C integer
---@param I integer
---@param E integer
---@param act string  the name of the activation
function Experts:init(C, I, E, act)
  self.count, self.inner = E, I
  self.gate_up_proj = helpers.empty({ E, 2 * I, C }, {})
  self.down_proj = helpers.empty({ E, C, I }, {})
  self.act_fn = activations.new(act)
  if helpers.is_skipping() then return end
  nn.init.normal_(self.gate_up_proj, { std = 0.02 })
  nn.init.normal_(self.down_proj, { std = 0.02 })
end

---Returns the weight of one expert. The expert's number is made a value of the recording, so that each run takes the weight
---from the parameter: a value that depends on parameters alone would be computed only once.
local function weight_of(x, all, e) return all:select(0, x:new_zeros({ e, 0 }).shape[0]) end

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

---Returns the place of a tensor in a file; files may hold the linear layers of each expert separately.
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
