--- Gradients inside a body: `h.grad`, `h.grad = v` and `loss:backward()` are recorded as nodes; core/trace/grad.c runs
--- them.
local binding = require "luasight.ffi"
local trace = require "luasight.trace"
local values = require "luasight.tensor.values"

local C, ffi = binding.C, binding.ffi
local ref_t = binding.ref_t
local FUNCTION = 1 -- a result of ls_node_is_open: the node belongs to a forward being recorded

local hooks = values.hooks

local function check_trace(node, what)
  if C.ls_node_is_open(node.v) == FUNCTION then
    binding.raise("state", ("%s can only be used in the body of a trace, not in a forward"):format(what))
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

---Returns the gradient of a parameter that a body reads, or nil where no body is being recorded.
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
  if not ffi.istype(ref_t, value) then binding.raise("argument", "a gradient can only be set to a tensor") end
  local _, invoke = trace.recording_of(node)
  binding.check(C.ls_trace_set_grad(node.v, value.v, invoke, binding.site()))
end

---@param node ffi.cdata*
---@param gradient ffi.cdata*?
---@param options { retain_graph: boolean?, gradient: ffi.cdata*? }?
function hooks.backward(node, gradient, options)
  check_trace(node, "backward")
  if type(gradient) == "table" then gradient, options = nil, gradient end
  options = options or {}
  gradient = gradient or options.gradient
  for name in pairs(options) do
    if name ~= "retain_graph" and name ~= "gradient" then
      binding.raise("name", ("backward has no option %q"):format(tostring(name)),
        { hint = "it takes retain_graph and gradient" })
    end
  end
  local given = gradient == nil and binding.new_ref() or gradient
  local _, invoke = trace.recording_of(node)
  binding.check(C.ls_trace_backward(node.v, given.v, options.retain_graph and 1 or 0, invoke, binding.site()))
end

return hooks
