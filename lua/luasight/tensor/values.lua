--- The values behind handles: demands, fields, length and text.
local binding = require "luasight.ffi"
local operators = require "luasight.tensor.operators"
local print_tensor = require "luasight.tensor.print"

local C, ffi = binding.C, binding.ffi
local ref_t, stream = binding.ref_t, binding.stream
local TENSOR, TUPLE, LIST, STRUCT, NODE = 5, 6, 7, 8, 9
local FUNCTION, TRACE = 1, 2 -- results of ls_node_is_open: the node belongs to a forward, or to a trace

local values = {
  ---Functions that later layers set: demand(node), token_index(node, i), set_token_index(node, i, v), grad(node),
  ---set_grad(node, v), parameter_grad(tensor), backward(node, ...).
  hooks = {},
}

local words = { [TENSOR] = "tensor", [TUPLE] = "tuple", [LIST] = "list", [STRUCT] = "struct" }

---@param v any
---@return boolean
local function is_handle(v) return ffi.istype(ref_t, v) end

-- ---- values of nodes -------------------------------------------------------------------------------------------------

---Returns the value of a node: after the trace that of a saved node, inside it by running the model up to the node. After
---the trace the handle itself becomes the value, so that it no longer holds the trace.
---@param self ffi.cdata*
---@return any
function values.resolve(self)
  if self._kind ~= NODE then return self end
  local state, out = C.ls_node_is_open(self.v), binding.new_ref()
  if state == FUNCTION then
    if C.ls_node_is_eager(self.v) == 0 then
      binding.raise("state", "a value inside forward has no number yet: forward is recorded once and runs later",
        { hint = "use operators on it, or x.shape and x:size(d), which are values too; a module whose forward branches on " ..
          "numbers declares itself: dynamic = true" })
    end
    binding.check(C.ls_function_demand(self.v, binding.site(), out.v))
    return binding.settle(out)
  end
  if state == 0 then
    binding.check(C.ls_trace_value(self.v, out.v))
    if out._kind >= TENSOR then
      C.ls_value_release(self.v)
      self.v = out.v
      out._kind = 0
      return self
    end
  else
    values.hooks.demand(self)
    binding.check(C.ls_trace_value(self.v, out.v))
  end
  return binding.settle(out)
end

local resolve = values.resolve

---Returns the tensor behind a handle; for any other value raises an error that names `what` was wanted.
---@param self ffi.cdata*
---@param what string
---@return ffi.cdata*
function values.tensor_of(self, what)
  local v = resolve(self)
  if is_handle(v) then
    if v._kind == TENSOR then return v end
    if v._kind < TENSOR then binding.raise("state", "this value has been released") end
    binding.raise("argument", ("a value that is a %s has no %s"):format(words[v._kind], what),
      { hint = v._kind == STRUCT and "take one of its fields" or "take an element: x[0]" })
  end
  binding.raise("argument", ("a value that is a %s has no %s"):format(type(v), what))
end

local tensor_of = values.tensor_of

local info_t = ffi.typeof "ls_tensor_info"
local idle = info_t() -- memory for `ask`; nil while in use, so that a finalizer that calls `ask` makes its own

---Returns the core's description of a tensor.
---@param t ffi.cdata*
---@return ffi.cdata*
local function describe(t)
  local info = info_t()
  binding.check(C.ls_tensor_describe(t.v, info))
  return info
end

---Returns what `read` takes from the core's description of a tensor.
---@param t ffi.cdata*
---@param read fun(info: ffi.cdata*, argument: any): any
---@param argument any
---@return any
function values.ask(t, read, argument)
  local info = idle or info_t()
  idle = nil
  binding.check(C.ls_tensor_describe(t.v, info))
  local answer = read(info, argument)
  idle = info
  return answer
end

local ask = values.ask

-- ---- fields ----------------------------------------------------------------------------------------------------------

local fields, setters = {}, {}
values.fields, values.setters = fields, setters

---Returns the value of a proxy; any other handle is returned itself.
---@return any
function fields.value(self) return resolve(self) end

local function is_forward(self) return self._kind == NODE and C.ls_node_is_open(self.v) == FUNCTION end

