--- Finds models of the Hugging Face hub by name: for "owner/name", returns a folder of the cache with the model's files, after
--- downloading those that are missing. The folders and the environment variables (HF_HOME, HF_HUB_CACHE, HF_HUB_OFFLINE,
--- HF_TOKEN, HF_ENDPOINT) are those of Python's huggingface_hub.
local binding = require "luasight.ffi"
local cache = require "luasight.lm.hub.cache"
local checkpoint = require "luasight.files.checkpoint"
local failure = require "luasight.base.error"
local quoted = require("luasight.files.safetensors").quoted
local tokenizer_files = require "luasight.text.tokenizer.files"

local exists = checkpoint.exists

local hub = {}

local MAIN = "main"

---The parts of a model whose files a caller needs.
---@class luasight.hub.Want
---@field model boolean?      config.json and generation_config.json
---@field weights boolean?
---@field tokenizer boolean?

---Returns whether a text can be the name of a model on the hub: "owner/name", or "name" for the oldest models.
---@param name any
---@return boolean
function hub.is_id(name)
  if type(name) ~= "string" or name:find "%.%." or name:find "%-%-" or name:find "%.git$" then return false end
  local last = name:match "^[%w_][%w_.-]*/([%w_][%w_.-]*)$" or name:match "^([%w_][%w_.-]*)$"
  return last ~= nil and #last <= 96 and name:find "[%w_]$" ~= nil
end

local function check_revision(revision)
  if revision == nil then return MAIN end
  if type(revision) ~= "string" or not revision:find "^[%w][%w_./-]*$" or revision:find "%.%." or revision:find "//"
    or revision:find "/$" then
    binding.raise("argument", ("the option revision is a branch, a tag or a commit, not %s"):format(quoted(revision)))
  end
  return revision
end

-- ---- the files that are needed ---------------------------------------------------------------------------------------

---Returns those file names of the list `names` for which the function `has` returns true.
local function among(has, names)
  local found = {}
  for _, name in ipairs(names) do
    if has(name) then found[#found + 1] = name end
  end
  return found
end

---Returns the name of the weight file to use; where the weights are in several files, nil and the name of the index that lists
---these files.
local function weights_of(has)
  for _, name in ipairs(checkpoint.weights) do
    if has(name) then return name end
    if has(name .. checkpoint.index_suffix) then return nil, name .. checkpoint.index_suffix end
  end
end

---Returns the names of the files that the wanted parts of a model need. Where the weights are in several files, the list has
---the name of their index instead of their own names, and the second result is the name of the index.
local function needed(want, has)
  local names = {}
  local function add(more)
    for _, name in ipairs(more) do names[#names + 1] = name end
  end
  if want.model then add(among(has, { "config.json", "generation_config.json" })) end
  if want.tokenizer then add(among(has, tokenizer_files.needed(has))) end
  local weights, index = weights_of(has)
  if want.weights then add { weights or index } end
  return names, want.weights and index or nil
end

---Returns the names of the weight files that an index lists, sorted.
local function pieces_of(path)
  local seen, names = {}, {}
  for _, name in pairs(checkpoint.weight_map(path)) do
    if not seen[name] then names[#names + 1] = name end
    seen[name] = true
  end
  table.sort(names)
  return names
end

---Returns whether a folder has all files that the wanted parts of a model need.
local function is_whole(folder, want)
  local function has(name) return exists(folder .. "/" .. name) end
  if want.model and not has "config.json" then return false end
  if want.tokenizer and not tokenizer_files.exists(folder) then return false end
  if not want.weights then return true end
  local weights, index = weights_of(has)
  if weights then return true end
  return index ~= nil and #among(has, pieces_of(folder .. "/" .. index)) == #pieces_of(folder .. "/" .. index)
end

-- ---- the folder ------------------------------------------------------------------------------------------------------

---Returns the model's folder in the cache. Where a wanted file is missing there, raises an error; `why` is the reason why the
---file cannot be downloaded.
local function cached(repository, want, why)
  local commit = repository:commit()
  local folder = commit and repository:snapshot(commit)
  if folder and is_whole(folder, want) then return folder end
  binding.raise("io", ("the model %s is not %s in the cache folder %s, and %s"):format(quoted(repository.id),
    folder and exists(folder .. "/.") and "complete" or "there", repository.path, why.what), why)
end

local offline = { what = "HF_HUB_OFFLINE forbids its download", hint = "download it once without HF_HUB_OFFLINE" }

local no_library = { what = "it cannot be downloaded without libcurl and libcrypto",
  hint = "install them (Debian: apt-get install libcurl4), or pass a folder" }

local function has_library() return require("luasight.ffi.curl").is_there() and require("luasight.ffi.digest").is_there() end

---Downloads those of the named files that the cache does not have for the commit.
local function fetch(repository, commit, names)
  local folder, missing = repository:snapshot(commit), {}
  for _, name in ipairs(names) do
    if not exists(folder .. "/" .. name) then missing[#missing + 1] = name end
  end
  if #missing == 0 then return end
  local server = require "luasight.lm.hub.server"
  require("luasight.lm.hub.download").fetch(repository, commit, server.describe(repository.id, commit, missing))
end

---Returns the folder of a model of the hub, after downloading the files of the wanted parts that the folder does not have.
---Where the hub cannot be reached, the files that the cache has of the revision are used, as in Python.
---@param id string
---@param want luasight.hub.Want
---@param revision string?  a branch, a tag or a commit; "main" by default
---@return string
function hub.folder(id, want, revision)
  local repository = cache.repository(id, check_revision(revision))
  if cache.is_offline() then return cached(repository, want, offline) end
  local commit = repository:commit()
  if commit == repository.revision and is_whole(repository:snapshot(commit), want) then return repository:snapshot(commit) end
  if not has_library() then return cached(repository, want, no_library) end
  local server = require "luasight.lm.hub.server"
  local there = commit and is_whole(repository:snapshot(commit), want) and repository:snapshot(commit)
  local names
  commit, names = server.listing(id, repository.revision, not there)
  if not commit then
    if there then return there end
    server.fail(names, "model " .. quoted(id))
  end
  local function has(name) return names[name] ~= nil end
  local wanted, index = needed(want, has)
  fetch(repository, commit, wanted)
  if index then
    local path = repository:snapshot(commit) .. "/" .. index
    local pieces = pieces_of(path)
    for _, name in ipairs(pieces) do
      if not has(name) then
        binding.raise("format", ("%s: the index lists the weight file %s, which the model %s does not have"):format(path,
          quoted(name), quoted(id)))
      end
    end
    fetch(repository, commit, pieces)
  end
  repository:note(commit)
  return repository:snapshot(commit)
end

---Returns the folder of the model that the user named: an existing folder of that name, else the folder of the hub's model with
---that name.
---@param name string
---@param want luasight.hub.Want
---@param revision string?
---@return string
function hub.locate(name, want, revision)
  local is_folder = type(name) ~= "string" or exists(name .. "/.") or not hub.is_id(name)
  if not is_folder then
    local ok, result = pcall(hub.folder, name, want, revision)
    if ok then return result end
    if failure.is(result) then
      result.hint = "there is no folder of that name here" .. (result.hint and "; " .. result.hint or "")
    end
    error(result, 0)
  end
  if revision ~= nil then
    binding.raise("argument", ("the option revision is for models of the hub, but %s is %s"):format(quoted(name),
      type(name) == "string" and exists(name .. "/.") and "a folder" or "not the name of a model"))
  end
  return name
end

return hub
