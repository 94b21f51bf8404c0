--- Functions whose arguments or results PyTorch changes in its Python code, so that libtorch's operator of the same name has
--- another meaning. Here they take what PyTorch's functions take. docs/guide/networks.md lists them.
local binding = require "luasight.ffi"
local by_name = require "luasight.tensor.compat".by_name
local operators = require "luasight.tensor.operators"
local options = require "luasight.base.options"
local tensors = require "luasight.ffi.tensors"

local forms = {}

---@type table<string, fun(...): any>
local functions = {}
forms.functions = functions

local function call(name, ...) return operators.call(operators.get(name), ...) end

local noun = { noun = "argument" }

---Returns the arguments of a call of `what` as one table, argument by name.
local function read(what, names, ...)
  local known = {}
  for _, name in ipairs(names) do known[name] = true end
  local n = select("#", ...)
  if n > #names + 1 or n == #names + 1 and type((select(n, ...))) ~= "table" then
    binding.raise("argument", ("%s takes up to %d arguments, not %d"):format(what, #names, n))
  end
  local args = options.read(what, by_name(names, ...), known, noun)
  if type(args[names[1]]) == "nil" then binding.raise("argument", ("%s needs a tensor"):format(what)) end
  return args
end

-- ---- unique elements -------------------------------------------------------------------------------------------------

---Returns the results that the arguments ask for.
local function asked(args, values, inverse, counts)
  if args.return_inverse and args.return_counts then return values, inverse, counts end
  if args.return_inverse then return values, inverse end
  if args.return_counts then return values, counts end
  return values
end

local unique_names = { "input", "sorted", "return_inverse", "return_counts", "dim" }

function functions.unique(...)
  local a = read("unique", unique_names, ...)
  local sorted, inverse, counts = a.sorted ~= false, a.return_inverse or false, a.return_counts or false
  if a.dim then return asked(a, call("unique_dim", a.input, a.dim, sorted, inverse, counts)) end
  return asked(a, call("_unique2", a.input, sorted, inverse, counts))
end

local consecutive_names = { "input", "return_inverse", "return_counts", "dim" }

function functions.unique_consecutive(...)
  local a = read("unique_consecutive", consecutive_names, ...)
  local inverse, counts = a.return_inverse or false, a.return_counts or false
  if a.dim then return asked(a, call("unique_dim_consecutive", a.input, a.dim, inverse, counts)) end
  return asked(a, call("unique_consecutive", a.input, inverse, counts))
end

-- ---- signals ---------------------------------------------------------------------------------------------------------

local stft_names = { "input", "n_fft", "hop_length", "win_length", "window", "center", "pad_mode", "normalized", "onesided",
  "return_complex", "align_to_window" }

function functions.stft(...)
  local a = read("stft", stft_names, ...)
  local x = a.input
  a.input = nil
  if a.center == false then
    a.center, a.pad_mode = nil, nil
  else
    if a.align_to_window ~= nil then
      binding.raise("argument", "stft: align_to_window can only be given where center is false")
    end
    a.center = true -- chooses the operator that pads
  end
  return call("stft", x, a)
end

-- ---- several tensors -------------------------------------------------------------------------------------------------

for _, name in ipairs { "atleast_1d", "atleast_2d", "atleast_3d" } do
  functions[name] = function(...)
    if select("#", ...) < 2 then return call(name, ...) end
    return call(name, { ... })
  end
end

-- ---- products and distances ------------------------------------------------------------------------------------------

---Joins the last `dims` axes of a with the first of b, or the axes of two lists: torch.tensordot(a, b, { { 1, 0 }, { 0, 1 } }).
function functions.tensordot(...)
  if select("#", ...) == 4 and type((select(4, ...))) == "table" and #select(4, ...) > 0 then
    return call("tensordot", ...) -- the lists one by one, as libtorch's operator takes them
  end
  local a = read("tensordot", { "a", "b", "dims" }, ...)
  local dims = a.dims == nil and 2 or a.dims
  if type(dims) == "table" and #dims == 2 then return call("tensordot", a.a, a.b, dims[1], dims[2]) end
  options.value("tensordot", "dims", dims, { "a whole number from 0 on, or two lists of axes", options.size[2] })
  local last, first = {}, {}
  for i = 1, dims do last[i], first[i] = i - dims - 1, i - 1 end
  return call("tensordot", a.a, a.b, last, first)
end

local modes = { use_mm_for_euclid_dist_if_necessary = 0, use_mm_for_euclid_dist = 1, donot_use_mm_for_euclid_dist = 2 }

function functions.cdist(...)
  local a = read("cdist", { "x1", "x2", "p", "compute_mode" }, ...)
  local mode = a.compute_mode
  if type(mode) == "string" then
    mode = modes[mode] or binding.raise("argument", ("cdist: compute_mode is not %s"):format(options.text(mode)))
  end
  return call("cdist", a.x1, a.x2, a.p == nil and 2 or a.p, mode ~= 0 and mode or nil)
end

local norm_names = { "input", "p", "dim", "keepdim", "out", "dtype" }

function functions.norm(...)
  local a = read("norm", norm_names, ...)
  local dim, keepdim, named = a.dim, a.keepdim or false, { dtype = a.dtype, out = a.out }
  if not next(named) then named = nil end
  if type(dim) == "number" then dim = { dim } end
  if type(a.p) == "string" and not (a.p == "fro" and (type(dim) ~= "table" or #dim <= 2)) then
    if type(dim) == "nil" then
      dim = {}
      for i = 1, a.input:dim() do dim[i] = i - 1 end
    end
    return call("linalg_matrix_norm", a.input, a.p, dim, keepdim, named)
  end
  if type(a.p) ~= "string" and type(a.dtype) == "nil" and (type(dim) ~= "nil" or not keepdim) then
    if type(dim) == "nil" and type(a.out) == "nil" then return call("norm", a.input, a.p) end
    return call("norm", a.input, a.p, type(dim) == "nil" and {} or dim, keepdim, named)
  end
  return call("linalg_vector_norm", a.input, (type(a.p) == "nil" or a.p == "fro") and 2 or a.p, dim, keepdim, named)
end

-- ---- losses ----------------------------------------------------------------------------------------------------------

local cross_entropies = {
  binary_cross_entropy = { "input", "target", "weight", "reduction" },
  binary_cross_entropy_with_logits = { "input", "target", "weight", "pos_weight", "reduction" },
}

---Returns input and target where they have one shape. Those of a forward or a body have none yet: each is expanded to the
---shape of the other, which only tensors of one shape both can be.
local function alike(what, input, target)
  if not (tensors.is_tensor(input) and tensors.is_tensor(target)) then
    return input:expand_as(target), target:expand_as(input)
  end
  if tensors.same_shape(input, target) then return input, target end
  binding.raise("shape", ("%s: the target has shape %s, but the input has shape %s"):format(what, tostring(target.shape),
    tostring(input.shape)), { hint = "target:view_as(input) has the same numbers in the shape of the input" })
end

for name, names in pairs(cross_entropies) do
  functions[name] = function(...)
    local a = read(name, names, ...)
    local input, target = a.input, a.target
    if not (binding.is_handle(input) and binding.is_handle(target)) then return call(name, ...) end
    input, target = alike(name, input, target)
    a.input, a.target = nil, nil
    return call(name, input, target, next(a) ~= nil and a or nil)
  end
end

return forms