local function put_shape(info, e)
  local n = e.put_item(0, 10, LIST, info.dims)
  for i = 0, info.dims - 1 do n = e.put(n, tonumber(info.shape[i])) end
  return n
end

local function dtype_of(info) return ffi.string(info.dtype) end
local function device_of(info) return ffi.string(info.device) end
local function is_recorded(info) return info.requires_grad ~= 0 end
local function first_size(info) return info.dims > 0 and tonumber(info.shape[0]) end

---Returns the sizes of the axes as a list that counts from 0.
---@return ffi.cdata*
function fields.shape(self)
  local out = binding.new_ref()
  if is_forward(self) then
    binding.check(C.ls_function_shape(self.v, binding.site(), out.v))
    return out
  end
  local t, e = tensor_of(self, "shape"), stream.take()
  local n = ask(t, put_shape, e)
  binding.check(C.ls_value_build(e.scratch(), n, out.v))
  stream.give(e)
  return out
end

---@return string  # such as "float32"
function fields.dtype(self) return ask(tensor_of(self, "dtype"), dtype_of) end

---@return string  # such as "cpu"
function fields.device(self) return ask(tensor_of(self, "device"), device_of) end

---@return boolean
function fields.requires_grad(self) return ask(tensor_of(self, "requires_grad"), is_recorded) end

---@param on boolean
function setters.requires_grad(self, on)
  binding.check(C.ls_tensor_require_grad(tensor_of(self, "requires_grad").v, on and 1 or 0))
end

local function is_open(self) return self._kind == NODE and C.ls_node_is_open(self.v) ~= 0 end

---Returns the gradient of a tensor, or nil.
---@return ffi.cdata*?
function fields.grad(self)
  if is_open(self) then
    local hook = values.hooks.grad
    if hook then return hook(self) end
    binding.raise("state", "the gradient of a value inside a body or a forward cannot be read",
      { hint = "call backward after the trace, on real tensors" })
  end
  local t = tensor_of(self, "grad")
  local proxy = t._aux == C.LS_READ_ONLY and values.hooks.parameter_grad and values.hooks.parameter_grad(t)
  if proxy then return proxy end
  local out = binding.new_ref()
  binding.check(C.ls_tensor_grad(t.v, out.v))
  return binding.settle(out)
end

---@param v ffi.cdata*?
function setters.grad(self, v)
  if is_open(self) then
    local hook = values.hooks.set_grad
    if hook then return hook(self, v) end
    binding.raise("state", "the gradient of a value inside a body or a forward cannot be set")
  end
  local t = tensor_of(self, "grad")
  if t._aux == C.LS_READ_ONLY then
    binding.raise("state", "the gradient of a parameter can be read in a trace, but not set",
      { hint = "set the gradient of a value: model.layer1.output.grad = g" })
  end
  if type(v) == "nil" then
    return binding.check(C.ls_tensor_set_grad(t.v, binding.new_ref().v))
  end
  if not is_handle(v) then binding.raise("argument", "the field grad can only be set to a tensor or nil") end
  binding.check(C.ls_tensor_set_grad(t.v, tensor_of(v, "numbers").v))
end

local function is_trace(self) return self._kind == NODE and C.ls_node_is_open(self.v) == TRACE end

local function no_tokens()
  binding.raise("state", "x.t[i] counts the tokens of a language model's input, but this value has no tokens",
    { hint = "x:t() transposes, and x[i] takes a row" })
end

-- x:t() transposes a tensor, and x.t[i] takes the token i.
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

---Returns element i of a sequence, from 0.
---@param self ffi.cdata*
---@param i integer
---@return any
function values.element(self, i)
  local out = binding.new_ref()
  binding.check(C.ls_seq_get(self.v, i, out.v))
  return binding.settle(out)
end

---Returns #x: the size of axis 0, or the length of a sequence.
---@return integer
function values.length(self)
  if is_forward(self) then return fields.shape(self)[0] end
  local v = resolve(self)
  if not is_handle(v) then return #v end
  if v._kind ~= TENSOR then
    if v._kind < TENSOR then binding.raise("state", "this value has been released") end
    return C.ls_seq_length(v.v)
  end
  return ask(v, first_size) or binding.raise("shape", "a tensor without dimensions has no length")
