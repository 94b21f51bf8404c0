--- Standard names: names that values have in every language model, whatever its modules are called; docs/standard-names.md
--- describes them. A family maps each name to a path in its model (see lua/luasight/model/aliases.lua) or to the reason why
--- the model has no such value. A value that is not the input or output of a module is a tap of that name.
local helpers = require "luasight.family"

local names = {}

---Gives a value of a forward a name, by which a trace can read or set the value; returns the value.
---@param name string
---@param value any
---@return any
names.tap = helpers.tap

---Returns the entry for a standard name of a value that the model does not have.
---@param reason string
---@return luasight.Alias
local function none(reason) return { reason } end
names.none = none

names.side_by_side = none "attention and MLP are added side by side, with nothing between them"
names.experts = none "each token is computed by experts of its own"

---@class luasight.LayerNames: table<string, luasight.Alias>  the places of a layer's values by standard name
---@field attn string?       the path of the attention module in the layer
---@field heads string?      the path of the module with q, k, v, scores, pattern and z; by default `attn`
---@field mlp_pre luasight.Alias   the input of the activation function
---@field mlp_post luasight.Alias  the input of the MLP's last linear layer

---Returns a table of the standard names of a layer: the names that most families have, with the entries of `given` replaced or
---added.
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

---Returns a copy of a table of standard names in which `changes` replace or add names.
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
---@param layers string  the path of the layers in the encoder
---@param head luasight.Alias  the place of the head
---@return table<string, luasight.Alias>
function names.of_encoder(inner, layers, head)
  return { embed = inner .. ".embeddings.word_embeddings", layers = inner .. "." .. layers, head = head,
    norm = none "the last layer normalises what it gives" }
end

---Returns the entries for standard names of values that a model does not have, all with the same reason.
---@param reason string
---@param list string  the names, with spaces between them
---@return table<string, luasight.Alias>
function names.without(reason, list)
  local result = {}
  for name in list:gmatch "%S+" do result[name] = none(reason) end
  return result
end

return names
