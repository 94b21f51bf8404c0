-- The shell in a real terminal: keys go in through tmux, the screen is what a user would see. And what Tab knows, without one.
local ls = require "luasight"
local support = require "spec.support"
local complete = require "luasight.shell.complete"
local history = require "luasight.shell.history"
local system = require "luasight.ffi.system"
local wrap = require "luasight.shell.wrap"

local root = support.root

local function candidates(text)
  local list, partial = complete.candidates(text)
  local found = {}
  for _, word in ipairs(list) do
    if word:sub(1, #partial) == partial then found[word] = true end
  end
  return found
end

describe("completion", function()
  setup(function()
    local box = ls.LanguageModel "models/pretrained/ioi"
    box:tracer({ 1, 2, 3 }):abandon() -- what is recorded for such an input stays with the model
    rawset(_G, "shell_model", box)
    rawset(_G, "shell_table", { alpha = 1, beta = function() end })
    rawset(_G, "shell_ls", ls)
    rawset(_G, "shell_torch", ls.torch)
  end)

  teardown(function()
    for _, name in ipairs { "model", "table", "ls", "torch", "tensor", "trace" } do rawset(_G, "shell_" .. name, nil) end
    collectgarbage()
    collectgarbage()
  end)

  it("knows paths of modules, inside indices too", function()
    local found = candidates "print(shell_model.transformer."
    assert.is_true(found.h and found.wte and found.output and not found.tokenizer)
    assert.same({ ["0]"] = true, ["1]"] = true, ["2]"] = true, ["3]"] = true }, candidates "shell_model.transformer.h[")
    assert.is_true(candidates("x = shell_model.transformer.h[-1].").attn)
    assert.is_true(candidates("shell_model.transformer.h[0].attn.c_attn.").weight)
    assert.is_true(candidates("shell_model.transformer.h[0].attn.").pattern)
    assert.is_true(candidates("shell_model.").tokenizer)
    assert.is_true(candidates("shell_model.").layers and candidates("shell_model.layers[0].").resid_mid)
    assert.is_true(candidates("shell_model.layers[")["3]"])
    assert.is_true(candidates("shell_model:").trace and not candidates("shell_model:").generator)
  end)

  it("knows what values of a trace can do, and records nothing for it", function()
    local t = shell_model:tracer { 1, 2, 3 } -- luacheck: ignore
    assert.is_true(candidates("shell_model.transformer.h[0].output[0]:soft").softmax)
    assert.is_true(candidates("shell_model.lm_head.output.").shape)
    assert.is_true(candidates("shell_model.layers[0].resid_mid:soft").softmax)
    rawset(_G, "shell_trace", t)
    assert.is_true(candidates("shell_trace:").run)
    assert.equal("", tostring(t:graph()))
    t:abandon()
    rawset(_G, "shell_trace", nil)
  end)

  it("knows operators, their keywords, and methods of tensors", function()
    rawset(_G, "shell_tensor", ls.torch.ones(2))
    assert.is_true(candidates("shell_torch.soft").softmax)
    assert.is_true(candidates("shell_tensor:tol").tolist)
    assert.is_true(candidates("shell_tensor:exp():soft").softmax)
    assert.is_true(candidates("shell_tensor.").dtype)
    assert.same({ ["dim = "] = true, ["dtype = "] = true }, candidates "shell_tensor:softmax { d")
    assert.is_true(candidates("shell_torch.sum(shell_tensor, { keepdim = true, ")["dim = "])
    assert.is_nil(candidates("shell_tensor:")._softmax)
    rawset(_G, "shell_tensor", nil)
  end)

  it("knows tables, what is loaded later, globals and keywords", function()
    assert.same({ alpha = true, beta = true }, candidates "shell_table.")
    assert.same({ beta = true }, candidates "shell_table:")
    assert.is_true(candidates("shell_ls.nn.Lin").Linear)
    assert.is_true(candidates("shell_ls.").tokenizer_trainer)
    assert.is_true(candidates("shell_mo").shell_model)
    assert.is_true(candidates("whi")["while"])
    assert.is_true(candidates(":h").help)
  end)

  it("knows files inside of texts", function()
    assert.is_true(candidates('ls.LanguageModel "models/pre')["pretrained/"])
    assert.same({}, candidates 'f("/nowhere/at/all/')
  end)

  it("says nothing about what it would have to run", function()
    assert.same({}, candidates "shell_table.beta().")
    assert.same({}, candidates "no_such_global.")
  end)

  it("inserts what is certain, and lists what is not", function()
    assert.equal("former", (complete.at("shell_model.trans", 80)))
    local insert, list = complete.at("shell_table.", 80)
    assert.equal("", insert)
    assert.equal("alpha  beta", list)
    assert.equal("  ", (complete.at("", 80)))
  end)
end)

describe("history", function()
  it("keeps entries of several lines in a file for the user alone", function()
    local folder = os.tmpname()
    os.remove(folder)
    finally(function() support.remove(folder) end)
    local getenv = os.getenv
    os.getenv = function(name) return name == "XDG_STATE_HOME" and folder or getenv(name) end -- luacheck: ignore
    local entries = { "x = 1", "for i = 1, 2 do\n  print('\\n')\nend" }
    local ok, e = pcall(function()
      assert.same({}, history.load())
      for _, entry in ipairs(entries) do assert.is_true(history.add(entry)) end
      assert.same(entries, history.load())
    end)
    os.getenv = getenv -- luacheck: ignore
    assert(ok, e)
    assert.equal("600\n", support.output("stat -c %a " .. folder .. "/luasight/history"))
  end)
end)

describe("text for a terminal", function()
  it("is broken at words, below the last column of a table", function()
    assert.equal("one two\nthree\n\nfour", wrap.text("one two three\n\nfour", 8))
    assert.equal("  a  one two\n     three\n     four", wrap.text("  a  one two three four", 13))
    assert.equal("a-word-too-long\nb", wrap.text("a-word-too-long b", 6))
    assert.equal("12345678", wrap.text("12345678", 8))
    assert.equal("  12345678\n  9", wrap.text("  12345678 9", 8))
  end)
end)

describe("the shell in a terminal", function()
  local folder, socket

  local function tmux(words) return select(2, support.run(("tmux -L %s -u -f /dev/null %s"):format(socket, words))) == 0 end

  local function screen()
    local text = support.run(("tmux -L %s capture-pane -p -J"):format(socket))
    return (text:gsub("\n\n+$", "\n"))
  end

  -- Waits until the screen has something; fails with the screen where it does not come.
  local function wait(pattern, seconds)
    for _ = 1, (seconds or 20) * 20 do
      if screen():find(pattern) then return end
      system.sleep(0.05)
    end
    error(("%q did not come:\n%s"):format(pattern, screen()), 2)
  end

  local quoted = support.quote
  local function typed(text) assert(tmux("send-keys -l -- " .. quoted(text))) end
  local function key(name) assert(tmux("send-keys " .. name)) end

  local function line(text)
    typed(text)
    key "Enter"
  end

  local function start(columns)
    assert(tmux(("new-session -d -x %d -y 40 -c %s %s"):format(columns or 100, quoted(root),
      quoted(("XDG_STATE_HOME=%s LC_ALL=C.UTF-8 bin/luasight; echo status $?; sleep 1000"):format(folder)))))
    wait "Ctrl%-D leaves\n> "
  end

  before_each(function()
    if select(2, support.run "command -v tmux") ~= 0 then pending "there is no tmux" end
    folder = support.folder()
    socket = folder:match("[^/]+$"):gsub("%.", "_")
    start()
  end)

  after_each(function()
    if not folder then return end
    tmux "kill-server 2>/dev/null"
    support.remove(folder)
    folder = nil
  end)

  it("shows results, goes on over lines, and leaves with Ctrl-D", function()
    line "6 * 7"
    wait "\n42\n> "
    line "for i = 1, 2 do"
    wait "\n>> "
    line "  print('i is ' .. i)"
    line "end"
    wait "\ni is 1\ni is 2\n> "
    key "C-d"
    wait "\nstatus 0\n"
  end)

  it("completes with Tab and shows what there is", function()
    line "m = ls.Model(nn.Sequential { { 'layer1', nn.Linear(2, 2) }, { 'layer2', nn.Linear(2, 2) } }) print 'made'"
    wait "\nmade\n>"
    typed "m.la"
    key "Tab"
    wait "> m%.layer%s*\n"
    key "Tab"
    wait "\nlayer1  layer2\n> m%.layer"
    typed "1.wei"
    key "Tab"
    typed ".shape"
    key "Enter"
    wait "> m%.layer1%.weight%.shape\n%[2, 2%]\n> "
  end)

  it("clears the line with Ctrl-C and knows letters beyond ASCII", function()
    typed "error('ä')"
    key "C-c"
    wait "%^C\n> "
    line "#'äöü'"
    wait "\n6\n> "
    typed "xy"
    key "BSpace"
    key "BSpace"
    line "'still here'"
    wait '\n"still here"\n> '
  end)

  it("leaves a search in the history with Ctrl-C and clears the line", function()
    line "print('danger' .. 'ous')"
    wait "\ndangerous\n> "
    line "1 + 1"
    wait "\n2\n> "
    key "C-r"
    typed "dang"
    wait "bck.dang"
    key "C-c"
    wait "%^C[^\n]*\n> *\n*$"
    line "7 * 7"
    wait "\n> 7 %* 7\n49\n> *\n*$"
    key "C-r"
    typed "nowhere"
    wait "bck.nowhere"
    key "C-c"
    system.sleep(0.3)
    line "8 * 8"
    wait "\n> 8 %* 8\n64\n> *\n*$"
  end)

  it("ends a search in the history with Tab", function()
    line "shown = 'shown'"
    key "C-r"
    typed "show"
    wait "bck.show"
    key "Tab"
    wait "> shown = 'shown'"
    key "C-c"
    wait "%^C[^\n]*\n> *\n*$"
  end)

  it("tells of a text without an end at once", function()
    line 'print("a'
    wait "\nerror: prompt:1: unfinished string[^\n]*\n> *\n*$"
  end)

  for _, columns in ipairs { 80, 50 } do
    it(("writes its own text in %d columns without cutting a word"):format(columns), function()
      assert(tmux "kill-server")
      system.sleep(0.3)
      socket = socket .. "b"
      start(columns)
      line ":help"
      wait "leaves\n> *\n*$"
      for text in screen():gmatch "[^\n]+" do -- lines that the terminal broke come as one
        assert.is_true(#text:gsub("%s+$", "") <= columns, text)
      end
    end)
  end

  it("stops what runs with Ctrl-C, again and again, and keeps everything", function()
    line "x = 5"
    for _ = 1, 2 do
      line "while true do end"
      system.sleep(0.3)
      key "C-c"
      system.sleep(0.3)
    end
    wait "interrupted\n.*interrupted\n"
    line "model = ls.LanguageModel 'models/pretrained/ioi'"
    line "while true do model({ 1, 2, 3 }) end"
    system.sleep(1)
    key "C-c"
    line "x + 1, model({ 1, 2, 3 }).logits.shape"
    wait "\n6%s+%[1, 3, 1950%]\n"
  end)

  it("keeps a trace open between lines", function()
    line "model = ls.LanguageModel 'models/pretrained/ioi'"
    line "t = model:tracer 'When Mary and John'"
    line "h = model.transformer.h[3].output[0]:save()"
    line "h"
    wait "transformer%.h%.3%.output%[0%]  %(proxy, saved%)"
    line "t:run()"
    line "h.shape"
    wait "\n%[1, 4, 128%]\n"
  end)

  it("has the history of the session before", function()
    line "y = 'from before'"
    line "if y then"
    line "print(y .. '!') end"
    wait "\nfrom before!\n"
    key "C-d"
    wait "status 0"
    assert(tmux "kill-server")
    system.sleep(0.3)
    socket = socket .. "b"
    start()
    key "Up"
    key "Up"
    wait "> y = 'from before'"
    key "Enter"
    key "Up"
    key "Up"
    wait "> if y then *\nprint"
    key "Enter"
    wait "\nfrom before!\n"
  end)

  it("draws a progress bar, and none where it is turned off", function()
    line "for i in ls.progress(3, { label = 'work' }) do os.execute 'sleep 0.2' end"
    wait("work " .. ("█"):rep(30) .. " 3/3  [%d.]+/s  0:01")
    line "ls.progress.enabled = false"
    line "for i in ls.progress(3, { label = 'quiet' }) do os.execute 'sleep 0.2' end print 'over'"
    wait "\nover\n"
    assert.is_nil(screen():find("quiet █", 1, true))
  end)
end)
