-- tools/layers records which modules each file requires while this script runs every command, uses every public name that
-- is loaded at its first use, draws each kind of picture, makes each family, and opens files, hubs and the shell in each
-- way. The script has to load every module.
local build = os.getenv "LUASIGHT_BUILD"
package.path = "lua/?.lua;lua/?/init.lua;bindings/?.lua;bindings/?/init.lua;models/?.lua;models/?/init.lua;" .. build
  .. "/lua/?.lua;" .. package.path

local BOX, PROMPT = "models/pretrained/ioi", "When Mary and John went to the store, John gave a drink to"
local folder = os.tmpname()

local function run(command)
  local status = os.execute(("{ %s; } >%s/said 2>&1"):format(command, folder))
  if status == 0 or status == true then return end
  for line in io.lines(folder .. "/said") do io.stderr:write(line, "\n") end
  error(command .. " failed")
end

local function put(name, text)
  local file = assert(io.open(folder .. "/" .. name, "wb"))
  file:write(text)
  file:close()
end

-- ---- commands and the shell --------------------------------------------------------------------------------------------

os.remove(folder)
assert(os.execute("mkdir " .. folder))
put("lines", "y = ls.torch.\tones(2)\n:help\n:quit\n")
put("script.lua", "local x = 1\nprint(ls.torch.ones(x))\n")

local help = io.popen "bin/luasight --help"
local commands = {}
for name in help:read "*a":match("commands.-\n(.-)\n%u"):gmatch "\n?  (%w+) [^\n]+" do commands[#commands + 1] = name end
help:close()
assert(#commands > 0)
for _, name in ipairs(commands) do run(("bin/luasight %s --help"):format(name)) end
run(("bin/luasight inspect %s && bin/luasight inspect --all %s && bin/luasight doctor && bin/luasight models"):format(BOX, BOX))
run(("bin/luasight lens %s '%s' && bin/luasight generate %s '%s'"):format(BOX, PROMPT, BOX, PROMPT))
run(("HOME=%s bin/luasight -i -e 'x = 1' %s/script.lua </dev/null"):format(folder, folder))
-- Runs the shell in a terminal. The runtime of sanitizers is loaded into luasight, but not into the program that makes the
-- terminal.
run(([[HOME=%s env -u LD_PRELOAD script -qec "env LD_PRELOAD='$LD_PRELOAD' bin/luasight" /dev/null <%s/lines]]):format(
  folder, folder))

-- ---- the library --------------------------------------------------------------------------------------------------------

local ls = require "luasight"
local torch, nn = ls.torch, ls.nn
for _, library in ipairs { ls, nn } do
  for _, name in ipairs(getmetatable(library).__names()) do assert(library[name] ~= nil, name) end
end

local model = ls.LanguageModel(BOX)
local h = model.transformer.h
local function head(x) return model.lm_head(model.transformer.ln_f(x)) end

local pattern, graph
model:trace(PROMPT, function(tracer)
  local hidden = h[0].output[0]
  hidden.grad:save()
  h[1].output[0][":, -1"] = hidden[":, -1"] * 2
  tracer:cache { modules = { "layers.*" } }
  tracer:apply(function(x) return x:sum():item() end, hidden)
  pattern = h[2].attn.pattern[0]:save()
  head(hidden):save()
  hidden.t[0]:save()
  graph = tracer:graph()
  model.output.logits:sum():backward()
end)
model:scan(PROMPT, function() return h[2].output[0].shape end)
ls.session(function() model:trace(PROMPT, function() return h[0].output end) end)
local edited = model:edit(function() h[1].attn.output[0][":"] = 0 end)
edited:save_edits(folder .. "/edits")
edited:load_edits(folder .. "/edits")
edited:generate(PROMPT, { max_new_tokens = 2 })
h[0].attn:points()
ls.Model(nn.Sequential { nn.Linear(1, 1) }, { rename = { ["0"] = "first" } })
model:generate(PROMPT, { max_new_tokens = 2, num_beams = 2 })
model:generate(PROMPT, { max_new_tokens = 2 }, function(tracer)
  for _ in tracer:all() do model.output.logits:save() end
end)
model:generate({ max_new_tokens = 2 }, function(tracer)
  for _, text in ipairs { PROMPT, "a" } do tracer:invoke(text, function() return model.generator.output end) end
end)
for _ in model:stream(PROMPT, { max_new_tokens = 2, do_sample = true }) do end -- luacheck: ignore

local kinds = {
  line = { { 1, 2 } }, bar = { { 1, 2 } }, heatmap = { { { 1, 2 }, { 3, 4 } } }, attention = { pattern },
  tokens = { { "a", "b" }, { 1, 2 } }, tree = { model }, graph = { graph },
}
for name, make in pairs(ls.plot) do
  local given = assert(kinds[name], "no arguments for plot." .. name)
  local picture = make(unpack(given))
  tostring(picture)
  for _, ending in ipairs { "svg", "html", "txt" } do picture:save(("%s/%s.%s"):format(folder, name, ending)) end
end

-- ---- files, hubs, families -----------------------------------------------------------------------------------------------

torch.unique(torch.ones(2))
ls.safetensors.save(folder .. "/x.safetensors", { x = torch.ones(2) })
ls.safetensors.load(folder .. "/x.safetensors")
ls.LanguageModel("spec/reference/bins/gpt2", { dtype = "float32" }) -- weights in files of PyTorch
for _ in ls.progress { 1, 2 } do torch.rand(1) end
put("vocab.json", '{"a":0,"b":1,"ab":2}')
put("merges.txt", "#version: 0.2\na b\n")
local tokenizer = ls.Tokenizer(folder) -- a tokenizer without tokenizer.json
tokenizer:apply_chat_template({ { role = "user", content = "ab" } },
  { chat_template = "{{ messages[0].content | upper }}", tokenize = false })
ls.tokenizer_trainer.train({ "abab ab" }, { vocab_size = 258 })
run "luajit spec/run.lua --ignore-lua '--filter=at a revision is that one' spec/lm/hub_spec.lua"

local models = require "luasight.models"
for _, name in ipairs(models.names()) do models.find(name) end

os.execute("rm -r " .. folder)
