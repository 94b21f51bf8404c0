--- model:scan(input, body): runs a body over the shapes and dtypes of all values, without weights and without arithmetic.
---
--- The network is recorded once more with tensors that have a shape and no numbers (libtorch's device "meta"); a trace of
--- that copy passes through every module in microseconds.
local binding = require "luasight.ffi"
local record = require "luasight.nn.record"
local trace = require "luasight.trace"
local traces = require "luasight.ffi.traces"

local is_handle = binding.is_handle

local scan = {}

---Returns a tensor, or a plain table of tensors, with the same shapes and without numbers.
---@param v any
---@return any
function scan.shape_only(v)
  if is_handle(v) then return v.device == "meta" and v or v:detach():to("meta") end
  if type(v) ~= "table" or getmetatable(v) ~= nil then return v end
  local out = {}
  for key, inner in pairs(v) do out[key] = scan.shape_only(inner) end
  return out
end

local function is_module(v) return type(v) == "table" and rawget(v, "_values") ~= nil end

---Returns a copy of a module and of all below it whose tensors have no numbers. Shared tensors and modules stay shared.
---@param module table  an nn.Module
---@param twins table<any, any>  the copies made so far, by their originals
---@return table
function scan.twin(module, twins)
  if twins[module] then return twins[module] end
  local twin = setmetatable({ _values = {}, _tensor_names = module._tensor_names, _tensor_kinds = module._tensor_kinds,
    _child_names = module._child_names }, getmetatable(module))
  twins[module] = twin
  for name, v in pairs(module._values) do
    if is_module(v) then v = scan.twin(v, twins)
    elseif is_handle(v) then v = scan.shape_only(v) end
    twin._values[name] = v
  end
  return twin
end

---Returns the copies of a network's modules; they are made again after every change of the network's structure.
---@param network luasight.Network
---@return table<table, table>  # the copies by their originals
function scan.twins(network)
  local version = record.version()
  if not network.twins or network.twins_version ~= version then
    network.twins, network.twins_version = {}, version
    scan.twin(network.module, network.twins)
  end
  return network.twins
end

---Opens a scan for the arguments of one call of the model.
---@param network luasight.Network
---@param ... any
---@return luasight.Tracer
function scan.open(network, ...)
  local tracer, args, shapes = trace.open(network), { n = select("#", ...), ... }, {}
  tracer._twins = scan.twins(network)
  traces.scan(tracer._recording.graph)
  for i = 1, args.n do shapes[i] = scan.shape_only(args[i]) end
  local index = trace.invoke(tracer, traces.WHOLE, unpack(shapes, 1, args.n))
  tracer._recording.invokes[index] = { index = index, network = network, kind = traces.WHOLE, args = args }
  return tracer
end

return scan
