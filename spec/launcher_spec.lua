-- bin/luasight: scripts, lines, the plain prompt, errors in one line, from any folder.
local ffi = require "ffi"

ffi.cdef "char *getcwd(char *buffer, size_t size);"
local root = ffi.string(ffi.C.getcwd(ffi.new "char[4096]", 4096))
local launcher = root .. "/bin/luasight"

describe("the launcher", function()
  local folder

  local function path(name) return folder .. "/" .. name end

  local function write(name, text)
    local file = assert(io.open(path(name), "wb"))
    file:write(text)
    file:close()
  end

  local function read(name)
    local file = assert(io.open(path(name), "rb"))
    local text = file:read "*a"
    file:close()
    return text
  end

  -- Runs it in the folder; gives the exit status, what it printed, and its errors.
  local function run(arguments, input, environment)
    write("in", input or "")
    local command = ("cd %s && %s %s %s < in > out 2> err"):format(folder, environment or "", launcher, arguments)
    local status = os.execute(command)
    return status / 256, read "out", read "err"
  end

  setup(function()
    folder = os.tmpname()
    os.remove(folder)
    assert(os.execute("mkdir " .. folder) == 0)
  end)

  teardown(function() os.execute("rm -r " .. folder) end)

  it("runs a script with its arguments", function()
    write("script.lua", "#!/usr/bin/env luasight\nprint(arg[0], #arg, arg[1], arg[2], ...)")
    local status, out, err = run "script.lua one 'two words'"
    assert.equal("", err)
    assert.equal("script.lua\t2\tone\ttwo words\tone\ttwo words\n", out)
    assert.equal(0, status)
  end)

  it("gives scripts luasight from any folder", function()
    write("script.lua", 'local ls = require "luasight"\nprint(ls.torch.ones(2):sum():item())')
    local status, out, err = run "script.lua"
    assert.equal("", err)
    assert.equal("2\n", out)
    assert.equal(0, status)
  end)

  it("finds its modules when started through a symbolic link", function()
    assert(os.execute(("ln -sf %s %s"):format(launcher, path "linked")) == 0)
    local status = os.execute(("cd / && %s -e 'print(ls.version)' > %s"):format(path "linked", path "out"))
    assert.equal(0, status)
    assert.matches("^%d+%.%d+%.%d+\n$", read "out")
  end)

  it("exits with the script's own status", function()
    write("script.lua", "io.write('part') os.exit(7)")
    local status, out = run "script.lua"
    assert.equal(7, status)
    assert.equal("part", out)
  end)

  it("reads a script from standard input", function()
    local status, out = run("- a", "print(arg[0], ...)")
    assert.equal(0, status)
    assert.equal("-\ta\n", out)
  end)

  it("runs lines, then the script", function()
    write("script.lua", "print(x, ...)")
    local _, out, err = run "-e 'x = 1' -e 'x = x + 1' script.lua more"
    assert.equal("", err)
    assert.equal("2\tmore\n", out)
  end)

  it("gives a line ls, torch and nn", function()
    local _, out, err = run "-e 'print(ls.torch == torch, nn.Linear ~= nil, torch.arange(3):tolist()[2], other)'"
    assert.equal("", err)
    assert.equal("true\ttrue\t1\tnil\n", out)
  end)

  it("prints an error of luasight in one line with the script's line", function()
    write("script.lua", 'local ls = require "luasight"\n\nls.torch.no_such_operator(1)')
    local status, out, err = run "script.lua"
    assert.equal(1, status)
    assert.equal("", out)
    assert.matches("^luasight: script%.lua:3: [^\n]*no_such_operator[^\n]*\n$", err)
  end)

  it("prints any other error in one line", function()
    write("script.lua", "print(1)\nerror { code = 1 }")
    local status, out, err, _ = run "script.lua"
    assert.equal(1, status)
    assert.equal("1\n", out)
    assert.equal("luasight: (the error is a table)\n", err)
    status, _, err = run "-e 'local x = nil + 1'"
    assert.equal(1, status)
    assert.matches("^luasight: %(command line%):1: [^\n]+\n$", err)
    status, _, err = run "missing.lua"
    assert.equal(1, status)
    assert.matches("^luasight: [^\n]*missing%.lua[^\n]*\n$", err)
    status, _, err = run "--wrong"
    assert.equal(1, status)
    assert.matches("^luasight: there is no option %-%-wrong[^\n]*\n$", err)
  end)

  it("shows the stack where LUASIGHT_TRACEBACK asks for it", function()
    local _, _, err = run("-e 'error(\"here\")'", "", "LUASIGHT_TRACEBACK=1")
    assert.matches("^luasight: %(command line%):1: here\nstack traceback:\n", err)
  end)

  it("tells its versions and its usage", function()
    local status, out = run "--version"
    assert.equal(0, status)
    assert.matches("^luasight %d[%d.]+ %(LuaJIT [^,]+, libtorch %d[%d.]+[^)]*%)\n$", out)
    status, out = run "--help"
    assert.equal(0, status)
    assert.matches("^usage: luasight ", out)
  end)

  describe("as a prompt", function()
    it("prints what an expression gives and goes on over lines", function()
      local status, out, err = run("", "1 + 1\nfor i = 1, 2 do\n  print(i)\nend\nx =\n  5\n= x\nx, nil, 3\nlocal y = 1\n")
      assert.equal("", err)
      assert.equal("2\n1\n2\n5\n5\tnil\t3\n", out)
      assert.equal(0, status)
    end)

    it("prints tensors and knows ls, torch and nn", function()
      local _, out, err = run("", "t = torch.tensor { 1, 2 }\nt\nls.torch == torch\nnn.ReLU ~= nil\n")
      assert.equal("", err)
      assert.equal("tensor([1., 2.])\ntrue\ntrue\n", out)
    end)

    it("goes on after errors of one line", function()
      local status, out, err = run("", "error('no', 0)\n)\ntorch.no_such_operator(1)\n7\n")
      assert.equal("7\n", out)
      local lines = {}
      for line in err:gmatch "[^\n]+" do lines[#lines + 1] = line end
      assert.equal(3, #lines)
      assert.equal("error: no", lines[1])
      assert.matches("^error: prompt:1: ", lines[2])
      assert.matches("^error: prompt:1: .*no_such_operator", lines[3])
      assert.equal(0, status)
    end)
  end)
end)
