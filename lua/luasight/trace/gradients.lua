--- Gradients inside a body: `h.grad`, `h.grad = v`, `loss:backward()` become nodes; see core/trace/grad.c for what they do.
local binding = require "luasight.ffi"
local trace = require "luasight.trace"
local values = require "luasight.tensor.values"

local C, ffi = binding.C, binding.ffi
local ref_t = binding.ref_t
local FUNCTION = 1 -- of ls_node_is_open

local hooks = values.hooks

local function check_trace(node, what)
  if C.ls_node_is_open(node.v) == FUNCTION then
    binding.raise("state", ("%s belongs into the body of a trace, not into a forward"):format(what))
  end
end

---@param node ffi.cdata*
---@return ffi.cdata*
function hooks.grad(node)
  check_trace(node, "a gradient")
  local _, invoke = trace.recording_of(node)
  local out = binding.new_ref()
  binding.check(C.ls_trace_grad(node.v, invoke, binding.site(), out.v))
  return out
end

---The gradient of a parameter read in a body, where one is being recorded.
---@param parameter ffi.cdata*
---@return ffi.cdata*?
function hooks.parameter_grad(parameter)
  local tracer = trace.innermost()
  local recording = tracer and tracer._recording
  if not recording or not recording.graph then return nil end
  local out = binding.new_ref()
  binding.check(C.ls_trace_grad_of(recording.graph, parameter.v, tracer._invoke or -1, binding.site(), out.v))
  return out
end

---@param node ffi.cdata*
---@param value any
function hooks.set_grad(node, value)
  check_trace(node, "a gradient")
  if not ffi.istype(ref_t, value) then binding.raise("argument", "a gradient is a tensor") end
  local _, invoke = trace.recording_of(node)
  binding.check(C.ls_trace_set_grad(node.v, value.v, invoke, binding.site()))
end

---@param node ffi.cdata*
---@param gradient ffi.cdata*?
---@param keeps boolean  whether the graph of autograd stays
function hooks.backward(node, gradient, keeps)
  check_trace(node, "backward")
  local given = gradient == nil and binding.new_ref() or gradient
  local _, invoke = trace.recording_of(node)
  binding.check(C.ls_trace_backward(node.v, given.v, keeps and 1 or 0, invoke, binding.site()))
end

return hooks
