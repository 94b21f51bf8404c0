--- The model in the box for the plain executor: GPT-2's forward line by line over the checkpoint's weights,
--- with keys and values of earlier steps kept by hand. No gradients.
local ls = require "luasight"
local tape = require "tape"

local torch = ls.torch

local box = {}

local C, H, LAYERS = 128, 4, 4 -- width, heads
local D = C / H

local weights

---The weights by name; the model itself is the product's.
---@param tensors table<string, ffi.cdata*>
function box.use(tensors) weights = tensors end

local function fresh(value) return tape.tensor(tape.constant(value)) end
local function value(x) return tape.now(x).value end

local function norm(x, name)
  local v = value(x)
  local mean = v:mean({ -1 }, true)
  local centred = v - mean
  local scaled = centred / ((centred * centred):mean({ -1 }, true) + 1e-5):sqrt()
  return fresh(scaled * weights[name .. ".weight"] + weights[name .. ".bias"])
end

local function conv(x, name) return fresh(torch.matmul(value(x), weights[name .. ".weight"]) + weights[name .. ".bias"]) end

local function gelu(x)
  local v = value(x)
  return fresh(0.5 * v * (1 + (math.sqrt(2 / math.pi) * (v + 0.044715 * v * v * v)):tanh()))
end

local function plus(a, b) return fresh(value(a) + value(b)) end

-- ---- attention ---------------------------------------------------------------------------------------------------------

local function attend(q, k, v, state, layer, tap)
  local cached = state.cache[layer]
  local keys, values = value(k), value(v)
  if cached then
    keys = torch.cat({ cached[1], keys }, { dim = 2 })
    values = torch.cat({ cached[2], values }, { dim = 2 })
  end
  state.cache[layer] = { keys:clone(), values:clone() }
  local scores = torch.matmul(value(q), keys:transpose(2, 3)) * D ^ -0.5
  local T, S = scores.shape[2], scores.shape[3]
  local seen = torch.ones(T, S):tril(S - T)
  local masked = scores:masked_fill(seen:eq(0), -math.huge)
  local pattern = tap("pattern", fresh(masked:softmax(-1)))
  return tap("z", fresh(torch.matmul(value(pattern), values)))
end

-- ---- the model -----------------------------------------------------------------------------------------------------------

---Runs one step. `state` keeps the ids, the text so far and the cache.
---@param visitor table  as in walk.lua
---@param state table
local function run(visitor, state)
  local function point(path, kind, v, name)
    return visitor:point({ path = path, kind = kind, name = name, call = 0, module = { kind = "box" } }, v)
  end
  -- A module of one argument; `f` gives its output.
  local function module(path, x, f, as_tuple)
    x = point(path, "input", { args = { x } }).args[1]
    if visitor:skips(path, 0) then
      local out = point(path, "output", nil)
      return as_tuple and out.tuple[1] or out
    end
    local y = f(x)
    local out = point(path, "output", as_tuple and { tuple = { y } } or y)
    return as_tuple and out.tuple[1] or out
  end
  local function same(x) return x end

  local function attention(path, layer)
    return function(x)
      local qkv = module(path .. ".c_attn", x, function(y) return conv(y, path .. ".c_attn") end)
      local function heads(i) return tape.view(qkv, { kind = "heads", first = i * C, heads = H, width = C }) end
      local function tap(name, v) return point(path, "tap", v, name) end
      local q = tap("q", heads(0))
      local k = tap("k", heads(1))
      local v = tap("v", heads(2))
      local z = attend(q, k, v, state, layer, tap)
      local side = fresh(value(z):transpose(1, 2):flatten(2))
      local y = module(path .. ".c_proj", side, function(s) return conv(s, path .. ".c_proj") end)
      return module(path .. ".resid_dropout", y, same)
    end
  end

  local function mlp(path)
    return function(x)
      local inner = module(path .. ".c_fc", x, function(y) return conv(y, path .. ".c_fc") end)
      inner = module(path .. ".act", inner, gelu)
      local y = module(path .. ".c_proj", inner, function(s) return conv(s, path .. ".c_proj") end)
      return module(path .. ".dropout", y, same)
    end
  end

  local function block(path, layer)
    return function(x)
      local n = module(path .. ".ln_1", x, function(y) return norm(y, path .. ".ln_1") end)
      local a = module(path .. ".attn", n, attention(path .. ".attn", layer), true)
      local middle = point(path, "tap", plus(a, x), "resid_mid")
      n = module(path .. ".ln_2", middle, function(y) return norm(y, path .. ".ln_2") end)
      return plus(middle, module(path .. ".mlp", n, mlp(path .. ".mlp")))
    end
  end

  local ids = state.ids -- B T
  local embeds = point("transformer.wte", "output", fresh(weights["transformer.wte.weight"][ids]))
  local first, T = state.past, ids.shape[1]
  local positions = fresh(weights["transformer.wpe.weight"]:narrow(0, first, T):unsqueeze(0))
  local x = module("transformer.drop", plus(embeds, positions), same)
  for i = 0, LAYERS - 1 do x = module("transformer.h." .. i, x, block("transformer.h." .. i, i), true) end
  x = module("transformer.ln_f", x, function(y) return norm(y, "transformer.ln_f") end)
  state.logits = value(module("lm_head", x, function(y)
    return fresh(torch.matmul(value(y), weights["transformer.wte.weight"]:t()))
  end))
  state.past = first + T
  return fresh(state.logits)
end

-- ---- as a net --------------------------------------------------------------------------------------------------------------

box.net = { name = "box", traits = { "model in the box" }, box = true }

function box.net.run(input, visitor, _, invoke)
  local state = invoke and invoke.state
  if not state then
    local ids = torch.tensor(input.ids or { { 5, 6, 7, 8 } }, { dtype = "int64" })
    state = { ids = ids, text = ids, cache = {}, past = 0 }
    if invoke then invoke.state = state end
  end
  return run(visitor, state)
end

---The next token of each row.
---@param invoke table
---@return boolean  # two tokens were so near that rounding may decide
function box.net.next_step(invoke)
  local state = invoke.state
  local last = state.logits[":, -1"]
  local best = last:topk(2)
  local near = (best[":, 0"] - best[":, 1"]):abs():min():item() < 1e-3
  state.ids = last:argmax { dim = -1, keepdim = true }
  state.text = torch.cat({ state.text, state.ids }, { dim = 1 })
  return near
end

---A module of the box called by a program: one of few.
---@param path string
function box.net.call(path, x)
  if path == "lm_head" then return fresh(torch.matmul(value(x), weights["transformer.wte.weight"]:t())) end
  return norm(x, path)
end

return box
