--- Standard names: the words that every language model answers to, whatever its modules are called. docs/standard-names.md
--- says what each means. A family says where they lead (see lua/luasight/model/aliases.lua) or why there is no such place; what
--- stands nowhere else is a tap of that name in a forward.
local helpers = require "luasight.family"

local names = {}

---Names a value of a forward.
---@param name string
---@param value any
---@return any
names.tap = helpers.tap

---@param reason string
---@return luasight.Alias
local function none(reason) return { reason } end
names.none = none

names.side_by_side = none "attention and MLP are added side by side, with nothing between them"
names.experts = none "each token is computed by experts of its own"

---@class luasight.LayerNames: table<string, luasight.Alias>
---@field attn string?       the attention
---@field heads string?      where q, k, v, scores, pattern and z are, unless in the attention
---@field mlp_pre luasight.Alias   what the activation function reads
---@field mlp_post luasight.Alias  what the last linear layer reads

---The names of a layer: what is usual, and what is given.
---@param given luasight.LayerNames
---@return table<string, luasight.Alias>
function names.layer(given)
  local all = { resid_pre = "input[0][0]", resid_mid = ":resid_mid", resid_post = "output[0]", mlp = "mlp",
    mlp_out = "mlp.output" }
  if given.attn then
    all.attn_out = given.attn .. ".output[0]"
    for _, tap in ipairs { "q", "k", "v", "scores", "pattern", "z" } do
      all[tap] = (given.heads or given.attn) .. ":" .. tap
    end
  end
  for name, alias in pairs(given) do all[name] = alias end
  all.heads = nil
  return all
end

---The same with changes.
---@param all table<string, luasight.Alias>
---@param changes table<string, luasight.Alias>
---@return table<string, luasight.Alias>
function names.with(all, changes)
  local result = {}
  for name, alias in pairs(all) do result[name] = alias end
  for name, alias in pairs(changes) do result[name] = alias end
  return result
end

---The standard names of an encoder with a head.
---@param inner string  the encoder
---@param layers string
---@param head luasight.Alias
---@return table<string, luasight.Alias>
function names.of_encoder(inner, layers, head)
  return { embed = inner .. ".embeddings.word_embeddings", layers = inner .. "." .. layers, head = head,
    norm = none "the last layer normalises what it gives" }
end

---Names of which none is there, for one reason.
---@param reason string
---@param list string
---@return table<string, luasight.Alias>
function names.without(reason, list)
  local result = {}
  for name in list:gmatch "%S+" do result[name] = none(reason) end
  return result
end

return names
