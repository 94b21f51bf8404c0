-- The C library as others use it: wrong arguments, what it changes of its process, its header, the example in C.
local ffi = require "ffi"
local ls = require "luasight"

ffi.cdef "char *getcwd(char *buffer, size_t size);"
local root = ffi.string(ffi.C.getcwd(ffi.new "char[4096]", 4096))
local build = os.getenv "LUASIGHT_BUILD" or root .. "/build"
local box = "models/pretrained/ioi"
local compiler = os.getenv "CC" or "cc"
local sanitized = (os.getenv "LD_PRELOAD" or ""):find "asan" and "-fsanitize=address,undefined" or "" -- see tools/test

---Runs a command; whether it succeeded, and what it printed.
local function run(command)
  local pipe = assert(io.popen(command .. " 2>&1; echo status $?"))
  local text = pipe:read "*a"
  pipe:close()
  local printed, status = text:match "^(.-)status (%d+)\n$"
  return status == "0", printed
end

describe("the C library", function()
  local folder

  setup(function()
    folder = os.tmpname()
    os.remove(folder)
    assert(os.execute("mkdir " .. folder) == 0)
  end)

  teardown(function() os.execute("rm -r " .. folder) end)

  ---Compiles a program against what was built; gives its path. What is preloaded here is not for the compiler.
  local function compile(source, libraries)
    local made = ("%s/%s"):format(folder, source:match "([^/]+)%.%a+$")
    local with = source:match "%.cc$" and "c++ -Wpedantic" or compiler .. " -std=c11"
    local command = { "env -u LD_PRELOAD", with, sanitized, "-Wall -Wextra -Werror", source, "-o", made,
      "-I" .. build .. "/include", "-L" .. build .. "/lib", "-lluasight", libraries or "", "-Wl,-rpath," .. build .. "/lib" }
    local built, said = run(table.concat(command, " "))
    assert.is_true(built, said)
    return made
  end

  it("refuses wrong arguments in every function of its header, and writes nothing then", function()
    local passed, said = run("bin/luasight spec/abi/arguments.lua")
    assert.is_true(passed, said:sub(-2000))
    assert.is_true(tonumber(said:match "(%d+) wrong calls are refused") > 300)
  end)

  it("changes nothing of its process but what it may, and puts it back", function()
    local host = compile("spec/abi/host.c", "-ljansson")
    local all = tonumber(ffi.cast("int", require "luasight.ffi".C.LS_START_ALL))
    for _, may in ipairs { 0, 1, 2, 4, 8, 16, 32, all } do -- all of them, and each by itself
      assert.is_true(may == all or bit.band(all, may) == may)
      local passed, said = run(("%s %d"):format(host, may))
      assert.is_true(passed, ("flags %d: %s"):format(may, said))
    end
  end)

  it("has a header for C++ too, and a version", function()
    local file = assert(io.open(folder .. "/header.cc", "w"))
    file:write "#include <luasight/luasight.h>\nint main() { return ls_abi_version() == LS_ABI_VERSION ? 0 : 1; }\n"
    file:close()
    assert.is_true(run(compile(folder .. "/header.cc")))
  end)

  it("runs the example in C, which gives what the same gives in Lua", function()
    local model, graph = ls.LanguageModel(box), folder .. "/graph.json"
    model:save_graph(graph, "any text")
    local prompt, point = "When Mary and John went to the store, John gave a drink to", "transformer.h.0.mlp.output"
    local tokens = model.tokenizer:encode(prompt)
    local made = compile "examples/c/trace.c"
    local program = ("%s %s %s/model.safetensors"):format(made, graph, box)
    local passed, said = run(("%s %s %s"):format(program, point, table.concat(tokens, " ")))
    assert.is_true(passed, said)

    local norm, scores
    model:trace(prompt, function()
      local value = model.transformer.h[0].mlp.output
      norm = value:norm():save()
      value["..."] = 0
      scores = model.output.logits["0, -1"]:save()
    end)
    local plain = model(prompt).logits["0, -1"]
    local wanted = { plain:argmax():item(), plain:max():item(), norm:item(), scores:argmax():item(), scores:max():item() }
    local pattern = "^next: token (%S+) with (%S+)\n" .. point:gsub("%.", "%%.") ..
      ": a norm of (%S+)\nwithout it: token (%S+) with (%S+)\n$"
    local printed = { said:match(pattern) }
    assert.equal(#wanted, #printed, said)
    assert.are_not.equal(wanted[1], wanted[4])
    for i, n in ipairs(wanted) do
      local bound = math.max(1, math.abs(n)) * 1e-5 + 0.00005 -- the program prints four digits
      assert.is_true(math.abs(tonumber(printed[i]) - n) <= bound, ("%s is not %s"):format(printed[i], n))
    end

    passed, said = run(program .. " transformer.h.9.mlp.output 1")
    assert.is_false(passed)
    assert.truthy(said:find("trace: the model has no point transformer.h.9.mlp.output\n", 1, true), said)
    passed, said = run(("%s %s %s %s 1"):format(made, graph, "models/pretrained/none.safetensors", point))
    assert.is_false(passed)
    assert.truthy(said:find("none.safetensors", 1, true), said)
  end)
end)
