--- Nodes: values that do not exist yet, of a forward that is being recorded or of a trace.
local binding = require "luasight.ffi"
local constants = require "luasight.ffi.constants"

local C, ffi = binding.C, binding.ffi
local NONE, TENSOR, NODE = constants.LS_NONE, constants.LS_TENSOR, constants.LS_NODE

local nodes = {}
local address_t = ffi.typeof "uintptr_t"

-- ---- the owner of a node ----------------------------------------------------------------------------------------------

-- The numbers that `nodes.state` and the core's ls_node_is_open return.
local CLOSED, FUNCTION, TRACE = 0, 1, 2
nodes.CLOSED, nodes.FUNCTION, nodes.TRACE = CLOSED, FUNCTION, TRACE

---Returns whether a value is a handle of a node.
---@param v any
---@return boolean
function nodes.is_node(v) return binding.is_handle(v) and v._kind == NODE end

---Returns what the node belongs to: a forward that is being recorded (nodes.FUNCTION), an open trace (nodes.TRACE), or
---neither (nodes.CLOSED).
---@param node ffi.cdata*  a handle of kind LS_NODE
---@return integer
function nodes.state(node) return C.ls_node_is_open(node.v) end

---Returns whether a handle is a node of a forward that is being recorded.
---@param v ffi.cdata*
---@return boolean
function nodes.is_forward(v) return v._kind == NODE and C.ls_node_is_open(v.v) == FUNCTION end

---Returns whether a handle is a node of an open trace.
---@param v ffi.cdata*
---@return boolean
function nodes.is_trace(v) return v._kind == NODE and C.ls_node_is_open(v.v) == TRACE end

---Returns whether a handle is a node of a forward that is being recorded or of an open trace.
---@param v ffi.cdata*
---@return boolean
function nodes.is_open(v) return v._kind == NODE and C.ls_node_is_open(v.v) ~= CLOSED end

---Returns the address of the trace or function to which a node belongs, for use as a key of a table.
---@param node ffi.cdata*
---@return number
function nodes.owner(node) return tonumber(ffi.cast(address_t, node.v.as.p)) end

---Returns the kind of a node's value, LS_NONE where the kind is not known before a run.
---@param node ffi.cdata*
---@return integer  # a constant such as LS_TENSOR
function nodes.kind(node) return C.ls_node_kind(node.v) end

---Returns the script line that made a node, such as "examples/x.lua:14".
---@param node ffi.cdata*
---@return string
function nodes.where(node) return binding.where(tonumber(C.ls_node_site(node.v))) end

-- ---- values ----------------------------------------------------------------------------------------------------------

---Returns the value of a node of a trace that was saved or demanded.
---@param node ffi.cdata*
---@return any
function nodes.value(node)
  local out = binding.new_ref()
  binding.check(C.ls_trace_value(node.v, out.v))
  return binding.settle(out)
end

---Returns the value of a node whose trace has ended. A handle whose value is a tensor or a sequence becomes a handle of that
---value, and so no longer keeps the trace in memory.
---@param node ffi.cdata*
---@return any
function nodes.become_value(node)
  local out = binding.new_ref()
  binding.check(C.ls_trace_value(node.v, out.v))
  if out._kind >= TENSOR then
    C.ls_value_release(node.v)
    node.v = out.v
    out._kind = NONE
    return node
  end
  return binding.settle(out)
end

---Returns whether the forward to which a node belongs computes its values while it is recorded.
---@param node ffi.cdata*
---@return boolean
function nodes.is_eager(node) return C.ls_node_is_eager(node.v) ~= 0 end

---Returns the value of a node in a forward that computes its values while it is recorded. The recorded function is then valid
---only for inputs for which the node has the same value.
---@param node ffi.cdata*
---@return any
function nodes.demand(node)
  local out = binding.new_ref()
  binding.check(C.ls_function_demand(node.v, binding.site(), out.v))
  return binding.settle(out)
end

---Returns a node for the sizes of the value that `node`, a node of a forward that is being recorded, will have in a run.
---@param node ffi.cdata*
---@return ffi.cdata*
function nodes.shape(node)
  local out = binding.new_ref()
  binding.check(C.ls_function_shape(node.v, binding.site(), out.v))
  return out
end

local info_t = ffi.typeof "ls_tensor_info"

---Returns the description of the tensor that `node`, a node of a forward that is being recorded, will give, or nil where an
---input of the forward has a part in it.
---@param node ffi.cdata*
---@return ffi.cdata*?  # an ls_tensor_info
function nodes.known(node)
  local info = info_t()
  return C.ls_function_known(node.v, info) == 0 and info or nil
end

-- ---- nodes of a trace ------------------------------------------------------------------------------------------------

---Keeps the value of a node beyond the trace.
---@param node ffi.cdata*
function nodes.save(node) binding.check(C.ls_trace_save(node.v)) end

---Returns whether a saved node has a value; a node that the run did not reach has none.
---@param node ffi.cdata*
---@return boolean
function nodes.is_set(node) return C.ls_node_is_set(node.v) ~= 0 end

---Lets the value of a node that reads a point stay unset, without an error, where a skipped module contains the point.
---@param node ffi.cdata*
function nodes.make_optional(node) C.ls_trace_optional(node.v) end

local int_out = ffi.typeof "int32_t[1]"

---Returns the axis of the tokens in a value at a point (-1 where it has none), the invoke and the step of the value, and
---whether the tokens are those of a decoder beside an encoder.
---@param node ffi.cdata*
---@return integer axis, integer invoke, integer step, boolean decoder
function nodes.token_axis(node)
  local invoke, step = int_out(), int_out()
  local axis = C.ls_trace_token_axis(node.v, invoke, step)
  return axis < 0 and axis or axis % 256, invoke[0], step[0], axis >= 256
end

---Returns `offset` plus the columns of padding that a pass puts in front of an invoke's tokens. The result is a node, since
---the padding is known only when the pass begins.
---@param node ffi.cdata*
---@param invoke integer
---@param step integer
---@param offset integer
---@return ffi.cdata*
function nodes.padded(node, invoke, step, offset)
  local out = binding.new_ref()
  binding.check(C.ls_trace_pad(ffi.cast("ls_trace *", node.v.as.p), invoke, step, offset, binding.site(), out.v))
  return out
end

-- ---- gradients in a trace --------------------------------------------------------------------------------------------

---Returns the gradient of a node's value, as a node.
---@param node ffi.cdata*
---@param invoke integer  the invoke whose body asks for the gradient, -1 outside of invokes
---@return ffi.cdata*
function nodes.grad(node, invoke)
  local out = binding.new_ref()
  binding.check(C.ls_trace_grad(node.v, invoke, binding.site(), out.v))
  return out
end

---Replaces the gradient of a node's value.
---@param node ffi.cdata*
---@param value ffi.cdata*
---@param invoke integer
function nodes.set_grad(node, value, invoke)
  binding.check(C.ls_trace_set_grad(node.v, value.v, invoke, binding.site()))
end

---Records a backward pass from a node.
---@param node ffi.cdata*
---@param gradient ffi.cdata*?  the gradient of the node's value; nil means 1
---@param retain_graph boolean
---@param invoke integer
function nodes.backward(node, gradient, retain_graph, invoke)
  local given = gradient or binding.new_ref()
  binding.check(C.ls_trace_backward(node.v, given.v, retain_graph and 1 or 0, invoke, binding.site()))
end

return nodes
