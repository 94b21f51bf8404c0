--- Calls every function that core/abi.h declares with arguments that are wrong, one at a time: NULL for each pointer, values of
--- no kind, numbers out of range. Each must say so in its way and leave what it would have written as it was. A function of
--- the header that has no valid call below fails.
local ffi = require "ffi"
local binding = require "luasight.ffi"
local C = binding.C

-- ---- the declarations ----------------------------------------------------------------------------------------------------

---@class Declaration
---@field name string
---@field gives string
---@field parameters { type: string, name: string }[]

local function declarations()
  local file = assert(io.open "core/abi.h")
  local text, list = file:read("*a"):gsub("/%*.-%*/", ""):gsub("%b{}", ""):gsub("%s+", " "), {}
  file:close()
  for statement in text:gmatch "([^;]+);" do
    local gives, name, inside = statement:match "^%s*(.-)%s*(ls_[%w_]+)(%b())%s*$"
    if name and not statement:find "typedef" then
      local parameters = {}
      for one in inside:sub(2, -2):gmatch "[^,]+" do
        local kind, called = one:match "^%s*(.-)%s*([%w_]+)%s*$"
        if called ~= "void" then parameters[#parameters + 1] = { type = kind, name = called } end
      end
      list[#list + 1] = { name = name, gives = gives, parameters = parameters }
    end
  end
  return list
end

-- ---- what a valid call needs ---------------------------------------------------------------------------------------------

local function check(status) assert(status == 0, ffi.string(C.ls_error_message())) end

local function values(list) -- { kind, number or pointer or text, aux }
  local array = ffi.new("ls_value[?]", #list)
  for i, v in ipairs(list) do
    array[i - 1].kind, array[i - 1].aux = v[1], v[3] or 0
    if type(v[2]) == "number" then array[i - 1].as.i = v[2]
    elseif type(v[2]) == "string" then array[i - 1].as.s = v[2]
    elseif v[2] then array[i - 1].as.p = v[2] end
  end
  return array
end

local shared = {} -- is the same in all calls

local function share()
  local file = assert(io.open("models/pretrained/ioi/tokenizer.json", "rb"))
  shared.json = file:read "*a"
  file:close()
  shared.weights_path = "models/pretrained/ioi/model.safetensors"
  local add = ffi.new "const ls_op *[1]"
  check(C.ls_op_find("add", add))
  shared.add = add[0]
end

local World = {}
World.__index = World

---Memory that a call may write to, filled with a pattern.
function World:out(kind, count)
  local size = ffi.sizeof(kind) * (count or 1)
  local memory = ffi.new(kind .. "[?]", count or 1)
  ffi.fill(memory, size, 0x5A)
  self.outs[#self.outs + 1] = { memory = memory, size = size, kind = kind }
  return memory
end

function World:untouched()
  for _, out in ipairs(self.outs) do
    local bytes = ffi.cast("unsigned char *", out.memory)
    for i = 0, out.size - 1 do
      if bytes[i] ~= 0x5A then return false end
    end
  end
  return true
end

local release = { ["ls_module *"] = "ls_module_release", ["ls_function *"] = "ls_function_release",
  ["ls_program *"] = "ls_program_release", ["ls_trace *"] = "ls_trace_release", ["ls_weights *"] = "ls_weights_release",
  ["ls_tokenizer *"] = "ls_tokenizer_release", ["ls_reader *"] = "ls_reader_release" }

---Keeps a handle until the world ends.
function World:own(kind, handle)
  self.owned[#self.owned + 1] = { kind, handle }
  return handle
end

---The handle that `make(out)` gives.
function World:make(kind, make)
  local out = ffi.new(kind .. "[1]")
  check(make(out))
  return self:own(kind, out[0])
end

---The value that `make(out)` gives.
function World:value(make)
  local out = ffi.new "ls_value[1]"
  check(make(out))
  return self:own("ls_value", out)
end

function World:close(succeeded)
  for _, out in ipairs(succeeded and self.outs or {}) do
    local touched = ffi.cast("unsigned char *", out.memory)
    for i = 0, out.size / ffi.sizeof(out.kind) - 1 do
      local written = touched[i * ffi.sizeof(out.kind)] ~= 0x5A
      if written and out.kind == "ls_value" then C.ls_value_release(out.memory + i) end
      if written and out.kind == "ls_event" then C.ls_value_release(out.memory[i].value) end
      if release[out.kind] then C[release[out.kind]](out.memory[i]) end
    end
  end
  for i = #self.owned, 1, -1 do
    local kind, handle = unpack(self.owned[i])
    if kind == "ls_value" then C.ls_value_release(handle) else C[release[kind]](handle) end
  end
end

local function result_of(w, node)
  return w:value(function(out)
    local all, n = ffi.new("ls_value[?]", C.LS_RESULTS), ffi.new "int32_t[1]"
    local args = values { { C.LS_NODE, node[0].as.p, node[0].aux }, { C.LS_INT, 1 } }
    local status = C.ls_op_call(shared.add, args, 2, 0, all, n)
    out[0] = all[0]
    return status
  end)
end

---A tensor of two numbers that records a gradient.
local function tensor(w)
  local v = w:value(function(out)
    return C.ls_tensor_from(ffi.new("double[2]", 1, 2), "float64", ffi.new("int64_t[1]", 2), 1, "float32", "cpu", out)
  end)
  check(C.ls_tensor_require_grad(v, 1))
  return v
end

local texts = {
  f = '{"luasight_function":1,"tensors":[{"names":["w"],"dtype":"float32","shape":[2]}],'
    .. '"modules":[{"class":"M","tensors":{"w":0}}],'
    .. '"functions":[{"module":0,"nodes":[{"node":0,"do":"input"}],"result":{"node":0}}]}',
  c = '{"luasight_function":1,"tensors":[],"modules":[{"class":"M"}],'
    .. '"functions":[{"module":0,"nodes":[{"node":0,"do":"input"}],"result":{"node":0}}]}',
  e = '{"luasight_edits":1,"edits":[{"nodes":[{"node":0,"do":"read","name":"output"},'
    .. '{"node":1,"do":"call","name":"a","arguments":[{"node":0}]}]}]}',
  none = '{"luasight_edits":1,"edits":[{"nodes":[{"node":0,"do":"read","name":"output"}]}]}',
}

-- What calls take is made when they ask for it.
local makers = {
  tensor = tensor,
  other = tensor,
  number = function(w)
    return w:value(function(out)
      return C.ls_tensor_from(ffi.new("double[1]", 1), "float64", ffi.new("int64_t[1]", 1), 0, "float32", "cpu", out)
    end)
  end,
  one = function() return values { { C.LS_INT, 1 } } end,
  none = function() return values { { C.LS_NONE } } end,
  seq = function(w)
    return w:value(function(out)
      return C.ls_value_build(values { { C.LS_OPEN, 1, C.LS_STRUCT }, { C.LS_KEY, "a" }, { C.LS_INT, 5 } }, 3, out)
    end)
  end,
  module = function(w) return w:make("ls_module *", function(out) return C.ls_module_new("M", out) end) end,
  child = function(w) return w:make("ls_module *", function(out) return C.ls_module_new("N", out) end) end,
  open = function(w) return w:make("ls_function *", function(out) return C.ls_function_new(w.module, out) end) end,
  input = function(w) return w:value(function(out) return C.ls_function_input(w.open, nil, out) end) end,
  known = function(w) -- a node that needs no input of its function
    C.ls_record(w.open, -1)
    local node = w:value(function(out)
      local all, n = ffi.new("ls_value[?]", C.LS_RESULTS), ffi.new "int32_t[1]"
      local args = values { { C.LS_TENSOR, w.tensor[0].as.p }, { C.LS_INT, 1 } }
      local status = C.ls_op_call(shared.add, args, 2, 0, all, n)
      out[0] = all[0]
      return status
    end)
    C.ls_record(nil, -1)
    return node
  end,
  eager = function(w)
    local f = w:make("ls_function *", function(out) return C.ls_function_new(w.module, out) end)
    w.eager_node = w:value(function(out) return C.ls_function_input(f, nil, out) end)
    return f
  end,
  eager_value = function(w)
    check(C.ls_function_eager(w.eager, w.tensor, 1, 1))
    return w.eager_node
  end,
  made = function(w) -- a finished function
    local f = w:make("ls_function *", function(out) return C.ls_function_new(w.child, out) end)
    local input = w:value(function(out) return C.ls_function_input(f, nil, out) end)
    check(C.ls_function_finish(f, result_of(w, input)))
    return f
  end,
  program = function(w) return w:make("ls_program *", function(out) return C.ls_program_new(w.made, out) end) end,
  trace = function(w)
    local t = w:make("ls_trace *", function(out) return C.ls_trace_open(out) end)
    check(C.ls_trace_invoke(t, C.LS_INVOKE_WHOLE, w.program, w.tensor, 1, ffi.new "int32_t[1]"))
    return t
  end,
  rows = function(w) -- waits for the rows of its one invoke
    local t = w:make("ls_trace *", function(out) return C.ls_trace_open(out) end)
    check(C.ls_trace_invoke(t, C.LS_INVOKE_ROWS, w.program, w.tensor, 1, ffi.new "int32_t[1]"))
    C.ls_value_release(w:value(function(out) return C.ls_trace_read(t, 0, 0, 1, 0, out) end))
    w.owned[#w.owned] = nil
    return t
  end,
  generating = function(w)
    local t = w:make("ls_trace *", function(out) return C.ls_trace_open(out) end)
    check(C.ls_trace_generate(t, 2))
    check(C.ls_trace_invoke(t, C.LS_INVOKE_WHOLE, w.program, w.tensor, 1, ffi.new "int32_t[1]"))
    return t
  end,
  asking = function(w) -- waits for a function of the script, node 0
    local t, event = w.trace, ffi.new "ls_event[1]"
    local host = w:value(function(out) return C.ls_trace_host(t, 0, w.one, 1, 0, out) end)
    check(C.ls_trace_save(host))
    check(C.ls_trace_run(t, nil, 0, event))
    assert(event[0].kind == C.LS_EVENT_HOST)
    w:own("ls_value", event[0].value)
    w.host = host[0].aux
    return t
  end,
  read = function(w) return w:value(function(out) return C.ls_trace_read(w.trace, 0, 0, 1, 0, out) end) end,
  ran = function(w)
    check(C.ls_trace_save(w.read))
    check(C.ls_trace_run(w.trace, nil, 0, ffi.new "ls_event[1]"))
    return w.read
  end,
  edits = function(w)
    local t = w:make("ls_trace *", function(out) return C.ls_trace_open(out) end)
    check(C.ls_trace_invoke(t, C.LS_INVOKE_WHOLE, w.program, w.tensor, 1, ffi.new "int32_t[1]"))
    check(C.ls_trace_write(t, 0, 0, 1, w.other, 0, 0))
    return t
  end,
  reader = function(w) -- of a function with a weight
    return w:make("ls_reader *", function(out) return C.ls_function_read(texts.f, #texts.f, "function.json", out) end)
  end,
  edits_reader = function(w) -- of an edit that calls a module
    return w:make("ls_reader *", function(out) return C.ls_edits_read(texts.e, #texts.e, "edits.json", out) end)
  end,
  edits_alone = function(w)
    return w:make("ls_reader *", function(out) return C.ls_edits_read(texts.none, #texts.none, "edits.json", out) end)
  end,
  constant = function(w) -- of a function without a weight
    return w:make("ls_reader *", function(out) return C.ls_function_read(texts.c, #texts.c, "function.json", out) end)
  end,
  weights = function(w) return w:make("ls_weights *", function(out) return C.ls_weights_open(shared.weights_path, out) end) end,
  tokenizer = function(w)
    return w:make("ls_tokenizer *", function(out)
      return C.ls_tokenizer_load(shared.json, #shared.json, "tokenizer.json", out)
    end)
  end,
}

local function new_world()
  return setmetatable({ outs = {}, owned = {} }, { __index = function(w, name)
    local method = World[name]
    if method then return method end
    local made = assert(makers[name], name)(w)
    rawset(w, name, made)
    return made
  end })
end

-- ---- valid calls ---------------------------------------------------------------------------------------------------------

local function V(w) return w:out "ls_value" end

local path = os.tmpname()

-- Arguments of a valid call of each function, in order; nil is NULL.
local calls = {
  ls_abi_version = function() end,
  ls_start = function() return C.LS_START_ALL end,
  ls_stop = function() end,
  ls_error_message = function() end, ls_error_cause = function() end, ls_error_point = function() end,
  ls_error_site = function() end, ls_error_site2 = function() end,
  ls_error_again = function() end,
  ls_header_hash = function() end, ls_torch_version = function() end, ls_live = function() end,

  ls_value_retain = function(w) w:own("ls_value", w.tensor) return w.tensor end,
  ls_value_release = function(w) C.ls_value_retain(w.tensor) return w.tensor end,
  ls_value_bytes = function(w) return w.tensor end,
  ls_value_build = function(w) return values { { C.LS_OPEN, 1, C.LS_TUPLE }, { C.LS_INT, 3 } }, 2, V(w) end,
  ls_seq_build = function(w) return values { { C.LS_OPEN, 1, C.LS_TUPLE }, { C.LS_INT, 3 } }, 2, 0, V(w) end,
  ls_seq_length = function(w) return w.seq end,
  ls_seq_key = function(w) return w.seq, 0 end,
  ls_seq_get = function(w) return w.seq, 0, V(w) end,
  ls_seq_find = function(w) return w.seq, "a" end,

  ls_op_find = function(w) return "add", w:out "const ls_op *" end,
  ls_op_call = function(w)
    return shared.add, values { { C.LS_INT, 1 }, { C.LS_INT, 2 } }, 2, 0, w:out("ls_value", 16), w:out "int32_t"
  end,
  ls_getitem = function(w) return w.tensor, values { { C.LS_INT, 0 } }, 1, 0, V(w) end,
  ls_setitem = function(w) return w.number, values { { C.LS_ELLIPSIS } }, 1, w.one, 0 end,
  ls_op_names = function() return "add" end,
  ls_op_schemas = function() return shared.add end,

  ls_tensor_describe = function(w) return w.tensor, w:out "ls_tensor_info" end,
  ls_tensor_grad_fn = function(w) return w.tensor end,
  ls_tensor_from = function(w)
    return ffi.new("double[2]", 1, 2), "float64", ffi.new("int64_t[1]", 2), 1, "float32", "cpu", V(w)
  end,
  ls_tensor_pointer = function(w) return w.tensor, w:out "void *" end,
  ls_tensor_item = function(w) return w.number, V(w) end,
  ls_tensor_plain = function(w) return w.tensor, V(w) end,
  ls_tensor_grad = function(w) return w.tensor, V(w) end,
  ls_tensor_set_grad = function(w) return w.tensor, w.other end,
  ls_tensor_set_data = function(w) return w.tensor, w.other end,
  ls_tensor_require_grad = function(w) return w.tensor, 1 end,
  ls_tensor_backward = function(w) return w.tensor, w.other, 0 end,
  ls_tensor_same = function(w) return w.tensor, w.tensor end,
  ls_grad_enabled = function() end,
  ls_grad_enable = function() return 1 end,
  ls_manual_seed = function() return 1 end,
  ls_threads = function() end,
  ls_set_threads = function() return 2 end,
  ls_device_count = function() return "cpu" end,

  ls_module_new = function(w) return "M", w:out "ls_module *" end,
  ls_module_release = function() local out = ffi.new "ls_module *[1]" check(C.ls_module_new("M", out)) return out[0] end,
  ls_module_set_tensor = function(w) return w.module, "weight", w.tensor end,
  ls_module_set_child = function(w) return w.module, "child", w.child end,
  ls_module_set_axis = function(w) return w.module, "output", 0 end,
  ls_function_new = function(w) return w.module, w:out "ls_function *" end,
  ls_function_input = function(w) return w.open, "x", V(w) end,
  ls_function_call = function(w) return w.open, w.child, w.made, w.input, 1, 0, V(w) end,
  ls_function_tap = function(w) return w.open, "tap", w.input, 0, V(w) end,
  ls_function_two_forms = function(w) return w.open, w.made, w.made, w.input, 1, 0, V(w) end,
  ls_function_finish = function(w) return w.open, w.input end,
  ls_function_eager = function(w) return w.eager, w.tensor, 1, 0 end,
  ls_function_demand = function(w) return w.eager_value, 0, V(w) end,
  ls_function_result = function(w) return w.made, V(w) end,
  ls_function_release = function() local out = ffi.new "ls_function *[1]" check(C.ls_function_new(nil, out)) return out[0] end,
  ls_function_json = function(w) return w.made, ffi.new("const char *[1]", { "weight" }), 1, w:out "const char *" end,
  ls_function_read = function(w) return texts.f, #texts.f, "function.json", w:out "ls_reader *" end,
  ls_edits_read = function(w) return texts.e, #texts.e, "edits.json", w:out "ls_reader *" end,
  ls_reader_release = function()
    local out = ffi.new "ls_reader *[1]"
    check(C.ls_function_read(texts.f, #texts.f, "function.json", out))
    return out[0]
  end,
  ls_reader_tensors = function(w) return w.reader end,
  ls_reader_tensor = function(w) return w.reader, 0, w:out "ls_weights_entry" end,
  ls_reader_tensor_name = function(w) return w.reader, 0, 0 end,
  ls_reader_set_tensor = function(w) return w.reader, "w", w.tensor end,
  ls_reader_function = function(w) return w.constant, w:out "ls_function *" end,
  ls_reader_edits = function(w) return w.edits_reader end,
  ls_reader_edit_steps = function(w) return w.edits_reader, 0 end,
  ls_reader_calls = function(w) return w.edits_reader end,
  ls_reader_call = function(w) return w.edits_reader, 0, w:out "ls_reader_call_info" end,
  ls_reader_call_keyword = function(w) return w.edits_reader, 0, 0 end,
  ls_reader_set_program = function(w) return w.edits_reader, 0, w.program end,
  ls_reader_record = function(w) return w.edits_alone, 0, w.trace, 0 end,
  ls_file_write = function() return path, "bytes", 5 end,
  ls_function_shape = function(w) return w.input, 0, V(w) end,
  ls_function_known = function(w) return w.known, w:out "ls_tensor_info" end,
  ls_record = function(w) return w.open, -1 end,
  ls_program_new = function(w) return w.made, w:out "ls_program *" end,
  ls_program_release = function(w) local out = ffi.new "ls_program *[1]" check(C.ls_program_new(w.made, out)) return out[0] end,
  ls_program_calls = function(w) return w.program, "child" end,
  ls_program_find = function(w) return w.program, "output" end,
  ls_program_points = function(w) return w.program end,
  ls_program_point_module = function(w) return w.program, 1 end,
  ls_program_point_name = function(w) return w.program, 1 end,
  ls_program_run = function(w) return w.program, w.tensor, 1, 0, V(w) end,

  ls_trace_open = function(w) return w:out "ls_trace *" end,
  ls_trace_release = function() local out = ffi.new "ls_trace *[1]" check(C.ls_trace_open(out)) return out[0] end,
  ls_trace_invoke = function(w) return w.trace, C.LS_INVOKE_WHOLE, w.program, w.tensor, 1, w:out "int32_t" end,
  ls_trace_scan = function(w) return w.trace end,
  ls_trace_generate = function(w) return w.trace, 3 end,
  ls_trace_read = function(w) return w.trace, 0, 0, 1, 0, V(w) end,
  ls_trace_write = function(w) return w.trace, 0, 0, 1, w.other, 0, 0 end,
  ls_trace_new_pass = function(w) return w.trace end,
  ls_trace_pad = function(w) return w.trace, 0, 0, 1, 0, V(w) end,
  ls_trace_token_axis = function(w) return w.read, w:out "int32_t", w:out "int32_t" end,
  ls_trace_text = function(w) return w.generating, 0, 0, V(w) end,
  ls_trace_call = function(w) return w.trace, w.program, w.read, 1, -1, 0, V(w) end,
  ls_trace_hook = function(w) return w.trace, w.program, w:out "int32_t" end,
  ls_trace_host = function(w) return w.trace, 0, w.read, 1, 0, V(w) end,
  ls_trace_grad = function(w) return w.read, 0, 0, V(w) end,
  ls_trace_grad_of = function(w) return w.trace, w.tensor, 0, 0, V(w) end,
  ls_trace_set_grad = function(w) return w.read, w.other, 0, 0 end,
  ls_trace_backward = function(w) return w.read, w.none, 0, 0, 0 end,
  ls_trace_stop = function(w) return w.trace, 0 end,
  ls_trace_save = function(w) return w.read end,
  ls_trace_include = function(w) return w.trace, w.edits, 0, 0, ffi.new "int32_t[16]" end,
  ls_trace_count = function(w) return w.trace end,
  ls_trace_run = function(w) return w.read and w.trace, w.read, 0, w:out "ls_event" end,
  ls_trace_pass = function(w) return w.trace, 0 end,
  ls_trace_rows = function(w) return w.rows, 0, 0, 2, 0 end,
  ls_trace_begin = function(w) return w.rows, 0, 0, w.program, w.tensor, 1, 2 end,
  ls_trace_end = function(w) return w.generating, w.tensor end,
  ls_trace_supply = function(w) local t = w.asking return t, w.host, w.tensor end,
  ls_trace_optional = function(w) return w.read end,
  ls_trace_abandon = function(w) return w.trace end,
  ls_trace_keep = function(w) return w.trace end,
  ls_trace_rewind = function(w) return w.trace end,
  ls_trace_value = function(w) return w.ran, V(w) end,
  ls_trace_bytes = function(w) return w.trace end,
  ls_node_is_set = function(w) return w.read end, ls_node_is_eager = function(w) return w.read end,
  ls_node_kind = function(w) return w.read end, ls_node_is_open = function(w) return w.read end,
  ls_node_site = function(w) return w.read end,
  ls_trace_program = function(w) return w.trace, w:value(function(out)
      return C.ls_trace_call(w.trace, w.program, w.read, 1, -1, 0, out)
    end)[0].aux end,
  ls_trace_describe = function(w) return w.read and w.trace, w:out "const char *" end,
  ls_trace_json = function(w) return w.read and w.trace, 0, w:out "const char *" end,
  ls_interrupt = function() end,

  ls_weights_open = function(w) return shared.weights_path, w:out "ls_weights *" end,
  ls_weights_release = function()
    local out = ffi.new "ls_weights *[1]"
    check(C.ls_weights_open(shared.weights_path, out))
    return out[0]
  end,
  ls_weights_count = function(w) return w.weights end,
  ls_weights_describe = function(w) return w.weights, 0, w:out "ls_weights_entry" end,
  ls_weights_find = function(w) return w.weights, "no such name" end,
  ls_weights_metadata = function(w) return w.weights end,
  ls_weights_tensor = function(w) return w.weights, 0, V(w) end,
  ls_weights_content = function(w) return w.weights, w:out "const ls_value *" end,
  ls_weights_forget = function(w) return w.weights, 0 end,
  ls_weights_write = function(w) return path, ffi.new("const char *[1]", { "a" }), w.tensor, 1, "{}" end,

  ls_tokenizer_load = function(w) return shared.json, #shared.json, "tokenizer.json", w:out "ls_tokenizer *" end,
  ls_tokenizer_release = function()
    local out = ffi.new "ls_tokenizer *[1]"
    check(C.ls_tokenizer_load(shared.json, #shared.json, "tokenizer.json", out))
    return out[0]
  end,
  ls_tokenizer_size = function(w) return w.tokenizer end,
  ls_tokenizer_encode = function(w)
    return w.tokenizer, "when", 4, ffi.new "ls_encoding[1]", w:out "const ls_token *", w:out "int32_t"
  end,
  ls_tokenizer_decode = function(w)
    return w.tokenizer, ffi.new("int64_t[1]", 1), 1, 0, w:out "const char *", w:out "size_t"
  end,
  ls_tokenizer_token = function(w) return w.tokenizer, 1 end,
  ls_tokenizer_id = function(w) return w.tokenizer, "when" end,
}

-- ---- what is allowed -----------------------------------------------------------------------------------------------------

-- Pointers that may be NULL.
local optional = { ["ls_module_set_child.child"] = true, ["ls_function_input.keyword"] = true, ["ls_function_new.m"] = true,
  ["ls_record.f"] = true, ["ls_function_call.child"] = true, ["ls_trace_run.demanded"] = true,
  ["ls_weights_write.metadata"] = true, ["ls_tensor_from.device"] = true }
-- Numbers of which all are allowed.
local any = {}
for name in ("may on copies site numbers autograd retain_graph skips seed offset axis skip_special"):gmatch "%S+" do
  any[name] = true
end
-- Numbers that mean something where they are -1, and those of which the core cannot know what is too many.
local minus_one = { ["ls_trace_include.step"] = true, ["ls_trace_host.invoke"] = true, ["ls_trace_grad.invoke"] = true,
  ["ls_trace_grad_of.invoke"] = true, ["ls_trace_set_grad.invoke"] = true, ["ls_trace_backward.invoke"] = true,
  ["ls_trace_call.hook"] = true }
local unbounded = { n = true, first = true, rows = true, pad = true, length = true, ["ls_trace_include.step"] = true }
-- Functions whose answer to what is no value is 0.
local zero = { ls_value_bytes = true, ls_tensor_same = true }
-- A value's pointer is followed unseen here, as it must cost nothing.
local trusting = { ls_value_retain = true, ls_value_release = true, ls_value_bytes = true }
-- Values of which every kind is allowed.
local all_kinds = {}
for name in ("value stream args index given result self tensors text parameter gradient"):gmatch "%S+" do
  all_kinds[name] = true
end

-- ---- the calls -----------------------------------------------------------------------------------------------------------

local problems, cases = {}, 0

local function refused(declaration, result, codes)
  if declaration.gives == "ls_status" then return codes[tonumber(result)] end
  if declaration.gives == "void" then return true end
  if declaration.gives:find "%*" then
    return result == nil or (declaration.gives == "const char *" and ffi.string(result) == "")
  end
  return tonumber(result) == (zero[declaration.name] and 0 or -1)
end

local NULL = { [C.LS_ERROR_ARGUMENT] = true }
local RANGE = { [C.LS_ERROR_ARGUMENT] = true, [C.LS_ERROR_INDEX] = true, [C.LS_ERROR_UNREACHED] = true }
local KIND = { [C.LS_ERROR_ARGUMENT] = true, [C.LS_ERROR_STATE] = true }

local function balanced(live, what)
  local more = tonumber(C.ls_live() - live)
  if more ~= 0 then problems[#problems + 1] = ("%s leaves %d handles"):format(what, more) end
end

---Calls with argument `place` replaced; it has to be refused.
local function wrong(declaration, place, replacement, what, codes)
  io.write(declaration.name, ": ", what, "\n")
  io.flush()
  cases = cases + 1
  local w, live = new_world(), C.ls_live()
  local arguments = { calls[declaration.name](w) }
  local original, counts = arguments[place], declaration.name:find "_release$" or declaration.name:find "_retain$"
  arguments[place] = replacement
  local result = C[declaration.name](unpack(arguments, 1, #declaration.parameters))
  if not refused(declaration, result, codes) then
    problems[#problems + 1] = ("%s accepts %s: %s"):format(declaration.name, what, tostring(result))
  elseif not w:untouched() then
    problems[#problems + 1] = ("%s writes something in spite of %s"):format(declaration.name, what)
  end
  if counts then C[declaration.name](original) end
  w:close(declaration.gives ~= "ls_status")
  balanced(live, ("%s with %s"):format(declaration.name, what))
end

local function right(declaration)
  io.write(declaration.name, "\n")
  io.flush()
  local w, live = new_world(), C.ls_live()
  local result = C[declaration.name](unpack({ calls[declaration.name](w) }, 1, #declaration.parameters))
  if declaration.gives == "ls_status" and result ~= 0 then
    problems[#problems + 1] = ("%s fails: %s"):format(declaration.name, ffi.string(C.ls_error_message()))
  end
  w:close(result == 0 or declaration.gives ~= "ls_status")
  balanced(live, declaration.name)
end

local function try(declaration)
  local name = declaration.name
  right(declaration)
  if name == "ls_stop" then check(C.ls_start(C.LS_START_ALL)) end
  for place, parameter in ipairs(declaration.parameters) do
    local key = name .. "." .. parameter.name
    if parameter.type:find "%*" then
      if not optional[key] then wrong(declaration, place, nil, "NULL for " .. parameter.name, NULL) end
      if parameter.type == "const ls_value *" and not trusting[name] then
        local bad = { { "kind 77", { 77, 1 } }, { "kind -3", { -3, 1 } }, { "a tensor at NULL", { C.LS_TENSOR } },
          { "a node at NULL", { C.LS_NODE } } }
        if not all_kinds[parameter.name] then bad[#bad + 1] = { "a number", { C.LS_INT, 1 } } end
        for _, one in ipairs(bad) do
          wrong(declaration, place, values { one[2] }, ("%s for %s"):format(one[1], parameter.name), KIND)
        end
      end
    elseif not any[parameter.name] then
      local list = { -2147483648 }
      if not minus_one[key] then list[#list + 1] = -1 end
      if not (unbounded[parameter.name] or unbounded[key]) or key == "ls_set_threads.n" then list[#list + 1] = 2147483647 end
      if parameter.type == "size_t" then list = {} end
      for _, number in ipairs(list) do
        wrong(declaration, place, number, ("%d for %s"):format(number, parameter.name), RANGE)
      end
    end
  end
end

share()
for _, declaration in ipairs(declarations()) do
  if calls[declaration.name] then
    try(declaration)
    calls[declaration.name] = false
  else
    problems[#problems + 1] = declaration.name .. " has no valid call in this file"
  end
end
for name, left in pairs(calls) do
  if left then problems[#problems + 1] = name .. " is not in core/abi.h" end
end
os.remove(path)
print(#problems == 0 and ("%d wrong calls are refused"):format(cases) or table.concat(problems, "\n"))
os.exit(#problems == 0 and 0 or 1, true)
