-- bin/luasight: scripts, lines, the shell in a pipe, commands, errors in one line, from any folder.
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
    assert.equal(2, status)
    assert.matches("^luasight: there is no option %-%-wrong[^\n]*\n$", err)
  end)

  it("shows the stack where LUASIGHT_TRACEBACK asks for it", function()
    local _, _, err = run("-e 'error(\"here\")'", "", "LUASIGHT_TRACEBACK=1")
    assert.matches("^luasight: %(command line%):1: here\nstack traceback:\n", err)
  end)

  it("tells its versions and its usage", function()
    local status, out = run "--version"
    assert.equal(0, status)
    assert.matches("^luasight %d[%d.]+ %(LuaJIT [^,]+, libtorch %d[%d.]+[^,]*, %d+ threads, cpu[^)]*%)\n$", out)
    status, out = run "--help"
    assert.equal(0, status)
    assert.matches("^usage: luasight ", out)
  end)

  it("starts the shell after a script where it is asked to", function()
    write("script.lua", "x = 6 print 'ran'")
    local status, out, err = run("-i script.lua", "x + 1\n")
    assert.equal("", err)
    assert.equal("ran\n7\n", out)
    assert.equal(0, status)
  end)

  it("knows the outermost locals of the script in the shell, the very same variables", function()
    write("script.lua", [[
#!/usr/bin/env luasight
local hidden, t = 5
local count = 0
local function bump() count = count + 1 return count end
function seen() return count end
local tostring = "not the global" -- the shell goes on with the global
for i = 1, 2 do local inner = i end
function fail() error "here" end
t = ls.Model(nn.Sequential { { "first", nn.Identity() } }):tracer(torch.ones(1, 2))
return hidden]])
    local status, out, err = run("-i script.lua", [[
hidden, bump(), count, inner, luasight_keep
count = 10
seen()
local hidden = 6
hidden
tostring(1)
:graph
fail()
]])
    assert.equal('5\t1\t1\tnil\tnil\n10\n6\n"1"\nnothing has been recorded yet\n', out)
    assert.equal("error: script.lua:8: here\n", err)
    assert.equal(1, status)
    write("script.lua", "local a = 1\nlocal b = a.b.c")
    status, out, err = run("-i script.lua", "a\n")
    assert.equal("", out)
    assert.matches("^luasight: script%.lua:2: attempt to index [^\n]*\n$", err)
    assert.equal(1, status)
    write("script.lua", "local a = 7 -- the end")
    assert.equal("7\n", select(2, run("-i script.lua", "a\n")))
  end)

  describe("as a shell in a pipe", function()
    it("shows what an expression gives and goes on over lines", function()
      local input = "1 + 1\nfor i = 1, 2 do\n  print(i)\nend\nx =\n  5\n= x\nx, nil, 3\n1 +\n2\n"
      local status, out, err = run("", input)
      assert.equal("", err)
      assert.equal("2\n1\n2\n5\n5\tnil\t3\n3\n", out)
      assert.equal(0, status)
    end)

    it("keeps locals of the outermost level", function()
      local _, out, err = run("", "local a, b = 1, 2\nlocal function f() local a = 5 return a end\na, b, f()\nlocal b\nb\n")
      assert.equal("", err)
      assert.equal("1\t2\t5\nnil\n", out)
    end)

    it("shows tensors, tables and texts, and keeps the last result", function()
      local _, out, err = run("", "t = torch.tensor { 1, 2 }\nt\nls.torch == torch\n{ 1, a = { 'x\\n' } }\n_.a[1]\n")
      assert.equal("", err)
      assert.equal('tensor([1., 2.])\ntrue\n{ 1, a = { "x\\n" } }\n"x\\n"\n', out)
    end)

    it("goes on after errors of one line", function()
      local status, out, err = run("", "error('no', 0)\n)\ntorch.no_such_operator(1)\n:wrong\n:bt\n7\n")
      assert.matches("\n7\n$", out)
      assert.matches("no command :wrong.*\nstack traceback:\n", out)
      local lines = {}
      for line in err:gmatch "[^\n]+" do lines[#lines + 1] = line end
      assert.equal(4, #lines)
      assert.equal("error: no", lines[1])
      assert.matches("^error: prompt:1: ", lines[2])
      assert.matches("^error: prompt:1: .*no_such_operator", lines[3])
      assert.matches("^error: the shell has no command :wrong", lines[4])
      assert.equal(1, status)
      assert.equal(1, (run("", "x = (\n")))
      assert.equal(1, (run("", ":wrong\n:quit\n")))
      assert.equal(0, (run("", ":quit\n")))
    end)

    it("takes a text without an end for an error, and goes on where one may go on", function()
      local _, out, err = run("", 'print("a\n7\nx = [[\nq]]\nx\n"a\\\nb"\n\'a\\z\n  b\'\n"a\\\\\n8\n')
      assert.equal('7\n"q"\n"a\\nb"\n"ab"\n8\n', out)
      assert.equal(2, select(2, err:gsub("error: prompt:1: unfinished string near '<eof>'\n", "")), err)
    end)

    it("shows no graph of a trace that has ended", function()
      local _, out, err = run("", [[
t = ls.Model(nn.Sequential { { "first", nn.Identity() } }):tracer(torch.ones(1, 2))
t.first.output[":, 99"] = 0
:graph
t:run()
:graph
:graph t
:graph torch
]])
      assert.equal("%0 = read first.output\n%0[:, 99] = 0\n", out)
      local lines = {}
      for line in err:gmatch "[^\n]+" do lines[#lines + 1] = line end
      assert.matches("index 99 is out of range", lines[1])
      assert.matches("^error: no trace is open ", lines[2])
      assert.matches("^error: t is a trace that has ended ", lines[3])
      assert.matches("^error: torch is no trace ", lines[4])
      assert.equal(4, #lines)
    end)

    it("has words of its own", function()
      local _, out, err = run("", ":help softmax\n:time 1 + 1\n:quit\nerror 'not read'\n")
      assert.equal("", err)
      assert.matches("softmax%.int%(Tensor self, int dim, ScalarType%? dtype=None%) %-> Tensor\n", out)
      assert.matches("\n%d+ us\n2\n$", out)
    end)

    it("shows a proxy by where it is from and runs nothing for it", function()
      local _, out, err = run("", [[
net = nn.Sequential { { "first", nn.Identity() }, { "second", nn.Linear(2, 3) } }
t = ls.Model(net):tracer(torch.ones(1, 2))
h = (t.second.output * 2 + 1):save()
h
t.first.output.shape
t.first.output
:graph
t:run()
h.shape
]])
      assert.equal("", err)
      assert.equal([[
(second.output * 2) + 1  (proxy, saved)
[1, 2]
first.output  (proxy)
%0 = read second.output
%1 = mul(%0, 2)
%2 = add(%1, 1)  -- saved
%3 = read first.output
%4 = read first.output
[1, 3]
]], out)
    end)
  end)

  describe("with a command", function()
    local support = require "spec.support"
local cjson = require "cjson"
    local box = root .. "/models/pretrained/ioi"

    it("shows what is in a model folder without its weights", function()
      local status, out, err = run("inspect " .. box)
      assert.equal("", err)
      assert.equal(0, status)
      assert.matches("gpt2, 1,051,136 parameters, float32, 4%.0 MiB\n", out)
      assert.matches("\n +0%-3 +4 x GPT2Block +4 x 198,272\n", out)
      assert.matches("\n +c_attn +Conv1D +49,536  weight %[128, 384%], bias %[384%]\n", out)
      assert.matches("lm_head +Linear +weight tied to transformer%.wte%.weight\n$", out)
    end)

    it("gives the same to programs", function()
      local _, out = run("inspect --json " .. box)
      local whole, count = cjson.decode(out), 0
      for _, t in ipairs(whole.tensors) do
        local n = t.tied and 0 or 1
        for _, size in ipairs(t.shape) do n = n * size end
        assert.equal(t.parameters, n)
        count = count + n
      end
      assert.equal(1051136, count)
      assert.equal(count, whole.parameters)
      assert.equal(count * 4, whole.bytes)
    end)

    it("shows the weight files of a model that it does not know", function()
      write("config.json", '{"model_type": "never-heard-of"}')
      local ls = require "luasight"
      ls.safetensors.save(path "model.safetensors", { ["a.0.w"] = ls.torch.ones(2, 3), ["a.1.w"] = ls.torch.ones(2, 3) })
      local status, out, err = run "inspect ."
      assert.equal("", err)
      assert.equal(0, status)
      assert.matches("never%-heard%-of, 12 parameters", out)
      assert.matches("0%-1 +2 x the same +2 x 6 +w %[2, 3%]\n$", out)
    end)

    it("looks through the lens as a trace does", function()
      local prompt = "When Mary and John went to the store, John gave a drink to"
      local status, out, err = run(("lens %s '%s' --top 2 --json"):format(box, prompt))
      assert.equal("", err)
      assert.equal(0, status)
      local layers = cjson.decode(out).layers
      local ls = require "luasight"
      local model = ls.LanguageModel(box)
      local wanted = model(prompt).logits["0, -1"]:softmax(-1):max():item()
      assert.equal(5, #layers)
      assert.equal(" Mary", layers[5].top[1].token)
      support.near(wanted, layers[5].top[1].probability)
      assert.equal(2, #layers[1].top)
    end)

    it("draws what it sees through the lens, at every position", function()
      local status, out, err = run(("lens %s 'Mary and John' --top 1 --out lens.svg"):format(box))
      assert.equal("", err)
      assert.equal(0, status)
      assert.matches("layer 3 ", out)
      local svg = read "lens.svg"
      assert.matches("^<%?xml", svg)
      for _, label in ipairs { "embedding", "layer 3", "Mary", "·and", "·John", "after reading" } do
        assert.is_truthy(svg:find("<text>" .. label .. "</text>", 1, true), label)
      end
      status, out, err = run(("lens %s x --out lens.gif"):format(box))
      assert.equal("", out)
      assert.equal(1, status)
      assert.matches("must end in %.svg, %.png, %.html or %.txt", err)
    end)

    it("generates as the model does, as it comes, several texts and as JSON", function()
      local prompt = "When Mary and John went to the store, John gave a drink to"
      local ls = require "luasight"
      local model = ls.LanguageModel(box)
      local n = #model.tokenizer:encode(prompt)
      local function new(options)
        local texts = {}
        for i, row in ipairs(model:generate(prompt, options):tolist()) do texts[i] = { unpack(row, n + 1) } end
        return texts
      end
      local function decode(ids) return model.tokenizer:decode(ids, { skip_special_tokens = true }) end

      local status, out, err = run(("generate %s '%s' --max-new-tokens 4"):format(box, prompt))
      assert.equal("", err)
      assert.equal(0, status)
      assert.equal(decode(new({ max_new_tokens = 4 })[1]) .. "\n", out)
      assert.matches("^ Mary", out)

      local drawing = "--do-sample --temperature 3 --seed 5 --top-k 20"
      out = select(2, run(("generate %s '%s' --max-new-tokens 3 %s --json"):format(box, prompt, drawing)))
      local whole = cjson.decode(out)
      assert.same(new({ max_new_tokens = 3, do_sample = true, temperature = 3, seed = 5, top_k = 20 }), { whole.texts[1].ids })
      assert.equal(decode(whole.texts[1].ids), whole.texts[1].text)
      assert.equal(n, #whole.prompt_ids)

      out = select(2, run(("generate %s '%s' --max-new-tokens 3 --num-beams 3 --num-return-sequences 2"):format(box, prompt)))
      local beams = new { max_new_tokens = 3, num_beams = 3, num_return_sequences = 2 }
      assert.equal(decode(beams[1]) .. "\n" .. decode(beams[2]) .. "\n", out)

      local first = new({ max_new_tokens = 1 })[1][1]
      out = select(2, run(("generate %s '%s' --eos-token-id %d --eos-token-id 3 --json --no-cache"):format(box, prompt, first)))
      assert.same({ first }, cjson.decode(out).texts[1].ids)
      out = select(2, run(("generate %s '%s' --stop-strings none --stop-strings ary --json"):format(box, prompt)))
      assert.equal(" Mary", cjson.decode(out).texts[1].text)
    end)

    it("lists families and what is installed", function()
      local _, out = run "models"
      assert.matches("gpt2\n", out)
      local status
      status, out = run "doctor --json"
      assert.equal(0, status)
      assert.is_true(cjson.decode(out).complete)
    end)

    it("speaks of its options as they are written on the command line", function()
      local function problem(arguments)
        local status, out, err = run(("generate %s x %s"):format(box, arguments))
        assert.equal(2, status)
        assert.equal("", out)
        return err
      end
      assert.equal("luasight: generate: --temperature acts only with --do-sample\n", problem "--temperature 0.5")
      assert.equal("luasight: generate: --max-new-tokens is a whole number above 0, not -3\n", problem "--max-new-tokens -3")
      assert.matches("^luasight: generate: %-%-max%-new%-tokens and %-%-max%-length both",
        problem "--max-new-tokens 2 --max-length 9")
      assert.matches(": %-%-do%-sample, %-%-num%-beams 2 %(%-%-num%-beams 1 samples, without %-%-do%-sample searches%)\n$",
        problem "--do-sample --num-beams 2")
    end)

    it("says how many arguments it takes and what a FOLDER may be", function()
      assert.equal("luasight: inspect takes one FOLDER; none was given; luasight inspect --help says more\n",
        select(3, run "inspect"))
      assert.matches("takes FOLDER and PROMPT; one was given;", select(3, run "lens x"))
      assert.matches("takes no arguments; 2 were given;", select(3, run "models x y"))
      for _, name in ipairs { "inspect", "lens", "generate" } do
        assert.matches("FOLDER is the folder of a model, or its name on the hub", select(2, run(name .. " --help")))
      end
      assert.is_nil(select(2, run "models --help"):find "hub")
    end)

    it("helps where a command is misspelt", function()
      local status, _, err = run "genrate x"
      assert.equal(1, status)
      assert.equal('luasight: cannot open genrate, and there is no such command (did you mean "generate"?)\n', err)
      status, _, err = run "frobnicate"
      assert.equal(1, status)
      assert.equal("luasight: cannot open frobnicate, and there is no such command; "
        .. "commands are inspect, lens, generate, models, doctor\n", err)
      for _, name in ipairs { "./genrate", "genrate.lua" } do
        assert.is_nil(select(3, run(name)):find "command")
      end
    end)

    it("answers wrong calls with status 2, failures with 1, and --help everywhere", function()
      for _, arguments in ipairs { "inspect", "lens x", "models y", "inspect --wrong x", "lens --top two a b", "lens --top",
        "generate x", "generate --max-tokens 3 x y", ("generate %s x --temperature -1"):format(box),
        ("generate %s x --top-k 3"):format(box), ("generate %s x --max-new-tokens 2 --max-length 9"):format(box) } do
        local status, out, err = run(arguments)
        assert.equal(2, status, arguments)
        assert.equal("", out)
        assert.matches("^luasight: [^\n]+\n$", err)
      end
      local status, _, err = run "inspect /nowhere"
      assert.equal(1, status)
      assert.matches("^luasight: /nowhere: there is no such folder[^\n]*\n$", err)
      status, _, err = run "generate /nowhere x"
      assert.equal(1, status)
      assert.matches("^luasight: /nowhere: there is no such folder[^\n]*\n$", err)
      for _, name in ipairs { "inspect", "lens", "generate", "models", "doctor" } do
        local code, out = run(name .. " --help")
        assert.equal(0, code)
        assert.matches("^usage: luasight " .. name, out)
      end
    end)
  end)
end)
