--- The values behind handles: computes the value of a proxy where a script needs it, and returns fields, length and text of
--- values.
local binding = require "luasight.ffi"
local constants = require "luasight.ffi.constants"
local nodes = require "luasight.ffi.nodes"
local operators = require "luasight.tensor.operators"
local recording = require "luasight.ffi.recording"
local print_tensor = require "luasight.tensor.print"
local sequences = require "luasight.ffi.sequences"
local tensors = require "luasight.ffi.tensors"

local is_handle = binding.is_handle
local is_forward, is_trace, is_open = nodes.is_forward, nodes.is_trace, nodes.is_open
local TENSOR, TUPLE, LIST = constants.LS_TENSOR, constants.LS_TUPLE, constants.LS_LIST
local STRUCT, NODE = constants.LS_STRUCT, constants.LS_NODE
local FUNCTION, CLOSED = nodes.FUNCTION, nodes.CLOSED

local values = {
  ---The operations that need a trace. The files of lua/luasight/trace set these functions: demand(node), grad(node),
  ---token_index(node, i), set_token_index(node, i, v), set_grad(node, v), parameter_grad(tensor), backward(node, ...).
  hooks = {},
}

local words = { [TENSOR] = "tensor", [TUPLE] = "tuple", [LIST] = "list", [STRUCT] = "struct" }

-- ---- values of nodes -------------------------------------------------------------------------------------------------

---Returns the value of a node. While the trace is open, the model runs up to the node; after the trace, the node must have been
---saved, and the handle becomes a handle of the value, so that the handle no longer keeps the trace in memory.
---@param self ffi.cdata*
---@return any
function values.resolve(self)
  if self._kind ~= NODE then return self end
  local state = nodes.state(self)
  if state == CLOSED then return nodes.become_value(self) end
  if state == FUNCTION then
    if not nodes.is_eager(self) then
      binding.raise("state", "a value inside forward has no number yet: forward is recorded once and runs later",
        { hint = "use operators on it, or x.shape and x:size(d), which are values too; a module whose forward branches on " ..
          "numbers declares itself: dynamic = true" })
    end
    return nodes.demand(self)
  end
  values.hooks.demand(self)
  return nodes.value(self)
end

local resolve = values.resolve

local function op(name, ...) return operators.call(operators.get(name), ...) end

---Returns the tensor behind a handle. For a value that is no tensor, raises an error that says that it has no `what`.
---@param self ffi.cdata*
---@param what string
---@return ffi.cdata*
function values.tensor_of(self, what)
  local v = resolve(self)
  if is_handle(v) then
    if v._kind == TENSOR then return v end
    if v._kind < TENSOR then binding.raise("state", "this value has been released, so it cannot be used any more") end
    binding.raise("argument", ("a value that is a %s has no %s"):format(words[v._kind], what),
      { hint = v._kind == STRUCT and "take one of its fields" or "take an element: x[0]" })
  end
  binding.raise("argument", ("a value that is a %s has no %s"):format(type(v), what))
end

local tensor_of = values.tensor_of

---Returns a field of the description of a tensor: of what is known of a value of a forward, or of the tensor behind a handle.
local function described(self, what, of_known, of_tensor)
  local known = is_forward(self) and not nodes.is_eager(self) and nodes.known(self)
  if known then return of_known(known) end
  return of_tensor(tensor_of(self, what))
end

values.described = described

-- ---- fields ----------------------------------------------------------------------------------------------------------

local fields, setters = {}, {}
values.fields, values.setters = fields, setters

---Returns the value of a proxy; a handle that is no proxy is returned itself.
---@return any
function fields.value(self) return resolve(self) end

---Returns the sizes of a tensor's axes as a sequence that counts from 0.
---@return ffi.cdata*
function fields.shape(self)
  if is_forward(self) then
    local known = nodes.known(self)
    return known and sequences.of_sizes(known) or nodes.shape(self)
  end
  return tensors.shape(tensor_of(self, "shape"))
end

---Returns the dtype of a tensor, such as "float32".
---@return string
function fields.dtype(self) return described(self, "dtype", tensors.known.dtype, tensors.dtype) end

---Returns the device on which a tensor is, such as "cpu".
---@return string
function fields.device(self) return described(self, "device", tensors.known.device, tensors.device) end

---@return boolean
function fields.requires_grad(self)
  recording.refuse "requires_grad cannot be asked"
  return tensors.requires_grad(tensor_of(self, "requires_grad"))
end

