--- Files of tensors: reads and writes safetensors, and reads what torch.save writes. A file is mapped into memory, not
--- copied: loading costs no memory until a tensor is used, and changes of a tensor in place do not reach the file.
local binding = require "luasight.ffi"
local failure = require "luasight.base.error"
local near = require "luasight.base.near"
local nodes = require "luasight.ffi.nodes"
local options_of = require "luasight.base.options"
local tensors_of = require "luasight.ffi.tensors"
local weights = require "luasight.ffi.weights"
local cjson = require "cjson"

---@class luasight.safetensors
local safetensors = {}

local quoted = failure.quoted
safetensors.quoted = quoted

---@class luasight.safetensors.File
---@field path string
---@field private _core ffi.cdata*?  nil once the file is released
local File = {}
File.__index = File

local function core_of(file)
  if not file._core then binding.raise("state", file.path .. ": the file has been released") end
  return file._core
end

---Returns the number of the tensor called `name`; raises an error with the nearest names where there is none.
local function find(file, name)
  local core = core_of(file)
  if type(name) ~= "string" then
    binding.raise("argument", "the name of a tensor is a string, not a " .. type(name))
  end
  local i = weights.find(core, name)
  if not i then
    binding.raise("name", ("%s: there is no tensor %s%s"):format(file.path, quoted(name),
      near.text(name, file:keys())))
  end
  return core, i
end

---Returns the names of all tensors, in the order of the file; for a file of PyTorch, the names in its outermost dict.
---@return string[]
function File:keys()
  local core = core_of(self)
  local names = {}
  for i = 0, weights.count(core) - 1 do names[i + 1] = weights.name(core, i) end
  return names
end

---Returns whether there is a tensor called `name`.
---@param name string
---@return boolean
function File:has(name)
  local core = core_of(self)
  return type(name) == "string" and weights.find(core, name) ~= nil
end

---Returns the tensor called `name`, a view of the file.
---@param name string
---@return luasight.Tensor
function File:get(name)
  return weights.tensor(find(self, name))
end

---Frees the memory of a tensor that nothing uses any more; changes made to the tensor are lost.
---@param name string
function File:forget(name)
  weights.forget(find(self, name))
end

---Returns what the header says about the tensor called `name`; `shape` is a list that counts from 0, like `x.shape`.
---@param name string
---@return { dtype: string, shape: luasight.Sequence, bytes: integer }
function File:describe(name) return weights.describe(find(self, name)) end

---What makes Lua tables of the content of a file of PyTorch.
local function visitor_of(file)
  local made = {} -- one handle for each tensor, wherever it stands
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
          binding.raise("format", ("%s: a dict has a key that is neither text nor number nor boolean"):format(file.path))
        end
        result[key] = elements[i + 1]
      end
      return result
    end,
  }
end

---Returns the content of a file of PyTorch in the form of torch.load; nil for safetensors.
---@return any
function File:content() return weights.content(core_of(self), visitor_of(self)) end

---Returns the texts that were stored beside the tensors.
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

---Opens a file: reads and checks its header; the tensors are read when they are used.
---@param path string
---@return luasight.safetensors.File
function safetensors.open(path)
  check_path(path)
  return setmetatable({ path = path, _core = weights.open(path) }, File)
end

---Returns all tensors of a file by name.
---@param path string
---@return table<string, luasight.Tensor>
function safetensors.load(path)
  local file = safetensors.open(path)
  local core, tensors = file._core, {}
  for i = 0, weights.count(core) - 1 do tensors[weights.name(core, i)] = weights.tensor(core, i) end
  file:release()
  return tensors
end

-- ---- writing --------------------------------------------------------------------------------------------------------

---Returns a tensor in the form that files have: on the CPU, contiguous, with conjugation and sign applied.
local function plain(name, t)
  if nodes.is_node(t) then t = t.value end
  if not tensors_of.is_tensor(t) then
    binding.raise("argument", ("the value of %s is not a tensor but a %s"):format(quoted(name), type(t)))
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

---Writes tensors by name. The file appears as a whole or not at all. An existing file is replaced, not overwritten, so that
---tensors loaded from it do not change.
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
