-- Every broken folder gives one line with the file and what in it is wrong, and leaves nothing behind: no handle (helper.lua
-- looks), no file, no change.
local ls = require "luasight"
local support = require "spec.support"
local archive = dofile "spec/files/archive.lua"
local cjson = require "cjson"

local reference, box = "spec/reference/gpt2/new/", "models/pretrained/ioi/"
local folder

local read = support.read

local function put(name, text) support.write(folder .. "/" .. name, text) end

local function remove(name) os.remove(folder .. "/" .. name) end

local function listing() return support.output("cd " .. folder .. " && find . -ls | sort") end

local function configure(changes)
  local config = cjson.decode(read(reference .. "config.json"))
  for name, v in pairs(changes) do config[name] = v end
  put("config.json", cjson.encode(config))
end

local INDEX = "model.safetensors.index.json"

---The weights in two files with an index.
local function in_two()
  local parts, map = { {}, {} }, {}
  local n = 0
  for name, t in pairs(ls.safetensors.load(reference .. "model.safetensors")) do
    n = n + 1
    parts[n % 2 + 1][name], map[name] = t, n % 2 == 0 and "1.safetensors" or "2.safetensors"
  end
  remove "model.safetensors"
  for i, part in ipairs(parts) do ls.safetensors.save(("%s/%d.safetensors"):format(folder, i), part) end
  put(INDEX, cjson.encode { metadata = {}, weight_map = map })
  return map
end

local function with_index(change)
  local map = in_two()
  change(map)
  put(INDEX, cjson.encode { weight_map = map })
end

local WTE = "transformer.wte.weight"

---The weights in a file of PyTorch.
local function pickled(text)
  remove "model.safetensors"
  put("pytorch_model.bin", text)
end

