--- Makes a network of a folder in Hugging Face's layout: its configuration, architecture and weights. The weights are views
--- of the mapped file: nothing is copied, and pages are read when a run first needs them.
local checkpoint = require "luasight.files.checkpoint"
local failure = require "luasight.base.error"
local models = require "luasight.models"
local near = require "luasight.base.near"
local nn = require "luasight.nn"
local pieces = require "luasight.lm.weight_source"
local progress = require "luasight.base.progress"
local tensors = require "luasight.ffi.tensors"
local torch = require "luasight.tensor.torch"

local loader = {}

---Calls `f`; an error that it raises gets the name of the file in front.
local function about(path, f, ...)
  local ok, result = pcall(f, ...)
  if ok then return result end
  if failure.is(result) then result.message = ("%s: %s"):format(path, result.message) end
  error(result, 0)
end

-- ---- the place of each tensor ----------------------------------------------------------------------------------------

local floats = { float32 = true, float16 = true, bfloat16 = true, float64 = true } -- dtypes that operators take

---Returns the source of each parameter's numbers by module path.
---@return table<string, luasight.Source>
local function places(weights, architecture)
  local found = {}
  local function twice(path, name)
    failure.raise("format", ("%s: the tensors %s and %s are the same parameter"):format(weights.folder, found[path].name, name))
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

---Returns whether a parameter shares the tensor of another one: the configuration asks for it, and the file does not have
---different numbers for them. Files of PyTorch store shared numbers once, so these are not compared element by element.
local function is_tied(found, parameter, base)
  local a, b = found[parameter], found[base]
  if not a or not b then return true end
  if a:describe().shape ~= b:describe().shape then return false end
  local x, y = a:get(), b:get()
  return tensors.address(x) == tensors.address(y) or torch.equal(x, y)
end

local function first_of(names, total)
  table.sort(names)
  local shown = {}
  for i = 1, math.min(3, #names) do shown[i] = names[i] end
  return table.concat(shown, ", ") .. (#names > 3 and (", ... (%d of %d)"):format(#names, total) or "")
end

---Compares the tensors of the file with the parameters of the network; raises one error for all differences, in PyTorch's
---words. Its fields `missing_keys`, `unexpected_keys` and `mismatched_keys` have all names.
local function check(weights, found, wanted, tied, dtype)
  local missing, unexpected, mismatched, problems, total = {}, {}, {}, {}, 0
  for path, parameter in pairs(wanted) do
    total = total + 1
    local source = found[path]
    if not source then
      if not tied[path] then missing[#missing + 1] = path end
    else
      local there, want = source:describe(), tostring(parameter.shape)
      local is_small = there.dtype:find "^float8_" -- a floating-point dtype for storage alone
      if there.shape ~= want then
        mismatched[#mismatched + 1] = path
        problems[#problems + 1] = ("size mismatch for %s: %s in the file, %s asked for by config.json"):format(source.name,
          there.shape, want)
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

---Returns the device for the option: "auto" is the first CUDA device where there is one.
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

---Returns the dtype for the option, nil for the file's own.
---@param dtype string?  "auto" means the file's own
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

---Sets the folder's weights as the parameters of a network that has no memory yet.
local function fill(net, folder, architecture, device, dtype)
  local weights = checkpoint.read(folder)
  local found, tied = places(weights, architecture), {}
  if net.config.tie_word_embeddings then
    for parameter, base in pairs(architecture.tied) do
      if is_tied(found, parameter, base) then
        found[base], found[parameter] = found[base] or found[parameter], nil
        tied[parameter] = base
      else
        net.config.tie_word_embeddings = false -- two tensors in the file become two parameters
      end
    end
  end
  check(weights, found, net:state_dict(), tied, dtype)
  local state, total = {}, 0
  for _ in pairs(found) do total = total + 1 end
  for place, source in progress(next, found, nil, { total = total, label = "loading", after = 1 }) do
    local t = source:get()
    state[place] = (dtype or device ~= "cpu") and t:to { dtype = dtype, device = device } or t
  end
  for parameter, base in pairs(tied) do state[parameter] = state[base] end
  net:load_state_dict(state, { assign = true })
  if next(tied) then net:tie_weights() end
  return found
end

---Returns the network of a folder, in evaluation mode; its parameters are not trained until requires_grad_(true).
---@param folder string
---@param options? { device: string?, dtype: string? }  with device "meta" only shapes, from config.json; weights are not
---  read
---@return table  # an nn.Module; `config` is the configuration with every field under the family's own name, and
---  `generation_config` the content of generation_config.json where the folder has one
---@return fun(path: string)  # frees a parameter's memory in the file
function loader.open(folder, options)
  options = options or {}
  local device, dtype = loader.device(options.device), loader.dtype(options.dtype)
  local config, path = checkpoint.config(folder), folder .. "/config.json"
  local architecture = about(path, models.find, config.model_type, config.architectures)
  local net = nn.skip_init(function() return about(path, architecture.new, config) end)
  local found = {}
  if device == "meta" then dtype = dtype or about(path, loader.dtype, config.dtype or config.torch_dtype)
  else found = fill(net, folder, architecture, device, dtype) end
  if dtype or device ~= "cpu" then net:to { dtype = dtype, device = device } end
  net:eval()
  net:requires_grad_(false)
  net.generation_config = checkpoint.generation_config(folder)
  return net, function(place)
    if found[place] then found[place]:forget() end
  end
end

---Returns the network of a folder without the second result of `loader.open`.
---@param folder string
---@param options? { device: string?, dtype: string? }
---@return table  # an nn.Module, as from `loader.open`
function loader.network(folder, options) return (loader.open(folder, options)) end

return loader
