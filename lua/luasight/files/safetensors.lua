--- Files of tensors: reads and writes safetensors, and reads what torch.save writes. A file is mapped into memory, not
--- copied: loading costs no memory until a tensor is used, and changes of a tensor in place do not reach the file.
local binding = require "luasight.ffi"
local failure = require "luasight.base.error"
local near = require "luasight.base.near"
local nodes = require "luasight.ffi.nodes"
local options_of = require "luasight.base.options"
local sequences = require "luasight.ffi.sequences"
local tensors_of = require "luasight.ffi.tensors"
local weights = require "luasight.ffi.weights"
local cjson = require "cjson"

---@class luasight.safetensors
local safetensors = {}

local quoted = failure.quoted
safetensors.quoted = quoted

---@class luasight.safetensors.File  an open file of tensors
---@field path string
---@field private _core ffi.cdata*?  the file in the core; nil once the file is released
---@field private _entries table<string, luasight.WeightsEntry>  by name, the entries that were read so far
local File = {}
File.__index = File

local function core_of(file)
  if not file._core then binding.raise("state", file.path .. ": this file of tensors has been released") end
  return file._core
end

-- Returns what the file says about tensor number i, and keeps this table for later questions about the tensor.
local function entry_at(file, i)
  local entry = weights.describe(file._core, i)
  file._entries[entry.name] = entry
  return entry
end

local function entry_of(file, name)
  local core, known = core_of(file), file._entries[name]
  if known or type(name) ~= "string" then return known end
  local i = weights.find(core, name)
  return i and entry_at(file, i)
end

---Returns what the file says about the tensor called `name`; where the file has no such tensor, raises an error with the
---nearest names.
---@param name string
---@return luasight.WeightsEntry
function File:_entry(name)
  local entry = entry_of(self, name)
  if entry then return entry end
  if type(name) ~= "string" then
    binding.raise("argument", "the name of a tensor is a string, not a " .. type(name))
  end
  binding.raise("name", ("%s: the file has no tensor %s%s"):format(self.path, quoted(name), near.text(name, self:keys())))
end

---Returns the names of all tensors in the order of the file; for a file of torch.save, the names in its outermost dict.
---@return string[]
function File:keys()
  local core = core_of(self)
  local names = {}
  for i = 0, weights.count(core) - 1 do names[i + 1] = entry_at(self, i).name end
  return names
end

---Returns whether the file has a tensor called `name`.
---@param name string
---@return boolean
function File:has(name) return entry_of(self, name) ~= nil end

---Returns the tensor called `name`, which is a view of the file's memory.
---@param name string
---@return luasight.Tensor
function File:get(name)
  local number = self:_entry(name).number
  return weights.tensor(self._core, number)
end

---Frees the memory of a tensor that nothing uses any more; changes made to the tensor are lost.
---@param name string
function File:forget(name)
  local number = self:_entry(name).number
  weights.forget(self._core, number)
end

---Returns what the file says about the tensor called `name`; `shape` is a list that counts from 0, like `x.shape`.
---@param name string
---@return { dtype: string, shape: luasight.Sequence, bytes: integer }
function File:describe(name)
  local entry = self:_entry(name)
  return { dtype = entry.dtype, shape = sequences.list(unpack(entry.shape)), bytes = entry.bytes }
end

---Returns the functions that make Lua tables from the content of a file of torch.save.
local function visitor_of(file)
  local made = {} -- number of a tensor -> its handle; places of the file that share a tensor get one handle
  return {
    tensor = function(number)
      made[number] = made[number] or weights.tensor(core_of(file), number)
      return made[number]
    end,
    list = function(elements) return elements end,
    dict = function(elements, n)
      local result = {}
      for i = 1, n, 2 do
        local key = elements[i]
        if type(key) ~= "string" and type(key) ~= "number" and type(key) ~= "boolean" then
          binding.raise("format", ("%s: the file has a dict with a key that is neither text nor number nor boolean"):format(
            file.path))
        end
        result[key] = elements[i + 1]
      end
      return result
    end,
  }