-- What is broken: how, the code, and what the message says; F is the folder.
local cases = {
  { "a missing piece", function() in_two(); remove "2.safetensors" end, "io",
    "F: 1 of 2 weight files are missing, the first is 2.safetensors" },
  { "a piece that is cut short", function()
    in_two()
    put("1.safetensors", read(folder .. "/1.safetensors"):sub(1, -50))
  end, "format", "F/1.safetensors: tensor " },
  { "a piece whose header is cut short", function()
    in_two()
    put("2.safetensors", read(folder .. "/2.safetensors"):sub(1, 100))
  end, "format", "F/2.safetensors: its header claims " },
  { "an empty piece", function() in_two(); put("1.safetensors", "") end, "format", "F/1.safetensors: the file is empty" },
  { "a piece that is a folder", function()
    in_two()
    remove "1.safetensors"
    support.output("mkdir " .. folder .. "/1.safetensors")
  end, "io", "F/1.safetensors: this is a folder" },
  { "a piece that is a Git LFS pointer", function()
    in_two()
    put("1.safetensors", "version https://git-lfs.github.com/spec/v1\n")
  end, "format", "F/1.safetensors: its header claims" },
  { "an index that lies about a tensor", function()
    with_index(function(map) map[WTE] = map[WTE] == "1.safetensors" and "2.safetensors" or "1.safetensors" end)
  end, "format", 'the checkpoint index says that "transformer.wte.weight" is in this file, but it is not' },
  { "an index without a tensor", function() with_index(function(map) map[WTE] = nil end) end, "format",
    "F: the weights do not fit config.json: missing keys: transformer.wte.weight" },
  { "an index with an absolute path", function() with_index(function(map) map[WTE] = "/etc/passwd" end) end, "format",
    "F/" .. INDEX .. ': the checkpoint index names the file "/etc/passwd", which is not inside the folder' },
  { "an index that leads out of the folder", function() with_index(function(map) map[WTE] = "a/../../b" end) end, "format",
    "F/" .. INDEX .. ': the checkpoint index names the file "a/../../b", which is not inside the folder' },
  { "an index that names itself", function() with_index(function(map) map[WTE] = INDEX end) end, "format",
    "F/" .. INDEX .. ": its header claims " },
  { "a piece that is a link to itself", function()
    in_two()
    remove "1.safetensors"
    support.output(("ln -s 1.safetensors %s/1.safetensors"):format(folder))
  end, "io", "F: 1 of 2 weight files are missing, the first is 1.safetensors" },
  { "an index that is no JSON", function() in_two(); put(INDEX, '{"weight_map":') end, "format",
    "F/" .. INDEX .. ": the JSON cannot be read: not valid JSON, or cut short" },
  { "an index without a map", function() in_two(); put(INDEX, "{}") end, "format",
    "F/" .. INDEX .. ": the index has no weight_map" },
  { "no weights", function() remove "model.safetensors" end, "io", "F: there is no model.safetensors in this folder" },

  { "no config.json", function() remove "config.json" end, "io", "F: there is no config.json in this folder" },
  { "the config.json of another model of the kind", function() configure { n_embd = 32, n_layer = 2 } end, "format",
    "F: the weights do not fit config.json: size mismatch for transformer.h.0.attn.c_attn.bias: [48] in the file, [96] " ..
    "asked for by config.json; the same is true of 27 more; unexpected keys: transformer.h.2." },
  { "the config.json of a model of another kind", function()
    put("config.json", read "spec/reference/bins/bert/config.json")
  end, "format", "F: the weights do not fit config.json: missing keys: embeddings.LayerNorm.bias, " },
  { "a vocab_size that is not that of the weights", function() configure { vocab_size = 1000 } end, "format",
    "F: the weights do not fit config.json: size mismatch for transformer.wte.weight: [" },
  { "a vocab_size that is no number", function() configure { vocab_size = "many" } end, "format",
    'F/config.json: the setting vocab_size is "many", but it must be a whole number above 0' },
  { "a config.json that is cut short", function() put("config.json", '{"model_type":"gpt2",') end, "format",
    "F/config.json: the JSON cannot be read: not valid JSON, or cut short" },

  { "the tokenizer of another model", function() put("tokenizer.json", read(box .. "tokenizer.json")) end, "index",
    "the tokenizer of F makes the token id ", text = "When Mary and John went to the store" },
  { "a tokenizer that is cut short", function() put("tokenizer.json", read(box .. "tokenizer.json"):sub(1, 5000)) end,
    "format", "F/tokenizer.json: ", text = "a" },
  { "a tokenizer that is something else", function() put("tokenizer.json", "{}") end, "format",
    "F/tokenizer.json: ", text = "a" },
  { "no tokenizer", function() end, "io", "F: there is no tokenizer.json in this folder", text = "a" },

  { "a file of PyTorch that wants to import", function() pickled(read "spec/reference/torch_files/evil.pt") end, "format",
    "F/pytorch_model.bin: at byte 183 of the pickle in this file: the pickle wants to call posix.system of Python" },
  { "an old file of PyTorch that wants to import", function() pickled(read "spec/reference/torch_files/evil-old.pt") end,
    "format", "F/pytorch_model.bin: at byte 164 of the pickle in this file: the pickle wants to call posix.system of Python" },
  { "a file of PyTorch that is cut short", function()
    pickled(read("spec/reference/bins/gpt2/pytorch_model.bin"):sub(1, -1000))
  end, "format", "F/pytorch_model.bin: the directory of the zip archive is not at its end" },
  { "an old file of PyTorch that is cut short", function()
    pickled(read("spec/reference/bins/bert/pytorch_model.bin"):sub(1, -1000))
  end, "format", "F/pytorch_model.bin: its storages reach beyond its end" },
  { "a compressed file of PyTorch", function() pickled(read "spec/reference/torch_files/compressed.pt") end, "format",
    'F/pytorch_model.bin: the entry "dtypes/data.pkl" of the zip archive is compressed' },
  { "a file of PyTorch with a tensor beyond its storage", function()
    pickled(archive.torch(archive.state { { WTE, archive.tensor(archive.storage("0", 4), 2, { 3 }, { 1 }) } },
      { ["0"] = ("x"):rep(16) }))
  end, "format",
    'F/pytorch_model.bin: tensor "transformer.wte.weight": the tensor needs 5 elements of its storage, which has only 4' },
  { "a file of PyTorch of another model", function() pickled(read "spec/reference/bins/llama/pytorch_model.bin") end, "format",
    "F: the weights do not fit config.json: missing keys: transformer.h.0.attn.c_attn.bias, " },
  { "a file of PyTorch without tensors", function() pickled(archive.torch "K\1.") end, "format", "missing keys: " },
}

describe("a broken folder:", function()
  before_each(function()
    folder = support.folder()
    put("config.json", read(reference .. "config.json"))
    put("model.safetensors", read(reference .. "model.safetensors"))
  end)
  after_each(function() support.remove(folder) end)

  it("whole, it is a model", function()
    local first = ls.LanguageModel(folder) { 1, 2, 3 }.logits
    in_two()
    assert.is_true(ls.torch.equal(first, ls.LanguageModel(folder) { 1, 2, 3 }.logits))
  end)

  for _, case in ipairs(cases) do
    local what, break_it, code, says = unpack(case)
    it(what, function()
      break_it()
      local before = listing()
      local ok, e = pcall(function()
        local model = ls.LanguageModel(folder)
        return case.text and model(case.text)
      end)
      assert.is_false(ok)
      assert.equal("table", type(e), tostring(e))
      assert.equal(code, e.code, tostring(e))
      assert.matches(says:gsub("F([:/ ])", folder .. "%1"), e.message, 1, true)
      assert.is_nil(e.message:find "%c")
      assert.matches("broken_spec.lua", e.file)
      assert.equal(before, listing())
    end)
  end
end)
