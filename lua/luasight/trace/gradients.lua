--- Gradients inside a body: `h.grad`, `h.grad = v` and `loss:backward()` are recorded as nodes; core/trace/grad.c runs
--- them.
local binding = require "luasight.ffi"
local nodes = require "luasight.ffi.nodes"
local trace = require "luasight.trace"
local traces = require "luasight.ffi.traces"
local values = require "luasight.tensor.values"

local hooks = values.hooks

local function check_trace(node, what)
  if nodes.is_forward(node) then
    binding.raise("state", ("%s can only be used in the body of a trace, not in a forward"):format(what))
  end
end

---@param node ffi.cdata*
---@return ffi.cdata*
function hooks.grad(node)
  check_trace(node, "a gradient")
  local _, invoke = trace.recording_of(node)
  return nodes.grad(node, invoke)
end

---Returns the gradient of a parameter that a body reads, or nil where no body is being recorded.
---@param parameter ffi.cdata*
---@return ffi.cdata*?
function hooks.parameter_grad(parameter)
  local tracer = trace.innermost()
  local recording = tracer and tracer._recording
  if not recording or not recording.graph then return nil end
  return traces.parameter_grad(recording.graph, parameter, tracer._invoke)
end

---@param node ffi.cdata*
---@param value any
function hooks.set_grad(node, value)
  check_trace(node, "a gradient")
  if not binding.is_handle(value) then binding.raise("argument", "the gradient of a value can only be set to a tensor") end
  local _, invoke = trace.recording_of(node)
  return nodes.set_grad(node, value, invoke)
end

---Records a backward pass from a node.
---@param node ffi.cdata*
---@param gradient ffi.cdata*?
---@param keeps boolean  whether autograd keeps what it recorded, for another backward
function hooks.backward(node, gradient, keeps)
  check_trace(node, "backward")
  local recording, invoke = trace.recording_of(node)
  nodes.backward(node, gradient, keeps, invoke)
  if recording then recording.awaits_backward = true end
end

---Returns whether the innermost body has recorded a backward after its last demand, so that the backward has not run yet.
---@return boolean?
function hooks.awaits_backward()
  local tracer = trace.innermost()
  return tracer and tracer._recording and tracer._recording.awaits_backward
end

return hooks
