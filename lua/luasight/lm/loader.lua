--- Makes a network from a model's folder in Hugging Face's layout: from its configuration, the architecture and the weights.
--- The weights are views of the mapped file: nothing is copied, and the system reads a page of the file when a run first needs
--- its numbers.
local checkpoint = require "luasight.files.checkpoint"
local failure = require "luasight.base.error"
local models = require "luasight.models"
local near = require "luasight.base.near"
local nn = require "luasight.nn"
local pieces = require "luasight.lm.weight_source"
local progress = require "luasight.base.progress"
local state = require "luasight.nn.state"
local tensors = require "luasight.ffi.tensors"
local torch = require "luasight.tensor.torch"

local loader = {}

---Calls `f` and returns its result; an error that `f` raises gets the name of the file `path` in front.
local function about(path, f, ...)
  local ok, result = pcall(f, ...)
  if ok then return result end
  if failure.is(result) then result.message = ("%s: %s"):format(path, result.message) end
  error(result, 0)
end

-- ---- the place of each tensor ----------------------------------------------------------------------------------------

local floats = { float32 = true, float16 = true, bfloat16 = true, float64 = true } -- dtypes with which libtorch computes

---Returns a table that maps the path of each parameter to the tensor or tensors of the checkpoint with the parameter's numbers.
---@return table<string, luasight.Source>
local function places(weights, architecture)
  local found = {}
  local function twice(path, name)
    failure.raise("format", ("%s: the weights have two tensors for one parameter: %s and %s"):format(weights.folder,
      found[path].name, name))
  end
  for _, name in ipairs(weights:keys()) do
    local path, expert, part = architecture.place(name)
    local known = path and found[path]
    if expert then
      if not known then found[path] = pieces.new(weights)
      elseif not known:is_grid() then twice(path, name) end
      if not found[path]:add(name, expert, part) then twice(path, name) end
    elseif path then
      if known then twice(path, name) end
      found[path] = pieces.whole(weights, name)
    end
  end
  return found
end

---Returns whether two parameters that the configuration ties share one tensor. They do unless the file has different numbers
---for them. Where the file stores the numbers only once, as PyTorch's files can, no numbers are compared.
local function is_tied(found, parameter, base)
  local a, b = found[parameter], found[base]
  if not a or not b then return true end
  if not pieces.same(a:describe().shape, b:describe().shape) then return false end
  local x, y = a:get(), b:get()
  return tensors.address(x) == tensors.address(y) or torch.equal(x, y)
end

