--- The function of a module as a file of JSON that names its weights.
local binding = require "luasight.ffi"
local record = require "luasight.nn.record"

local C, ffi = binding.C, binding.ffi

---@param path string
---@param module luasight.nn.Module
---@param ... any  the arguments of one call
return function(path, module, ...)
  local f = record.function_for(module, ...)
  local names, kept = ffi.new("const char *[?]", 1), {}
  for name in module:named_state() do kept[#kept + 1] = name end
  if #kept > 0 then names = ffi.new("const char *[?]", #kept, kept) end
  local out, reader = ffi.new "const char *[1]", ffi.new "ls_reader *[1]"
  binding.check(C.ls_function_json(f, names, #kept, out))
  local text = ffi.string(out[0])
  -- What could not be read again is not written.
  binding.check(C.ls_function_read(text, #text, "this graph", reader))
  C.ls_reader_release(reader[0])
  binding.check(C.ls_file_write(path, text, #text))
end
