-- Without memory: the driver spec/alloc/fail_alloc.c lets the 1st, 2nd, ... nth allocation of the readers and writers fail.
local compiler = os.getenv "CC" or "cc"

---Runs a command; its exit status as a boolean and what it printed. What is preloaded here is not for it.
local function run(command)
  local pipe = assert(io.popen("env -u LD_PRELOAD " .. command .. " 2>&1; echo status $?"))
  local text = pipe:read "*a"
  pipe:close()
  local printed, status = text:match "^(.-)status (%d+)\n$"
  return status == "0", printed
end

describe("without memory #slow", function()
  it("the tokenizer and files of weights fail with an error, leak nothing and leave no file", function()
    if not run(compiler .. " --version") then
      pending("there is no C compiler " .. compiler)
      return
    end
    local folder = os.tmpname()
    os.remove(folder)
    assert(os.execute("mkdir -p " .. folder .. "/files"))
    local built, said = run(compiler .. " -std=c11 -O1 -Icore -o " .. folder .. "/fail_alloc spec/alloc/fail_alloc.c"
      .. " core/tokenizer/[a-z]*.c core/files/[a-z]*.c core/base/dtype.c core/base/json.c -ljansson -lutf8proc -lonig")
    local passed, report
    if built then passed, report = run(folder .. "/fail_alloc " .. folder .. "/files") end
    os.execute("rm -r " .. folder)
    assert.is_true(built, said)
    assert.is_true(passed, report)
    for _, body in ipairs { "tokenizer", "bad tokenizer", "writing", "reading", "reading out of step",
      "reading what torch saved", "reading what an old torch saved" } do
      local count = tonumber(report:match("\n" .. body .. ": (%d+) allocations") or report:match("^" .. body .. ": (%d+)"))
      assert.is_true((count or 0) > 10, body)
    end
  end)

  it("5.10 graphs are written and read, or fail with an error; never is it another graph", function()
    if not run(compiler .. " --version") then
      pending("there is no C compiler " .. compiler)
      return
    end
    local program = os.tmpname()
    local built, said = run(compiler .. " -std=gnu11 -O1 -no-pie -Wl,--unresolved-symbols=ignore-all -Wl,-z,lazy"
      .. " '-DLS_HEADER_HASH=\"\"' -Icore -Ispec/fuzz -o " .. program
      .. " spec/alloc/fail_graph.c core/base/*.c core/value/*.c core/model/*.c core/trace/*.c -ljansson -lm")
    local passed, report
    if built then passed, report = run(program .. " spec/fuzz/graph") end
    os.remove(program)
    assert.is_true(built, said)
    assert.is_true(passed, report)
    for _, body in ipairs { "function", "edits" } do
      assert.is_true((tonumber(report:match(body .. ": (%d+) allocations")) or 0) > 100, report)
    end
  end)
end)
