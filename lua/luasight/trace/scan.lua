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

---Returns a copy of a tensor, or of a plain table of tensors, that has shapes and dtypes and no numbers.
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

---Returns a copy of a module, and of all modules below it, whose tensors have no numbers. Shared modules stay shared.
---@param module table  an nn.Module
---@param copies table<any, any>  the copies made so far, by their originals
---@return table
function scan.copy(module, copies)
  if copies[module] then return copies[module] end
  local copy = setmetatable({ _values = {}, _tensor_names = module._tensor_names, _tensor_kinds = module._tensor_kinds,
    _child_names = module._child_names }, getmetatable(module))
  copies[module] = copy
  for name, v in pairs(module._values) do
    if is_module(v) then v = scan.copy(v, copies)
    elseif is_handle(v) then v = scan.shape_only(v) end
    copy._values[name] = v
  end
  return copy
end

---Returns copies of a network's modules without numbers; they are made again after every change of the network's structure.
---@param network luasight.Network
---@return table<table, table>  # the copies by their originals
function scan.copies(network)
  local version = record.version(network.module)
  if not network.meta_copies or network.meta_copies_version ~= version then
    network.meta_copies, network.meta_copies_version = {}, version
    scan.copy(network.module, network.meta_copies)
  end
  return network.meta_copies
end

---Opens a scan for the arguments of one call of the model.
---@param network luasight.Network
---@param ... any
---@return luasight.Tracer
function scan.open(network, ...)
  local tracer, args, shapes = trace.open(network, true), { n = select("#", ...), ... }, {}
  tracer._meta_copies = scan.copies(network)
  traces.scan(tracer._recording.graph)
  for i = 1, args.n do shapes[i] = scan.shape_only(args[i]) end
  local index = trace.invoke(tracer, traces.WHOLE, unpack(shapes, 1, args.n))
  tracer._recording.invokes[index] = { index = index, network = network, kind = traces.WHOLE, args = args }
  return tracer
end

return scan