---@param on boolean
function setters.requires_grad(self, on)
  recording.refuse "requires_grad cannot be set"
  tensors.require_grad(tensor_of(self, "requires_grad"), on)
end

---Returns the gradient of a tensor, or nil.
---@return ffi.cdata*?
function fields.grad(self)
  if is_open(self) then
    local hook = values.hooks.grad
    if hook then return hook(self) end
    binding.raise("state", "a value that is being recorded has no gradient to read yet",
      { hint = "call backward after the trace, on real tensors" })
  end
  recording.refuse "a gradient cannot be read"
  local t = tensor_of(self, "grad")
  local proxy = tensors.is_read_only(t) and values.hooks.parameter_grad and values.hooks.parameter_grad(t)
  return proxy or tensors.grad(t)
end

---@param v ffi.cdata*?
function setters.grad(self, v)
  if is_open(self) then
    local hook = values.hooks.set_grad
    if hook then return hook(self, v) end
    binding.raise("state", "a value that is being recorded has no gradient to set yet")
  end
  recording.refuse "a gradient cannot be set"
  local t = tensor_of(self, "grad")
  if tensors.is_read_only(t) then
    binding.raise("state", "the gradient of a parameter can be read in a trace, but not set",
      { hint = "set the gradient of a value: model.layer1.output.grad = g" })
  end
  if type(v) == "nil" then return tensors.set_grad(t, nil) end
  if not is_handle(v) then binding.raise("argument", "the field grad of a tensor can only be set to a tensor or nil") end
  tensors.set_grad(t, tensor_of(v, "numbers"))
end

local function no_tokens()
  binding.raise("state", "x.t[i] counts the tokens of a language model's input, but this value has no tokens",
    { hint = "x:t() transposes, and x[i] takes a row" })
end

-- The methods of the object x.t: x:t() transposes a tensor, and x.t[i] takes token i of an input.
local Tokens = {
  __call = function(_, t, ...) return operators.call(operators.get "t", t, ...) end,
  __index = function(tokens, i)
    if is_trace(tokens.tensor) then return values.hooks.token_index(tokens.tensor, i) end
    no_tokens()
  end,
  __newindex = function(tokens, i, value)
    if is_trace(tokens.tensor) then return values.hooks.set_token_index(tokens.tensor, i, value) end
    no_tokens()
  end,
}

---Returns an object for which x:t() transposes the tensor and x.t[i] takes token i, where the value has tokens.
---@return table
function fields.t(self) return setmetatable({ tensor = self }, Tokens) end

-- ---- sequences -------------------------------------------------------------------------------------------------------

---Returns #x: the size of axis 0, or the length of a sequence.
---@return integer
function values.length(self)
  if is_forward(self) then return fields.shape(self)[0] end
  local v = resolve(self)
  if not is_handle(v) then return #v end
  if v._kind ~= TENSOR then
    if v._kind < TENSOR then binding.raise("state", "this value has been released, so it cannot be used any more") end
    return sequences.length(v)
  end
  return tensors.size(v, 0) or binding.raise("shape", "a tensor without dimensions has no length")
end

-- ---- text ------------------------------------------------------------------------------------------------------------

local function element_text(v)
  if type(v) == "string" then return ("%q"):format(v) end
  if type(v) == "number" and v == math.floor(v) and math.abs(v) < 2 ^ 53 then return ("%d"):format(v) end
  return tostring(v)
end

local function sequence_text(self)
  local parts, n = {}, sequences.length(self)
  for i = 0, n - 1 do
    local text = element_text(sequences.element(self, i))
    if self._kind == STRUCT then text = ("%s = %s"):format(sequences.name(self, i), text) end
    parts[i + 1] = text
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
  local view, layout = values.view(t), tensors.layout(t).layout
  notes.layout = layout
  local names = parts_of_layout[layout]
  if not layout or notes.device == "meta" then return view end
  if not names then return layout == "_mkldnn" and values.view(op("to_dense", op("detach", t))) or view end
  notes.parts, notes.nonzero = {}, op("_nnz", t)
  for i, name in ipairs(names) do
    local part = op("detach", op(name, t))
    notes.parts[i] = { name = name:gsub("^_", ""), view = values.view(part), dtype = tensors.dtype(part) }
  end
  return view
end

---Returns a tensor as PyTorch prints it, and a sequence as (a, b), [1, 10] or {name = value}.
---@return string
function values.text(self)
  if self._kind < TENSOR then return "(released)" end
  if is_forward(self) then
    return ("<a value of forward, made at %s>"):format(nodes.where(self))
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
function values.view(t, whole)
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

return values
