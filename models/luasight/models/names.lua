--- Standard names: names that values have in every language model, whatever its modules are called; docs/standard-names.md
--- describes them. A family maps each name to a path in its model (see lua/luasight/model/aliases.lua) or to the reason why
--- the model has no such value. A value that is not the input or output of a module is a tap of that name.
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
---@field attn string?       the path of the attention
---@field heads string?      the path of the module with q, k, v, scores, pattern and z; by default the attention
---@field mlp_pre luasight.Alias   the input of the activation function
---@field mlp_post luasight.Alias  the input of the MLP's last linear layer

---Returns the names of a layer: the usual ones, and those that are given.
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

---Returns a copy of a table of names with changes.
---@param all table<string, luasight.Alias>
---@param changes table<string, luasight.Alias>
---@return table<string, luasight.Alias>
function names.with(all, changes)
  local result = {}
  for name, alias in pairs(all) do result[name] = alias end
  for name, alias in pairs(changes) do result[name] = alias end
  return result
end

---Returns the standard names of an encoder with a head.
---@param inner string  the path of the encoder
---@param layers string
---@param head luasight.Alias
---@return table<string, luasight.Alias>
function names.of_encoder(inner, layers, head)
  return { embed = inner .. ".embeddings.word_embeddings", layers = inner .. "." .. layers, head = head,
    norm = none "the last layer normalises what it gives" }
end

---Returns aliases for names that the model does not have, all with one reason.
---@param reason string
---@param list string
---@return table<string, luasight.Alias>
function names.without(reason, list)
  local result = {}
  for name in list:gmatch "%S+" do result[name] = none(reason) end
  return result
end

return names
