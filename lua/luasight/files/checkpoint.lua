--- Checkpoint folders in Hugging Face's layout: config.json, and weights in one file or in several with an index, as
--- safetensors or as torch.save writes them.
local binding = require "luasight.ffi"
local near = require "luasight.base.near"
local safetensors = require "luasight.files.safetensors"
local cjson = require("cjson").new()

cjson.decode_invalid_numbers(true) -- older files have Infinity as a bare word

local checkpoint = {}
local quoted = safetensors.quoted
checkpoint.null = cjson.null

---The names of weight files, the preferred name first. A name followed by `index_suffix` is the name of an index: a JSON file
---that says in which of several files each tensor is.
checkpoint.weights = { "model.safetensors", "pytorch_model.bin" }
checkpoint.index_suffix = ".index.json"

-- ---- files ----------------------------------------------------------------------------------------------------------

---@param path string
---@return boolean
function checkpoint.exists(path)
  local file = io.open(path, "rb")
  if file then file:close() end
  return file ~= nil
end

local exists = checkpoint.exists

---Raises an error unless `folder` is the path of an existing folder.
---@param folder string
function checkpoint.check_folder(folder)
  if type(folder) ~= "string" then
    binding.raise("argument", "the folder of a checkpoint is a string, not a " .. type(folder))
  elseif folder == "" or folder:find("%z") then
    binding.raise("argument", quoted(folder) .. " is not the path of a folder")
  elseif not exists(folder .. "/.") then
    local what = exists(folder) and "is a file, not a folder" or "there is no such folder"
    binding.raise("io", folder .. ": " .. what, { hint = "pass the folder that holds config.json and the weights" })
  end
end

local check_folder = checkpoint.check_folder

---Returns the bytes of a file.
---@param path string
---@return string
function checkpoint.text(path)
  local file, reason = io.open(path, "rb")
  local text
  if file then
    text, reason = file:read "*a"
    file:close()
  end
  if not text then binding.raise("io", ("%s: the file cannot be read: %s"):format(path, reason or "not a plain file")) end
  return text
end

---Returns the object that a JSON file holds, as a table; the JSON value null becomes `checkpoint.null`.
---@param path string
---@return table
function checkpoint.object(path)
  local text = checkpoint.text(path)
  local ok, value = pcall(cjson.decode, text)
  if not ok then
    local what = text:find("^%s*$") and "the file is empty" or "not valid JSON, or cut short"
    binding.raise("format", ("%s: the JSON cannot be read: %s"):format(path, what),
      { hint = "download the file again", cause = tostring(value) })
  elseif type(value) ~= "table" or not text:find("^%s*{") then
    binding.raise("format", path .. ": the file does not hold a JSON object", { hint = "download the file again" })
  end
  return value
end

-- ---- config.json ----------------------------------------------------------------------------------------------------

---Converts decoded JSON to Lua values: null becomes nil, and { "__float__": "Infinity" } of newer files becomes a number.
local function plain(value)
  if value == cjson.null then return nil end
  if type(value) ~= "table" then return value end
  if type(value.__float__) == "string" then
    local known = { Infinity = math.huge, ["-Infinity"] = -math.huge, NaN = 0 / 0 }
    return known[value.__float__]
  end
  local result = {}
  for key, element in pairs(value) do result[key] = plain(element) end
  return result
end

-- Settings of config.json for which null means false (the feature is off). For all other settings null means the default.
local off = { "sliding_window", "attn_logit_softcapping", "final_logit_softcapping", "is_causal", "scale_decoder_outputs",
  "pad_token_id" }

---Returns the folder's config.json as a table; null becomes nil, or false for a setting that null switches off.
---@param folder string
---@return table
function checkpoint.config(folder)
  check_folder(folder)
  local path = folder .. "/config.json"
  if not exists(path) then
    binding.raise("io", folder .. ": there is no config.json in this folder",
      { hint = "pass the folder of a model as Hugging Face stores it" })
  end
  local given = checkpoint.object(path)
  local config = plain(given)
  for _, name in ipairs(off) do
    if given[name] == cjson.null then config[name] = false end
  end
  return config
end

---Returns the folder's generation_config.json in the form of `checkpoint.config`, or nil where there is none.
---@param folder string
---@return table?
function checkpoint.generation_config(folder)
  local path = folder .. "/generation_config.json"
  return exists(path) and plain(checkpoint.object(path)) or nil
end

-- ---- weights --------------------------------------------------------------------------------------------------------

---@class luasight.Checkpoint  the weights in a folder
---@field folder string
---@field private _where table<string, string>                      by the name of a tensor, the name of its file
---@field private _files table<string, luasight.safetensors.File>   the files opened so far, by their names
local Checkpoint = {}
Checkpoint.__index = Checkpoint

local function file_of(self, shard)
  local file = self._files[shard]
  if not file then
    file = safetensors.open(self.folder .. "/" .. shard)
    self._files[shard] = file
  end
  return file