local function first_of(names, total)
  table.sort(names)
  local shown = {}
  for i = 1, math.min(3, #names) do shown[i] = names[i] end
  return table.concat(shown, ", ") .. (#names > 3 and (", ... (%d of %d)"):format(#names, total) or "")
end

local function shape_text(shape) return ("[%s]"):format(table.concat(shape, ", ")) end

---Compares the tensors of the checkpoint with the parameters of the network; raises one error for all differences, in PyTorch's
---words. The error's fields `missing_keys`, `unexpected_keys` and `mismatched_keys` list all names.
local function check(weights, found, wanted, tied, dtype)
  local missing, unexpected, mismatched, problems, total = {}, {}, {}, {}, 0
  for path, shape in pairs(wanted) do
    total = total + 1
    local source = found[path]
    if not source then
      if not tied[path] then missing[#missing + 1] = path end
    else
      local there = source:describe()
      local is_small = there.dtype:find "^float8_" -- a dtype with which libtorch does not compute
      if not pieces.same(there.shape, shape) then
        mismatched[#mismatched + 1] = path
        problems[#problems + 1] = ("size mismatch for %s: %s in the file, %s asked for by config.json"):format(source.name,
          shape_text(there.shape), shape_text(shape))
      elseif is_small and not dtype then
        problems[#problems + 1] = ('%s holds %s, in which libtorch does not compute: load it with { dtype = "bfloat16" }')
          :format(source.name, there.dtype)
      elseif not floats[there.dtype] and not is_small then
        problems[#problems + 1] = ("%s holds %s, not floating-point numbers"):format(source.name, there.dtype)
      end
    end
  end
  table.sort(problems)
  local count = #problems
  if count > 1 then problems = { problems[1], ("the same is true of %d more"):format(count - 1) } end
  for path, source in pairs(found) do
    if not wanted[path] then unexpected[#unexpected + 1] = source.name end
  end
  if #missing > 0 then table.insert(problems, 1, "missing keys: " .. first_of(missing, total)) end
  if #unexpected > 0 then problems[#problems + 1] = "unexpected keys: " .. first_of(unexpected, total) end
  if #problems > 0 then
    table.sort(mismatched)
    failure.raise("format", ("%s: the weights do not fit config.json: %s"):format(weights.folder,
      table.concat(problems, "; ")), { hint = "take config.json and weights from the same place",
      missing_keys = missing, unexpected_keys = unexpected, mismatched_keys = mismatched })
  end
end

-- ---- devices and dtypes ----------------------------------------------------------------------------------------------

local dtypes = { "float32", "float16", "bfloat16", "float64" }

---Checks the option device and returns the device: "auto" becomes "cuda" where there is a CUDA device, else "cpu".
---@param device string?
---@return string
function loader.device(device)
  if device == nil then return "cpu" end
  local number = type(device) == "string" and device:match "^cuda:?(%d*)$"
  if device == "auto" then return torch.device_count("cuda") > 0 and "cuda" or "cpu" end
  if device == "cpu" or device == "meta" then return device end
  if not number then
    failure.raise("argument", ("there is no device %q"):format(tostring(device)),
      { hint = 'devices are "auto", "cpu", "cuda", "cuda:1", and "meta" for shapes alone' })
  end
  local count = torch.device_count("cuda")
  if (tonumber(number) or 0) >= count then
    failure.raise("argument", ("there is no device %q: %s"):format(device, count == 0 and
      "this machine, or this libtorch, has no CUDA" or ("the last one is cuda:%d"):format(count - 1)),
      { hint = '"auto" uses CUDA only where there is some' })
  end
  return device
end

---Checks the option dtype and returns the dtype; nil for that of the weights in the file.
---@param dtype string?  nil and "auto" mean the dtype of the weights in the file
---@return string?
function loader.dtype(dtype)
  if dtype == nil or dtype == "auto" then return nil end
  for _, known in ipairs(dtypes) do
    if known == dtype then return dtype end
  end
  failure.raise("name", ("weights cannot have the dtype %q%s"):format(tostring(dtype), near.text(tostring(dtype), dtypes)),
    { hint = table.concat(dtypes, ", ") })
end

-- ---- loading ---------------------------------------------------------------------------------------------------------

---Sets the weights of a folder as the parameters of a network whose parameters have no memory yet; returns where each
---parameter's numbers are in the checkpoint.
local function fill(net, folder, architecture, device, dtype)
  local weights = checkpoint.read(folder)
  local found, tied = places(weights, architecture), {}
  if net.config.tie_word_embeddings then
    for parameter, base in pairs(architecture.tied) do
      if is_tied(found, parameter, base) then
        found[base], found[parameter] = found[base] or found[parameter], nil
        tied[parameter] = base
      else
        net.config.tie_word_embeddings = false -- the file has different numbers for the two parameters
      end
    end
  end
  local wanted = {}
  for name, t in net:named_state { keep_vars = true } do wanted[name] = tensors.sizes(t) end
  check(weights, found, wanted, tied, dtype)
  local given, kept, total = {}, {}, 0
  local keeps = architecture.keeps_float32 or function() return false end
  for _ in pairs(found) do total = total + 1 end
  for place, source in progress(next, found, nil, { total = total, label = "loading", after = 1 }) do
    local t = source:get()
    local into = dtype
    if (dtype or t.dtype) == "float16" and keeps(place) then
      into = "float32"
      kept[place] = true
    end
    given[place] = (into or device ~= "cpu") and t:to { dtype = into, device = device } or t
  end
  for parameter, base in pairs(tied) do given[parameter] = given[base] end
  state.put(net, given)
  if next(tied) then net:tie_weights() end
  if dtype or device ~= "cpu" then net:to { dtype = dtype, device = device } end
  for place in pairs(kept) do kept[place] = given[place] end -- `to` has converted these too
  state.put(net, kept)
  return found
end

---Returns the network of a model's folder, in evaluation mode; its parameters get no gradients until requires_grad_(true).
---@param folder string
---@param options? { device: string?, dtype: string? }  with the device "meta" the parameters have only shapes,
---  from config.json, and no weights are read
---@return table  # an nn.Module; `config` is the content of config.json under the family's names for the fields, `config_file`
---  that content as it stands in the file, and `generation_config` that of generation_config.json where the folder has one
---@return fun(path: string)  # frees the memory of a parameter's numbers in the mapped file
function loader.open(folder, options)
  options = options or {}
  local device, dtype = loader.device(options.device), loader.dtype(options.dtype)
  local config, path = checkpoint.config(folder), folder .. "/config.json"
  local architecture = about(path, models.find, config.model_type, config.architectures)
  local net = nn.skip_init(function() return about(path, architecture.new, config) end)
  local found = {}
  if device == "meta" then
    net:to { dtype = dtype or about(path, loader.dtype, config.dtype or config.torch_dtype), device = device }
  else
    found = fill(net, folder, architecture, device, dtype)
  end
  net:eval()
  net:requires_grad_(false)
  net.generation_config, net.config_file = checkpoint.generation_config(folder), config
  return net, function(place)
    if found[place] then found[place]:forget() end
  end
end

---Returns the network of a model's folder, which is the first result of `loader.open`.
---@param folder string
---@param options? { device: string?, dtype: string? }
---@return table  # an nn.Module, as from `loader.open`
function loader.network(folder, options) return (loader.open(folder, options)) end

return loader
