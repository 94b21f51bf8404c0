--- Operators that an older libtorch lacks, computed with operators that it has. `torch` and the methods of tensors use a
--- function of this file where libtorch has no operator of that name, or where its operator lacks an argument of newer ones.
local operators = require "luasight.tensor.operators"

local compat = {}

---@type table<string, fun(...): any>
local functions = {}
compat.functions = functions

local function call(name, ...) return operators.get_function(name)(...) end

---Returns the arguments of a call as one table, argument by name. `names` lists the names of the positional arguments.
function compat.by_name(names, ...)
  local n, args = select("#", ...), {}
  local last = select(n > 0 and n or 1, ...)
  if type(last) == "table" and #last == 0 then
    for name, v in pairs(last) do args[name] = v end
    n = n - 1
  end
  for i = 1, n do args[names[i]] = select(i, ...) end
  return args
end

-- ---- softmax, for a libtorch before 2.5 ------------------------------------------------------------------------------

---Computes softmax; a row that has only -inf becomes zeros.
---@param x any
---@param dim integer
---@return any
function functions._safe_softmax(x, dim)
  local nothing = call("all", x:eq(-math.huge), dim, true)
  -- The softmax of a row with only -inf would be NaN: such a row is filled with 0 before the softmax and again behind it.
  return call("softmax", x:masked_fill(nothing, 0), dim):masked_fill(nothing, 0)
end

-- ---- attention, for a libtorch before 2.0 ----------------------------------------------------------------------------

---Converts an attention mask to numbers that are added to scores. The mask has either booleans (true: the position may be
---read) or already such numbers. While a forward is recorded, Lua cannot know which of the two the mask has, so operators
---find out in the run: true + true is true, but 1 + 1 is 2. Attention over one element, whose result is 1.5, refuses a mask of
---whole numbers: it would be taken for numbers to add, but mostly has 1 where a position may be read.
---@param mask any
---@param like any  a tensor of the wanted dtype
---@return any
function compat.additive(mask, like)
  local one, limit = mask:new_ones { 1, 1 }, 1.5
  local op = operators.find "scaled_dot_product_attention" -- since libtorch 2.0
  if op then
    local x = one * limit
    limit = operators.call(op, x, x, x, { attn_mask = one })
  end
  local is_boolean = (one + one):lt(limit)
  local hidden = mask:ne(0):to(like):log() -- 0 where the position may be read, else -inf
  return call("where", is_boolean, hidden, mask:to(like))
end

---@class luasight.AttentionOptions
---@field mask any             [..., T, S], booleans (true: may be read) or numbers that are added to the scores
---@field is_causal boolean?
---@field scale number?        1 / sqrt(D) by default
---@field dropout number?
---@field softcap number?

---Computes attention with an operator for each step, and calls `tap` with the scores and with the pattern between the steps.
---@param q any  [..., T, D]
---@param k any  [..., S, D]
---@param v any  [..., S, D]
---@param o luasight.AttentionOptions
---@param tap fun(name: string, value: any): any  names a value, and returns the value that is used in its place
---@return any  # [..., T, D]
function compat.attention(q, k, v, o, tap)
  local scores = call("matmul", q, k:transpose(-2, -1)) -- ... T S
  if o.scale then
    scores = scores * o.scale
  else
    -- The product with a number of q's dtype is float32 for 16-bit dtypes, and float64 for float64.
    scores = scores * (q:new_full({}, q:size(-1), { dtype = "float32" }) * q:new_ones {}):rsqrt()
  end
  if o.softcap then scores = (scores / o.softcap):tanh() * o.softcap end
  if o.is_causal then
    local earlier = scores:new_ones({ scores:size(-2), scores:size(-1) }, { dtype = "bool" }):tril() -- T S
    scores = scores:masked_fill(earlier:logical_not(), -math.huge)
  elseif o.mask then
    scores = scores + compat.additive(o.mask, scores)
  end
  scores = tap("scores", scores)
  local pattern = call(o.mask and "_safe_softmax" or "softmax", scores, -1)
  pattern = tap("pattern", pattern)
  if (o.dropout or 0) > 0 then pattern = call("dropout", pattern, o.dropout, true) end
  return call("matmul", pattern:to(v), v)
end

local function untapped(_, value) return value end

local attention_names = { "query", "key", "value", "attn_mask", "dropout_p", "is_causal", "scale" }

---Computes softmax(query key^T * scale, masked) value. The function takes the arguments of PyTorch's function of this name.
---@param ... any
---@return any
function functions.scaled_dot_product_attention(...)
  local a = compat.by_name(attention_names, ...)
  return compat.attention(a.query, a.key, a.value, { mask = a.attn_mask, dropout = a.dropout_p, is_causal = a.is_causal,
    scale = a.scale }, untapped)
end

-- ---- norms, for a libtorch before 2.4 --------------------------------------------------------------------------------

---Returns the distance from 1 to the next larger number in the dtype of `x`.
local function epsilon(x)
  local one = x:new_ones {}
  return call("nextafter", one, one * 2) - one
end

local rms_names = { "input", "normalized_shape", "weight", "eps" }

---Computes input / sqrt(mean(input^2) + eps) * weight. The function takes the arguments of PyTorch's function of this name.
---@param ... any
---@return any
function functions.rms_norm(...)
  local a = compat.by_name(rms_names, ...)
  local axes = {}
  for i = 1, #a.normalized_shape do axes[i] = -i end
  local wide = a.input * a.input:new_ones({ 1 }, { dtype = "float32" }) -- 16-bit dtypes become float32, float64 stays
  local scaled = wide * (wide:square():mean(axes, true) + (a.eps or epsilon(wide))):rsqrt()
  if a.weight then scaled = scaled * a.weight end
  return scaled:to(a.input)
end

return compat