end

---Returns the opened file that holds a tensor; raises an error with the nearest names where there is no such tensor.
local function locate(self, name)
  local shard = self._where[name]
  if not shard then
    binding.raise("name", ("%s: in this checkpoint there is no tensor %s%s"):format(self.folder, quoted(name),
      near.text(tostring(name), self:keys())))
  end
  local file = file_of(self, shard)
  if not file:has(name) then
    binding.raise("format", ("%s: the checkpoint index says that %s is in this file, but it is not"):format(file.path,
      quoted(name)),
      { hint = "download the checkpoint again" })
  end
  return file
end

---Returns the names of all tensors in the checkpoint, sorted.
---@return string[]
function Checkpoint:keys()
  local names = {}
  for name in pairs(self._where) do names[#names + 1] = name end
  table.sort(names)
  return names
end

---Returns whether the checkpoint has a tensor called `name`.
---@param name string
---@return boolean
function Checkpoint:has(name) return self._where[name] ~= nil end

---Returns the tensor called `name`: a view of its file, which is opened at the first use.
---@param name string
---@return luasight.Tensor
function Checkpoint:get(name) return (locate(self, name):get(name)) end

---Returns what a file of the checkpoint says about the tensor called `name`: its number, name, dtype, shape and bytes.
---@param name string
---@return luasight.WeightsEntry
function Checkpoint:describe(name) return (locate(self, name):_entry(name)) end

---Frees the memory of a tensor that nothing uses any more; changes made to the tensor are lost.
---@param name string
function Checkpoint:forget(name) locate(self, name):forget(name) end

---Closes all files of the checkpoint; tensors taken from them stay valid.
function Checkpoint:release()
  for _, file in pairs(self._files) do file:release() end
  self._files = {}
end

---Raises an error unless `shard`, a file that the index of a checkpoint names, is inside the checkpoint's folder: a downloaded
---index must not name files elsewhere.
local function check_shard(path, shard)
  local inside = type(shard) == "string" and shard ~= "" and not shard:find("^/") and not shard:find("[%z\\]")
  if inside then
    for part in (shard .. "/"):gmatch("([^/]*)/") do
      if part == ".." or part == "" then inside = false end
    end
  end
  if not inside then
    binding.raise("format", ("%s: the checkpoint index names the file %s, which is not inside the folder"):format(
      path, quoted(shard)), { hint = "do not trust this checkpoint; download it again from its source" })
  end
end

---Returns from the index of a checkpoint the name of the file in which each tensor is. All these files have to be inside the
---checkpoint's folder: a downloaded index must not name other files.
---@param path string  the path of the index
---@return table<string, string>
function checkpoint.weight_map(path)
  local map = checkpoint.object(path).weight_map
  if type(map) ~= "table" or next(map) == nil then
    binding.raise("format", path .. ": the index has no weight_map, which says in which file each tensor of the checkpoint is",
      { hint = "download the file again" })
  end
  for _, shard in pairs(map) do check_shard(path, shard) end
  return map
end

local function read_index(self, index)
  local shards, missing, total = {}, {}, 0
  for name, shard in pairs(checkpoint.weight_map(self.folder .. "/" .. index)) do
    self._where[name] = shard
    if shards[shard] == nil then
      shards[shard], total = true, total + 1
      if not exists(self.folder .. "/" .. shard) then missing[#missing + 1] = shard end
    end
  end
  if #missing > 0 then
    table.sort(missing)
    binding.raise("io", ("%s: %d of %d weight files are missing, the first is %s"):format(self.folder, #missing, total,
      missing[1]), { hint = "download the rest of the checkpoint" })
  end
end

local function no_weights(folder)
  local what = "there is no " .. checkpoint.weights[1] .. " in this folder"
  local hint = "pass the folder of a model as Hugging Face stores it"
  for _, other in ipairs { "tf_model.h5", "flax_model.msgpack", "consolidated.00.pth" } do
    if exists(folder .. "/" .. other) then
      what, hint = what .. ", only " .. other, "convert it to safetensors"
      break
    end
  end
  binding.raise("io", folder .. ": " .. what, { hint = hint })
end

---Opens the weights of a folder: tensors by name, whatever files they are in. A single file is preferred to an index, and
---safetensors to files of PyTorch.
---@param folder string
---@return luasight.Checkpoint
function checkpoint.read(folder)
  check_folder(folder)
  local self = setmetatable({ folder = folder, _where = {}, _files = {} }, Checkpoint)
  for _, weights in ipairs(checkpoint.weights) do
    if exists(folder .. "/" .. weights) then
      for _, name in ipairs(file_of(self, weights):keys()) do self._where[name] = weights end
      return self
    elseif exists(folder .. "/" .. weights .. checkpoint.index_suffix) then
      read_index(self, weights .. checkpoint.index_suffix)
      return self
    end
  end
  no_weights(folder)
end

return checkpoint
