--- Files of tensors: safetensors, to read and to write, and what torch.save writes, to read. What is read is mapped, not
--- copied: loading costs no memory until a tensor is used, and a tensor changed in place never reaches the file.
local binding = require "luasight.ffi"
local failure = require "luasight.base.error"
local near = require "luasight.base.near"
local options_of = require "luasight.base.options"
local cjson = require "cjson"

local C, ffi, ref_t = binding.C, binding.ffi, binding.ref_t

---@class luasight.safetensors
local safetensors = {}

local quoted = failure.quoted
safetensors.quoted = quoted

---@class luasight.safetensors.File
---@field path string
---@field private _core ffi.cdata*?  nil once released
local File = {}
File.__index = File

local function core_of(file)
  if not file._core then binding.raise("state", file.path .. ": the file has been released") end
  return file._core
end

---The number of the tensor called `name`; raises with the nearest names where there is none.
local function find(file, name)
  local core = core_of(file)
  if type(name) ~= "string" then
    binding.raise("argument", "the name of a tensor is a string, not a " .. type(name))
  end
  local i = not name:find("%z") and C.ls_weights_find(core, name) or -1
  if i < 0 then
    binding.raise("name", ("%s: there is no tensor %s%s"):format(file.path, quoted(name),
      near.text(name, file:keys())))
  end
  return core, i
end

local function describe(core, i)
  local entry = ffi.new("ls_weights_entry")
  binding.check(C.ls_weights_describe(core, i, entry))
  return entry
end

local function tensor_at(core, i)
  local out = binding.new_ref()
  binding.check(C.ls_weights_tensor(core, i, out.v))
  return out -- not settled: what is mapped is no debt to the collector
end

---The names of all tensors, in the order of the file; of a file of PyTorch those in the dict at its top.
---@return string[]
function File:keys()
  local core = core_of(self)
  local names = {}
  for i = 0, C.ls_weights_count(core) - 1 do names[i + 1] = ffi.string(describe(core, i).name) end
  return names
end

---Whether there is a tensor called `name`.
---@param name string
---@return boolean
function File:has(name)
  local core = core_of(self)
  return type(name) == "string" and not name:find("%z") and C.ls_weights_find(core, name) >= 0
end

---The tensor called `name`: a view of the file.
---@param name string
---@return luasight.Tensor
function File:get(name)
  local core, i = find(self, name)
  return tensor_at(core, i)
end

---The memory of a tensor that nobody uses any more; changes made to it are lost.
---@param name string
function File:forget(name)
  local core, i = find(self, name)
  C.ls_weights_forget(core, i)
end

---What the header says of the tensor called `name`; `shape` is a list that counts from 0, as `x.shape`.
---@param name string
---@return { dtype: string, shape: luasight.Sequence, bytes: integer }
function File:describe(name)
  local core, i = find(self, name)
  local entry = describe(core, i)
  local stream = ffi.new("ls_value[?]", entry.dims + 1)
  stream[0].kind, stream[0].aux, stream[0].as.i = C.LS_OPEN, C.LS_LIST, entry.dims
  for k = 0, entry.dims - 1 do stream[k + 1].kind, stream[k + 1].as.i = C.LS_INT, entry.shape[k] end
  local shape = binding.new_ref()
  binding.check(C.ls_value_build(stream, entry.dims + 1, shape.v))
  return { dtype = ffi.string(entry.dtype), shape = shape, bytes = tonumber(entry.bytes) }
end

-- A value of the stream of ls_weights_content, and the place behind it.
local function content_at(file, stream, i, tensors)
  local v = stream[i]
  local kind = tonumber(v.kind)
  if kind == C.LS_OPEN then
    local result, count = {}, tonumber(v.as.i)
    local is_dict = v.aux == C.LS_STRUCT
    local key, element
    i = i + 1
    for n = 1, count do
      element, i = content_at(file, stream, i, tensors)
      if not is_dict then result[n] = element
      elseif n % 2 == 1 then key = element
      elseif type(key) == "string" or type(key) == "number" or type(key) == "boolean" then result[key] = element
      else
        binding.raise("format", ("%s: a dict has a key that is neither text nor number nor boolean"):format(file.path))
      end
    end
    return result, i
  elseif kind == C.LS_TENSOR then
    local number = tonumber(v.as.i)
    tensors[number] = tensors[number] or tensor_at(core_of(file), number)
    return tensors[number], i + 1
  end
  local plain = binding.new_ref()
  plain.v = v
  return binding.settle(plain), i + 1
