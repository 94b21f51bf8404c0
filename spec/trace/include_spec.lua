-- Stored edits of a C program: what each kind of node becomes in the trace that they are copied to.
local ffi = require "ffi"
local binding = require "luasight.ffi"
local C = binding.C

local function check(status) assert(status == 0, ffi.string(C.ls_error_message())) end

local function made(kind, make)
  local out = ffi.new(kind .. "[1]")
  check(make(out))
  return out[0]
end

local function value(make)
  local out = ffi.new "ls_value[1]"
  check(make(out))
  return out
end

describe("stored edits in C", function()
  local tensor, module, model, program, edits, trace

  local function open(kind, steps)
    local t = made("ls_trace *", C.ls_trace_open)
    if steps then check(C.ls_trace_generate(t, steps)) end
    check(C.ls_trace_invoke(t, kind, program, tensor, 1, ffi.new "int32_t[1]"))
    return t
  end

  local function output_of(t) return value(function(out) return C.ls_trace_read(t, 0, 0, 1, 0, out) end) end

  ---The value of a node of the trace that has ended, as a new reference.
  local function value_of(node)
    local handle = ffi.new("ls_value[1]", { { kind = C.LS_NODE, aux = node } })
    handle[0].as.p = trace
    return value(function(out) return C.ls_trace_value(handle, out) end)
  end

  local function save(node)
    local handle = ffi.new("ls_value[1]", { { kind = C.LS_NODE, aux = node } })
    handle[0].as.p = trace
    C.ls_value_retain(handle)
    check(C.ls_trace_save(handle))
    return handle
  end

  ---Runs `body` with a model, and gives back what it and the model hold.
  local function with_model(body)
    tensor = value(function(out)
      return C.ls_tensor_from(ffi.new("double[2]", 1, 2), "float64", ffi.new("int64_t[2]", 2, 1), 2, "float32", "cpu", out)
    end)
    module = made("ls_module *", function(out) return C.ls_module_new("M", out) end)
    model = made("ls_function *", function(out) return C.ls_function_new(module, out) end)
    local input = value(function(out) return C.ls_function_input(model, nil, out) end)
    check(C.ls_function_finish(model, input))
    C.ls_value_release(input)
    program = made("ls_program *", function(out) return C.ls_program_new(model, out) end)
    local passed, why = pcall(body)
    C.ls_trace_release(edits)
    C.ls_trace_release(trace)
    C.ls_program_release(program)
    C.ls_function_release(model)
    C.ls_module_release(module)
    C.ls_value_release(tensor)
    edits, trace = nil, nil
    if not passed then error(why, 0) end
  end

  it("count the padding and the rows of the invoke that they are copied to", function()
    with_model(function()
      edits = open(C.LS_INVOKE_ROWS)
      C.ls_value_release(value(function(out) return C.ls_trace_pad(edits, 0, 0, 3, 0, out) end))
      C.ls_value_release(output_of(edits))
      assert.equal(3, C.ls_trace_count(edits)) -- the padding, the read, and its rows

      trace = open(C.LS_INVOKE_ROWS)
      local map, event = ffi.new "int32_t[3]", ffi.new "ls_event[1]"
      check(C.ls_trace_include(trace, edits, 0, -1, map))
      local pad, rows = save(map[0]), save(map[2])
      check(C.ls_trace_run(trace, nil, 0, event))
      assert.equal(C.LS_EVENT_PASS, event[0].kind)
      check(C.ls_trace_rows(trace, 0, 1, 1, 2))
      check(C.ls_trace_begin(trace, event[0].pass, 0, program, tensor, 1, 2))
      C.ls_value_release(event[0].value)
      check(C.ls_trace_run(trace, nil, 0, event))
      assert.equal(C.LS_EVENT_NONE, event[0].kind)

      assert.equal(5, tonumber(value_of(map[0])[0].as.i))
      local row, item = value_of(map[2]), ffi.new "ls_value[1]"
      check(C.ls_tensor_item(row, item)) -- one element: the second row
      assert.equal(2, item[0].as.f)
      for _, v in ipairs { row, pad, rows } do C.ls_value_release(v) end
    end)
  end)

  it("cannot ask for the text of a generation where none is", function()
    with_model(function()
      edits = open(C.LS_INVOKE_WHOLE, 2)
      C.ls_value_release(value(function(out) return C.ls_trace_text(edits, 0, 0, out) end))
      trace = open(C.LS_INVOKE_WHOLE)
      local status = C.ls_trace_include(trace, edits, 0, -1, ffi.new "int32_t[1]")
      assert.equal(C.LS_ERROR_STATE, status)
      assert.truthy(ffi.string(C.ls_error_message()):find("generates nothing", 1, true))
    end)
  end)
end)