end

-- ---- text ------------------------------------------------------------------------------------------------------------

local function element_text(v)
  if type(v) == "string" then return ("%q"):format(v) end
  if type(v) == "number" and v == math.floor(v) and math.abs(v) < 2 ^ 53 then return ("%d"):format(v) end
  return tostring(v)
end

local function sequence_text(self)
  local parts, n = {}, C.ls_seq_length(self.v)
  for i = 0, n - 1 do
    local text = element_text(values.element(self, i))
    if self._kind == STRUCT then text = ("%s = %s"):format(ffi.string(C.ls_seq_key(self.v, i)), text) end
    parts[i + 1] = text
  end
  local inside = table.concat(parts, ", ")
  if self._kind == LIST then return "[" .. inside .. "]" end
  if self._kind == STRUCT then return "{" .. inside .. "}" end
  return "(" .. inside .. (n == 1 and ",)" or ")")
end

---Returns a tensor as PyTorch prints it, and a sequence as (a, b), [1, 10] or {name = value}.
---@return string
function values.text(self)
  if self._kind < TENSOR then return "(released)" end
  if is_forward(self) then
    return ("<a value of forward, made at %s>"):format(binding.where(tonumber(C.ls_node_site(self.v))))
  end
  local v = resolve(self)
  if not is_handle(v) then return element_text(v) end
  if v._kind ~= TENSOR then return sequence_text(v) end
  local d, name = describe(v), C.ls_tensor_grad_fn(v.v)
  local notes = {
    dtype = ffi.string(d.dtype), device = ffi.string(d.device), requires_grad = d.requires_grad ~= 0,
    grad_fn = name ~= nil and ffi.string(name) or nil,
  }
  return print_tensor.text(values.view(v), notes)
end

-- ---- numbers ---------------------------------------------------------------------------------------------------------

local pointers = {
  float32 = ffi.typeof "float *", float64 = ffi.typeof "double *", int64 = ffi.typeof "int64_t *",
  int32 = ffi.typeof "int32_t *", int16 = ffi.typeof "int16_t *", int8 = ffi.typeof "int8_t *",
  uint8 = ffi.typeof "uint8_t *", bool = ffi.typeof "bool *",
}
values.pointers = pointers

local read_as = { float16 = "float32", bfloat16 = "float32", uint16 = "int64", uint32 = "int64" }
local address_t = ffi.typeof "void *[1]"

local function op(name, ...) return operators.call(operators.get(name), ...) end

-- Returns a tensor of the edges of each long axis, which are enough for the text of a large tensor.
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

---Returns a tensor's numbers in memory that Lua can read; `keep` holds that memory, and `whole` says that all numbers are
---needed.
---@param t ffi.cdata*
---@param whole boolean?
---@return luasight.TensorView
function values.view(t, whole)
  local d = describe(t)
  local shape, strides = {}, {}
  for i = 0, d.dims - 1 do shape[i + 1] = tonumber(d.shape[i]) end
  local dtype, device = ffi.string(d.dtype), ffi.string(d.device)
  local view = { shape = shape, strides = strides, elements = tonumber(d.elements), keep = t }
  local as = read_as[dtype] or pointers[dtype] and dtype
  if not as or device == "meta" then
    view.opaque = true
    return view
  end
  if d.is_lazy ~= 0 then
    t = binding.new_ref()
    binding.check(C.ls_tensor_plain(view.keep.v, t.v))
    view.keep, d = t, describe(t)
  end
  if as ~= dtype or device ~= "cpu" then
    t = op("detach", t)
    if not whole and view.elements > print_tensor.threshold then
      t, view.edges = edges_only(t, shape), true
    end
    view.keep = op("to", t, { dtype = as, device = "cpu" })
    d = describe(view.keep)
  end
  for i = 0, d.dims - 1 do strides[i + 1] = tonumber(d.strides[i]) end
  local address = address_t()
  binding.check(C.ls_tensor_pointer(view.keep.v, address))
  view.data = ffi.cast(pointers[as], address[0])
  return view
end

return values
