--- Values as text, and the numbers of tensors as Lua reads them.
local binding = require "luasight.ffi"
local constants = require "luasight.ffi.constants"
local nodes = require "luasight.ffi.nodes"
local operators = require "luasight.tensor.operators"
local recording = require "luasight.ffi.recording"
local print_tensor = require "luasight.tensor.print"
local sequences = require "luasight.ffi.sequences"
local tensors = require "luasight.ffi.tensors"
local values = require "luasight.tensor.values"

local is_handle, is_forward, resolve = binding.is_handle, nodes.is_forward, values.resolve
local TENSOR, LIST, STRUCT = constants.LS_TENSOR, constants.LS_LIST, constants.LS_STRUCT

local text = {}

local function op(name, ...) return operators.call(operators.get(name), ...) end

-- ---- text ------------------------------------------------------------------------------------------------------------

local function element_text(v)
  if type(v) == "string" then return ("%q"):format(v) end
  if type(v) == "number" and v == math.floor(v) and math.abs(v) < 2 ^ 53 then return ("%d"):format(v) end
  return tostring(v)
end

local function sequence_text(self)
  local parts, n = {}, sequences.length(self)
  for i = 0, n - 1 do
    local part = element_text(sequences.element(self, i))
    if self._kind == STRUCT then part = ("%s = %s"):format(sequences.name(self, i), part) end
    parts[i + 1] = part
  end
  local inside = table.concat(parts, ", ")
  if self._kind == LIST then return "[" .. inside .. "]" end
  if self._kind == STRUCT then return "{" .. inside .. "}" end
  return "(" .. inside .. (n == 1 and ",)" or ")")
end

local parts_of_layout = {
  sparse_coo = { "_indices", "_values" }, sparse_csr = { "crow_indices", "col_indices", "values" },
  sparse_bsr = { "crow_indices", "col_indices", "values" }, sparse_csc = { "ccol_indices", "row_indices", "values" },
  sparse_bsc = { "ccol_indices", "row_indices", "values" },
}

---Returns the view with which a tensor is printed. Where the tensor has another layout than rows of numbers, adds to `notes`
---its name and, of a sparse tensor, its parts.
local function describe_layout(t, notes)
  local view, layout = text.view(t), tensors.layout(t).layout
  notes.layout = layout
  local names = parts_of_layout[layout]
  if not layout or notes.device == "meta" then return view end
  if not names then return layout == "_mkldnn" and text.view(op("to_dense", op("detach", t))) or view end
  notes.parts, notes.nonzero = {}, op("_nnz", t)
  for i, name in ipairs(names) do
    local part = op("detach", op(name, t))
    notes.parts[i] = { name = name:gsub("^_", ""), view = text.view(part), dtype = tensors.dtype(part) }
  end
  return view
end

---Returns a tensor as PyTorch prints it, and a sequence as (a, b), [1, 10] or {name = value}.
---@return string
function text.of(self)
  if self._kind < TENSOR then return "(released)" end
  if is_forward(self) and not nodes.is_eager(self) then
    binding.raise("state", "a value inside forward has no text yet: forward is recorded once and runs later",
      { hint = "nn.tap(name, x) names it for a trace; a module that needs its numbers declares itself: dynamic = true" })
  end
  local v = resolve(self)
  if not is_handle(v) then return element_text(v) end
  if v._kind ~= TENSOR then return sequence_text(v) end
  local notes = { dtype = tensors.dtype(v), device = tensors.device(v), requires_grad = tensors.requires_grad(v),
    grad_fn = tensors.grad_fn(v) }
  return print_tensor.text(recording.outside(describe_layout, v, notes), notes)
end

-- ---- numbers ---------------------------------------------------------------------------------------------------------

local read_as = { float16 = "float32", bfloat16 = "float32", float8_e5m2 = "float32", float8_e4m3fn = "float32",
  float8_e5m2fnuz = "float32", float8_e4m3fnuz = "float32", float8_e8m0fnu = "float32" }
local complex_as = { complex32 = "complex64", complex64 = "complex64", complex128 = "complex128" }
local parts_of = { complex64 = "float32", complex128 = "float64" } -- the dtype of the real and imaginary parts

-- Returns a smaller tensor that has the first and last elements of each long axis, enough for the text of a large tensor.
local function edges_only(t, shape)
  local edge = print_tensor.edge
  for axis, size in ipairs(shape) do
    if size > 2 * edge then
      local first, last = op("narrow", t, axis - 1, 0, edge), op("narrow", t, axis - 1, size - edge, edge)
      t = op("cat", { first, last }, axis - 1)
    end
  end
  return t
end

local function both_parts(read)
  return function(data, place) return read(data, 2 * place), read(data, 2 * place + 1) end
end

---Returns a view of a tensor through which Lua can read its numbers; where necessary the numbers are copied to the CPU. The
---view's field `keep` has the tensor that owns the memory.
---@param t ffi.cdata*
---@param whole boolean?  true: all numbers are needed, and not only those that the text of the tensor shows
---@return luasight.TensorView
function text.view(t, whole)
  local d = tensors.layout(t)
  local shape, dtype, device = d.shape, d.dtype, d.device
  local view = { shape = shape, strides = d.strides, elements = d.elements, keep = t }
  local as = read_as[dtype] or complex_as[dtype] or tensors.is_readable(dtype) and dtype
  if not as or device == "meta" or d.layout then
    view.opaque = true
    return view
  end
  if d.is_lazy then
    t = tensors.plain(t)
    view.keep = t
  end
  if as ~= dtype or device ~= "cpu" then
    t = op("detach", t)
    if not whole and view.elements > print_tensor.threshold then
      t, view.edges = edges_only(t, shape), true
    end
    view.keep = op("to", t, { dtype = as, device = "cpu" })
  end
  if d.is_lazy or as ~= dtype or device ~= "cpu" then view.strides = tensors.layout(view.keep).strides end
  local parts = parts_of[as]
  view.read = tensors.reader(parts or as)
  if parts then
    view.keep, view.read, view.is_complex = op("view_as_real", op("detach", view.keep)), both_parts(view.read), true
  end
  view.data = tensors.pointer(view.keep, parts or as)
  return view
end

return text
