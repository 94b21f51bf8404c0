--- Compares what a change of config.json does here and in transformers, whose answers stand in spec/reference/settings.json.gz
--- (made by spec/reference/settings.py). A setting has to be honoured (equal numbers), or refused by an error that names it.
--- settings_spec.lua compares some of the changes, settings_trial.lua all.
local cjson = require "cjson"
local support = require "spec.support"
local ls = require "luasight"
local checkpoint = require "luasight.files.checkpoint"
local loader = require "luasight.lm.loader"
local models = require "luasight.models"

local nn, torch = ls.nn, ls.torch
local settings = {}

local PRIME = 65537

-- Settings with values that transformers refuses and that have one meaning, which they have here: a width that the heads do not
-- share evenly, beside head_dim; no window in layers that would have one; scalings of angles where a part of a head turns.
local beyond = { hidden_size = true, rope_scaling = true, rope_parameters = true, use_sliding_window = true }

-- Numbers that follow from the name and the shape of a parameter; the same formula as `weight` in settings.py.
local function weight(name, shape)
  local seed, count = 0, 1
  for i = 1, #name do seed = (seed * 31 + name:byte(i)) % PRIME end
  for _, n in ipairs(shape) do count = count * n end
  local x = torch.arange(count, { dtype = "int64" }):remainder(PRIME)
  for _ = 1, 2 do x = (x * x + x * 4827 + seed):remainder(PRIME) end
  local value = (x:double() / PRIME - 0.5) * 0.8
  if #shape == 1 and name:find "weight$" then value = value + 1 end
  return value:view(shape):float()
end

---Returns the answers of transformers.
---@return table
function settings.answers() return cjson.decode(support.output "gzip -dc spec/reference/settings.json.gz") end

-- The digest of settings.py.
local function digest(logits)
  local flat, result = logits:flatten():double(), logits.shape:tolist()
  local n = flat:numel()
  result[#result + 1] = flat:mean():item()
  result[#result + 1] = flat:square():mean():item()
  for k = 0, 4 do result[#result + 1] = flat[math.floor(n * k / 5) + k]:item() end
  return result
end

local function near(a, b)
  if #a ~= #b then return false end
  for i = 1, #b do
    local bound = i <= 3 and 0 or 1e-4 * math.sqrt(math.max(b[5], 1e-6))
    local off = math.abs(a[i] - b[i])
    if off ~= off or off > bound then return false end
  end
  return true
end

-- A value with infinite numbers as transformers writes them into JSON.
local function tagged(v)
  if v == math.huge then return { __float__ = "Infinity" } end
  if type(v) ~= "table" then return v end
  local result = {}
  for key, element in pairs(v) do result[key] = tagged(element) end
  return result
end

-- Writes a folder with the configuration and weights for it, and returns the digest of the logits of its model.
local function run(folder, config, all, length)
  support.write(folder .. "/config.json", cjson.encode(tagged(config)))
  local weights = {}
  local read = checkpoint.config(folder)
  local architecture = models.find(read.model_type, read.architectures)
  local net = nn.skip_init(architecture.new, read)
  for name, t in net:named_state { keep_vars = true } do
    local shared = net.config.tie_word_embeddings and architecture.tied[name]
    weights[name] = not shared and weight(name, t.shape:tolist()) or nil
  end
  ls.safetensors.save(folder .. "/model.safetensors", weights)
  net = loader.network(folder, { dtype = "float32" })
  local given = { input_ids = torch.tensor(all.ids, { dtype = "int64" }):narrow(1, 0, length) }
  if config.model_type == "t5" then given.decoder_input_ids = torch.tensor(all.decoder_ids, { dtype = "int64" }) end
  return digest(ls.LanguageModel(net)(given).logits)
end

---Returns a change as a text.
---@param change table
---@return string
function settings.text(change) return cjson.encode(change[1]) end

---Returns whether a change sets one setting to this value.
---@param change table
---@param name string
---@param value any
---@return boolean
function settings.is_only(change, name, value)
  return change[1][name] == value and next(change[1]) == name and next(change[1], name) == nil
end

---Returns nil where the change acts here as in transformers, or is refused by its name; else what happens. The second result
---is a word for the outcome; "allowed" stands for a change for which transformers raises an error, while here it has no effect,
---or null means that the file does not have the setting.
---@param folder string  an empty folder
---@param all table      the answers
---@param case table     one of `all.cases`
---@param change table   one of `case.changes`
---@return string?, string?
function settings.compare(folder, all, case, change)
  local config, names = {}, {}
  for name, v in pairs(case.config) do config[name] = v end
  for name, v in pairs(change[1]) do
    config[name] = v
    names[#names + 1] = name
  end
  local ok, got = pcall(run, folder, config, all, case.length)
  local wanted = change[2]
  if wanted == "NaN" then return nil, "nan" end
  for _, name in ipairs(names) do
    if ok and wanted == 1 and beyond[name] then return nil, "beyond" end
  end
  if ok and wanted == 1 then
    if near(got, case.logits) or #names == 1 and change[1][names[1]] == cjson.null then return nil, "allowed" end
    return "transformers raises an error, and here the numbers change", "differs"
  elseif ok then
    if near(got, wanted == 0 and case.logits or wanted) then return nil, wanted == 0 and "same" or "other" end
    return wanted == 0 and "acts here and not in transformers" or near(got, case.logits) and "is ignored here"
      or ("gives other numbers: %s for %s"):format(table.concat(got, " "), table.concat(wanted, " ")), "differs"
  elseif wanted == 1 then return nil, "raises" end
  local said = tostring(got)
  for _, name in ipairs(names) do
    local value = change[1][name]
    local named = said:find(name, 1, true) or type(value) == "string" and said:find(("%q"):format(value), 1, true)
      or name:find "^rope" and (said:find "rotary" or said:find "_factor")
      or said:find("rotary embeddings turn pairs", 1, true)
      or name == "max_position_embeddings" and said:find "the model reads at most"
    if named then return nil, wanted == 0 and "refused though it has no effect" or "refused" end
  end
  return "fails without the setting's name: " .. said, "differs"
end

return settings