end

---Returns the content of a file of torch.save in the form in which `torch.load` returns it; nil for a file of safetensors.
---@return any
function File:content() return weights.content(core_of(self), visitor_of(self)) end

---Returns the texts that the file has beside its tensors, by name.
---@return table<string, string>
function File:metadata()
  return cjson.decode(weights.metadata(core_of(self)))
end

---Closes the file; tensors taken from it stay valid.
function File:release()
  local core = self._core
  if not core then return end
  self._core = nil
  weights.release(core)
end

function File:__tostring()
  if not self._core then return ("safetensors.File(%s, released)"):format(self.path) end
  return ("safetensors.File(%s, %d tensors)"):format(self.path, weights.count(self._core))
end

local function check_path(path)
  if type(path) ~= "string" then
    binding.raise("argument", "the path of a file is a string, not a " .. type(path))
  elseif path == "" or path:find("%z") then
    binding.raise("argument", quoted(path) .. " is not the path of a file")
  end
end

---Opens a file of tensors: reads and checks its header; the tensors are read when they are used.
---@param path string
---@return luasight.safetensors.File
function safetensors.open(path)
  check_path(path)
  return setmetatable({ path = path, _core = weights.open(path), _entries = {} }, File)
end

---Returns all tensors of a file by name.
---@param path string
---@return table<string, luasight.Tensor>
function safetensors.load(path)
  local file = safetensors.open(path)
  local core, tensors = file._core, {}
  for i = 0, weights.count(core) - 1 do tensors[entry_at(file, i).name] = weights.tensor(core, i) end
  file:release()
  return tensors
end

-- ---- writing --------------------------------------------------------------------------------------------------------

---Returns a tensor in the form in which it can be written to a file: on the CPU, contiguous, and with a conjugation or
---negation that libtorch has postponed applied to the numbers.
local function plain(name, t)
  if nodes.is_node(t) then t = t.value end
  if not tensors_of.is_tensor(t) then
    binding.raise("argument", ("safetensors.save: the value of %s is not a tensor but a %s"):format(quoted(name), type(t)))
  end
  t = tensors_of.plain(t:detach())
  if tensors_of.device(t) ~= "cpu" then t = t:to { device = "cpu" } end
  return t:contiguous()
end

local function metadata_text(metadata)
  if metadata == nil then return nil end
  if type(metadata) ~= "table" then
    binding.raise("argument", "the option metadata is a table of texts, not a " .. type(metadata))
  end
  for key, value in pairs(metadata) do
    if type(key) ~= "string" or type(value) ~= "string" then
      binding.raise("argument", ("the metadata %s is a %s, but names and values of metadata are texts"):format(quoted(key),
        type(key) ~= "string" and type(key) or type(value)), { hint = "use tostring(value)" })
    end
  end
  return cjson.encode(metadata)
end

local texts_hint = { hint = "texts to store beside the tensors go into { metadata = { ... } }" }

---Writes tensors by name to a file, which appears as a whole or not at all. An existing file is replaced, not overwritten, so
---that tensors loaded from the old file do not change.
---@param path string
---@param tensors table<string, luasight.Tensor>
---@param options? { metadata: table<string, string>? }
function safetensors.save(path, tensors, options)
  check_path(path)
  options = options_of.read("safetensors.save", options, { metadata = true }, texts_hint)
  if type(tensors) ~= "table" then
    binding.raise("argument", "safetensors.save takes a table of tensors by name, not a " .. type(tensors))
  end
  local metadata = metadata_text(options.metadata)
  local names, kept = {}, {} -- `kept` holds the converted tensors until they are written
  for name, t in pairs(tensors) do
    if type(name) ~= "string" or name:find("%z") then
      binding.raise("argument", quoted(name) .. " cannot be the name of a tensor")
    end
    names[#names + 1] = name
    kept[#kept + 1] = plain(name, t)
  end
  weights.write(path, names, kept, metadata)
end

return safetensors
