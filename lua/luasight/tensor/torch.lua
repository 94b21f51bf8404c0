--- `ls.torch`: makes tensors from Lua numbers, and has every operator of libtorch by name.
local binding = require "luasight.ffi"
local constants = require "luasight.ffi.constants"
local libtorch = require "luasight.ffi.torch"
local nodes = require "luasight.ffi.nodes"
local operators = require "luasight.tensor.operators"
local length_of = require "luasight.base.list".length
local options_of = require "luasight.base.options"
local tensor = require "luasight.tensor"
local recording = require "luasight.ffi.recording"
local tensors = require "luasight.ffi.tensors"
local values = require "luasight.tensor.values"

local NONE, TENSOR, NODE = constants.LS_NONE, constants.LS_TENSOR, constants.LS_NODE
local BEYOND = 2ULL ^ 63 -- above the largest number of int64

---@class luasight.torch
---@field [string] fun(...): any  every operator of libtorch
local torch = {}

-- ---- tensors from lists ----------------------------------------------------------------------------------------------

local function place_text(place)
  local parts = {}
  for i, at in ipairs(place) do parts[i] = ("[%d]"):format(at) end
  return table.concat(parts)
end

local function refuse(message, place, hint)
  binding.raise("shape", ("torch.tensor cannot make a tensor of the lists: %s%s"):format(
    message, #place > 0 and " at " .. place_text(place) or ""), { hint = hint })
end

---Walks nested lists, checks that they have equal lengths, and collects the lengths in `shape` and the numbers in `flat`.
local function flatten(v, shape, axis, flat, place)
  if type(v) ~= "table" then
    if axis <= #shape or shape.closed and axis ~= shape.closed then
      if axis <= #shape then refuse("there is a value where a list is expected", place) end
      refuse("the lists are nested to different depths", place)
    end
    shape.closed = axis
    flat[#flat + 1] = v
    return
  end
  if shape.closed and axis >= shape.closed then refuse("there is a list where a value is expected", place) end
  local n, wrong, name = length_of(v)
  if name then refuse("a table with names is not a list", place) end
  if wrong then refuse(wrong, place) end
  if shape[axis] == nil then
    shape[axis] = n
  elseif shape[axis] ~= n then
    refuse(("there is a list of %d elements among lists of %d"):format(n, shape[axis]), place)
  end
  for i = 1, n do
    place[#place + 1] = i
    flatten(v[i], shape, axis + 1, flat, place)
    place[#place] = nil
  end
end

---Returns the kind of the numbers of a list: "boolean", "number", or "int64" where 64-bit integers are among whole numbers.
local function kind_of(flat, dtype)
  local kind
  local fractions = false
  for i = 1, #flat do
    local v = flat[i]
    local this = type(v)
    if this == "number" and v % 1 ~= 0 then fractions = true end
    if this == "cdata" and (tensors.is_int64(v) or tensors.is_uint64(v)) then
      if tensors.is_uint64(v) and v >= BEYOND and dtype ~= "uint64" then
        binding.raise("argument", ("torch.tensor: element %d is %s, above 2^63 - 1: %s cannot hold it"):format(i, tostring(v),
          dtype or "int64"), { hint = 'torch.tensor(list, { dtype = "uint64" }) can' })
      end
      this = "int64"
    elseif this ~= "number" and this ~= "boolean" then
      local hint = tensor.is_handle(v) and "torch.stack joins tensors" or nil
      binding.raise("argument", ("torch.tensor: element %d is a %s, not a number or a boolean"):format(i,
        hint and "tensor" or this), { hint = hint })
    end
    if kind and this ~= kind and (this == "boolean" or kind == "boolean") then
      binding.raise("argument", "torch.tensor: the list has both booleans and numbers")
    end
    if kind ~= "int64" then kind = this end
  end
  return kind == "int64" and fractions and "number" or kind or "number"
end

local storage = {
  number = { from = "float64", dtype = "float32" },
  int64 = { from = "int64", dtype = "int64" },
  boolean = { from = "bool", dtype = "bool" },
}

local kinds = { dtype = "string", device = "string", requires_grad = "boolean" }

---Makes a tensor from nested lists, or from one number: float32 by default, bool for booleans, int64 for 64-bit cdata.
---@param numbers any
---@param options { dtype: string?, device: string?, requires_grad: boolean? }?
---@return ffi.cdata*
function torch.tensor(numbers, options)
  options = options_of.read("torch.tensor", options, kinds)
  if type(numbers) == "nil" then binding.raise("argument", "torch.tensor needs a number or a list, not nil") end
  local out
  if tensor.is_handle(numbers) then
    out = numbers:detach():clone()
    if options.dtype or options.device then out = out:to { dtype = options.dtype, device = options.device } end
  else
    local flat, shape = {}, {}
    flatten(numbers, shape, 1, flat, {})
    local as = storage[kind_of(flat, options.dtype)]
    out = tensors.of_numbers(flat, as.from, shape, options.dtype or as.dtype, options.device or "cpu")
    if recording.current() then out = out:clone() end -- a node: each run of the forward has a tensor of its own
  end
  if options.requires_grad then out:requires_grad_(true) end
  return out
end

---Returns whether a value is a tensor. A proxy whose kind is not known yet makes the model run up to it.
---@param v any
---@return boolean
function torch.is_tensor(v)
  if not tensor.is_handle(v) or v._kind ~= NODE then return tensor.is_handle(v) and v._kind == TENSOR end
  local kind = nodes.is_open(v) and nodes.kind(v) or NONE
  if kind ~= NONE then return kind == TENSOR end
  if nodes.is_forward(v) then recording.refuse "torch.is_tensor cannot be asked of an argument" end
  v = values.resolve(v)
  return tensor.is_handle(v) and v._kind == TENSOR
end

-- ---- files -----------------------------------------------------------------------------------------------------------

---Loads what torch.save wrote: tables of tensors that are views of the file. A dict becomes a table by its keys, a list or
---tuple a table from 1, None becomes nil. Any other Python object is refused by name: no code in a file can run.
---@param path string
---@return any
function torch.load(path)
  local file = require "luasight.files.safetensors".open(path)
  local content = file:content()
  file:release()
  if content == nil then
    binding.raise("format", path .. ": torch.save did not write this file, or the file holds only None",
      { hint = "ls.safetensors.load reads safetensors" })
  end
  return content
end

-- ---- settings --------------------------------------------------------------------------------------------------------

local function is_seed(v)
  if type(v) == "number" then return v % 1 == 0 and v >= -2 ^ 63 and v < 2 ^ 63 end
  return type(v) == "cdata" and tensors.is_whole(v)
end

---Restarts the random numbers from a seed.
---@param seed integer
function torch.manual_seed(seed)
  recording.refuse "random numbers cannot be seeded"
  libtorch.seed(options_of.value("torch.manual_seed", "the seed", seed, { "a whole number from -2^63 to 2^63 - 1", is_seed }))
end

---@return integer
function torch.get_num_threads() return libtorch.threads() end

---@param n integer
function torch.set_num_threads(n)
  libtorch.set_threads(options_of.value("torch.set_num_threads", "the number", n, options_of.count))
end

---@return boolean
function torch.is_grad_enabled()
  recording.refuse "is_grad_enabled cannot be asked"
  return binding.records_autograd()
end

---Runs a function while autograd records nothing; what a body or a forward records meanwhile will run so too. If the function's
---coroutine yields, autograd records as usual until the coroutine is resumed.
---@param f fun(...): ...
---@param ... any  the arguments of f
---@return any ...
function torch.no_grad(f, ...) return recording.with_autograd(0, f, ...) end

---Runs a function while autograd records, even inside `no_grad`.
---@param f fun(...): ...
---@param ... any  the arguments of f
---@return any ...
function torch.enable_grad(f, ...) return recording.with_autograd(1, f, ...) end

---Returns the number of devices of a kind.
---@param kind string  such as "cuda"
---@return integer
function torch.device_count(kind)
  return libtorch.devices(options_of.value("torch.device_count", "the kind", kind, "string"))
end

return setmetatable(torch, {
  __index = function(_, name)
    local f = operators.get_function(name)
    if f then return f end
    operators.get(name) -- there is no such operator: raises an error that suggests similar names
  end,
})
