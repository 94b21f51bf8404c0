--- Functions and stored edits as JSON texts. The core writes and reads these texts, and checks a whole text before it makes
--- any object from it.
local binding = require "luasight.ffi"

local C, ffi = binding.C, binding.ffi
local release_reader = binding.finalizer "ls_reader_release"

local graph_files = {}

local function new_text_out() return ffi.new "const char *[1]" end
local function new_reader_out() return ffi.new "ls_reader *[1]" end

---Writes a text to a file, which appears as a whole or not at all.
---@param path string
---@param text string
function graph_files.write(path, text) binding.check(C.ls_file_write(path, text, #text)) end

-- ---- functions -------------------------------------------------------------------------------------------------------

---Returns a function, with all functions that it calls, as JSON. A tensor that is listed in `names` is written as its name
---alone, since a file of weights has its numbers. The JSON is read back as a check; an error is raised where that fails.
---@param f ffi.cdata*
---@param names string[]
---@return string
function graph_files.of_function(f, names)
  local list, text_out, reader_out = ffi.new("const char *[?]", math.max(#names, 1)), new_text_out(), new_reader_out()
  for i, name in ipairs(names) do list[i - 1] = name end
  local text = binding.undisturbed(function()
    binding.check(C.ls_function_json(f, list, #names, text_out))
    return ffi.string(text_out[0])
  end)
  binding.check(C.ls_function_read(text, #text, "this graph", reader_out))
  C.ls_reader_release(reader_out[0])
  return text
end

-- ---- stored edits ----------------------------------------------------------------------------------------------------

---Reads and checks a JSON text of stored edits; returns a reader, from which `calls`, `edits` and `record` take the edits.
---@param text string
---@param name string  the name of the file, for errors
---@return ffi.cdata* reader
function graph_files.read_edits(text, name)
  binding.check_open()
  local out = new_reader_out()
  binding.check(C.ls_edits_read(text, #text, name, out))
  return ffi.gc(out[0], release_reader)
end

---@class luasight.EditedCall  a call of a module of the model in a stored edit
---@field edit integer  the number of the edit, from 0
---@field node integer  the number of the node in the edit
---@field path string  the path of the module
---@field positional integer  the number of positional arguments
---@field keywords string[]  the names of the keyword arguments

---Returns the calls of modules that the stored edits in a reader contain.
---@param reader ffi.cdata*
---@return luasight.EditedCall[]
function graph_files.calls(reader)
  local list, info = {}, ffi.new "ls_reader_call_info"
  for i = 0, C.ls_reader_calls(reader) - 1 do
    binding.check(C.ls_reader_call(reader, i, info))
    local keywords = {}
    for k = 0, info.keywords - 1 do keywords[k + 1] = ffi.string(C.ls_reader_call_keyword(reader, i, k)) end
    list[i + 1] = { edit = info.edit, node = info.node, path = ffi.string(info.path), positional = info.positional,
      keywords = keywords }
  end
  return list
end

---Sets the program that runs for a call in the list that `calls` returns.
---@param reader ffi.cdata*
---@param number integer  the position of the call in that list
---@param program ffi.cdata*
function graph_files.set_program(reader, number, program)
  binding.check(C.ls_reader_set_program(reader, number - 1, program))
end

---Returns the number of stored edits in a reader.
---@param reader ffi.cdata*
---@return integer
function graph_files.edits(reader) return C.ls_reader_edits(reader) end

---Returns whether a stored edit names the steps of a generation at which it acts.
---@param reader ffi.cdata*
---@param edit integer  from 0
---@return boolean
function graph_files.names_steps(reader, edit) return C.ls_reader_edit_steps(reader, edit) == 1 end

---Adds the nodes of a stored edit to an invoke of the trace `t`.
---@param reader ffi.cdata*
---@param edit integer  from 0
---@param t ffi.cdata*
---@param invoke integer
function graph_files.record(reader, edit, t, invoke) binding.check(C.ls_reader_record(reader, edit, t, invoke)) end

---@param reader ffi.cdata*
function graph_files.release(reader)
  binding.check_open()
  C.ls_reader_release(ffi.gc(reader, nil))
end

return graph_files