end

---All that is in a file of PyTorch, as torch.load gives it; nil for safetensors.
--- any
function File:content()
  local stream = ffi.new "const ls_value *[1]"
  if C.ls_weights_content(core_of(self), stream) == 0 then return nil end
  return (content_at(self, stream[0], 0, {}))
end

---The texts that were stored beside the tensors.
---@return table<string, string>
function File:metadata()
  return cjson.decode(ffi.string(C.ls_weights_metadata(core_of(self))))
end

---Lets go of the file; tensors taken from it stay valid.
function File:release()
  local core = self._core
  if not core then return end
  self._core = nil
  C.ls_weights_release(ffi.gc(core, nil))
end

function File:__tostring()
  if not self._core then return ("safetensors.File(%s, released)"):format(self.path) end
  return ("safetensors.File(%s, %d tensors)"):format(self.path, C.ls_weights_count(self._core))
end

local function check_path(path)
  if type(path) ~= "string" then
    binding.raise("argument", "the path of a file is a string, not a " .. type(path))
  elseif path == "" or path:find("%z") then
    binding.raise("argument", quoted(path) .. " is not the path of a file")
  end
end

---Opens a file: its header is read and checked, its tensors are there on demand.
---@param path string
---@return luasight.safetensors.File
function safetensors.open(path)
  check_path(path)
  local out = ffi.new("ls_weights *[1]")
  binding.check(C.ls_weights_open(path, out))
  return setmetatable({ path = path, _core = ffi.gc(out[0], C.ls_weights_release) }, File)
end

---All tensors of a file by name.
---@param path string
---@return table<string, luasight.Tensor>
function safetensors.load(path)
  local file = safetensors.open(path)
  local core, tensors = file._core, {}
  for i = 0, C.ls_weights_count(core) - 1 do
    local name = ffi.string(describe(core, i).name)
    tensors[name] = tensor_at(core, i)
  end
  file:release()
  return tensors
end

-- ---- writing --------------------------------------------------------------------------------------------------------

---The tensor as the file wants it: on the CPU, contiguous, with no conjugation or sign left to be applied.
local function plain(name, t)
  if ffi.istype(ref_t, t) and t.v.kind == C.LS_NODE then t = t.value end
  if not ffi.istype(ref_t, t) or t.v.kind ~= C.LS_TENSOR then
    binding.raise("argument", ("%s is not a tensor but a %s"):format(quoted(name), type(t)))
  end
  local resolved = binding.new_ref()
  binding.check(C.ls_tensor_plain(t:detach().v, resolved.v))
  t = resolved
  local info = ffi.new("ls_tensor_info")
  binding.check(C.ls_tensor_describe(t.v, info))
  if ffi.string(info.device) ~= "cpu" then t = t:to { device = "cpu" } end
  return t:contiguous()
end

local function metadata_text(metadata)
  if metadata == nil then return nil end
  if type(metadata) ~= "table" then
    binding.raise("argument", "metadata is a table of texts, not a " .. type(metadata))
  end
  for key, value in pairs(metadata) do
    if type(key) ~= "string" or type(value) ~= "string" then
      binding.raise("argument", ("metadata %s is a %s; names and values there are texts"):format(quoted(key),
        type(key) ~= "string" and type(key) or type(value)), { hint = "use tostring(value)" })
    end
  end
  return cjson.encode(metadata)
end

local texts_hint = { hint = "texts to store beside the tensors go into { metadata = { ... } }" }

---Writes tensors by name. The file appears whole or not at all, and one that is there is replaced, not overwritten:
---tensors loaded from it stay as they are.
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
  local names, kept = {}, {} -- `kept` holds the plain tensors until they are written
  for name, t in pairs(tensors) do
    if type(name) ~= "string" or name:find("%z") then
      binding.raise("argument", quoted(name) .. " cannot be the name of a tensor")
    end
    names[#names + 1] = name
    kept[#kept + 1] = plain(name, t)
  end
  local n = #names
  local name_list, values = ffi.new("const char *[?]", n + 1), ffi.new("ls_value[?]", n + 1)
  for i = 1, n do
    name_list[i - 1] = names[i]
    values[i - 1] = kept[i].v
  end
  local status = C.ls_weights_write(path, name_list, values, n, metadata)
  kept[n + 1] = names -- a use behind the call: neither is collected before it
  binding.check(status)
end

return safetensors
