-- What torch.save writes: files of spec/reference/torch_files.py against what Python put into them, and files that Python
-- would never write.
local ls = require "luasight"
local support = require "spec.support"
local archive = dofile "spec/files/archive.lua"
local cjson = require "cjson"
local torch = ls.torch

local reference = "spec/reference/torch_files/"
local path

local function text_of(name)
  local file = assert(io.open(name, "rb"))
  local text = file:read "*a"
  file:close()
  return text
end

local function put(text)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
end

---The file fails with one line of these words.
local function fails(text, says, code)
  put(text)
  local ok, err = pcall(torch.load, path)
  assert.is_false(ok, says)
  assert.equal(code or "format", err.code)
  assert.matches(says, err.message, 1, true)
  assert.equal(1, (err.message:find(path, 1, true)), err.message)
  assert.is_nil(err.message:find "%c")
end

local floats = { float64 = true, float32 = true, float16 = true, bfloat16 = true, float8_e4m3fn = true }

---The same as Python's, as spec/reference/torch_files.py wrote it.
local function same(want, got, where)
  if want == cjson.null then return assert.is_nil(got, where) end
  if type(want) ~= "table" then return assert.equal(want, got, where) end
  if want.numbers ~= nil then
    assert.equal(want.dtype, got.dtype, where)
    assert.same(want.shape, got.shape:tolist(), where)
    if want.dtype:find "^complex" then
      return assert.same(want.numbers, torch.view_as_real(got:resolve_conj()):tolist(), where)
    end
    return assert.same(want.numbers, got:to(floats[want.dtype] and "float64" or "int64"):tolist(), where)
  end
  local n = 0
  for key, v in pairs(want) do
    local found = got[key]
    if type(found) == "nil" and tonumber(key) then found = got[tonumber(key)] end
    same(v, found, where .. "." .. key)
    n = n + (v == cjson.null and 0 or 1)
  end
  for _ in pairs(got) do n = n - 1 end
  assert.equal(0, n, where)
end

local function has(dtype) return (pcall(torch.empty, 1, { dtype = dtype })) end

before_each(function() path = os.tmpname() end)
after_each(function() os.remove(path) end)

describe("torch.load", function()
  local expected = cjson.decode(text_of(reference .. "expected.json"))
  for name, want in pairs(expected) do
    it((name == "lazy" and "case 8.3: " or "") .. "reads what torch.save wrote: " .. name, function()
      if name == "small" and not has "uint16" then
        pending "this libtorch has no uint16"
        return
      end
      same(want, torch.load(reference .. name .. ".pt"), name)
    end)
  end

  it("gives tensors that share their numbers as in Python, and leaves the file as it is", function()
    for _, name in ipairs { "shared", "old-shared" } do
      put(text_of(reference .. name .. ".pt"))
      local before = text_of(path)
      local state = torch.load(path)
      state.whole["2, 3"] = 99
      if name == "shared" then -- in old files numbers may lie where no tensor can stand on them: those are copied
        for key, index in pairs { again = "2, 3", row = "3", turned = "3, 2", part = "1, 1", every = "1, 3" } do
          assert.equal(99, state[key][index]:item(), key)
        end
      end
      assert.is_true(rawequal(state.again, state.whole))
      assert.equal(before, text_of(path))
    end
  end)

  it("runs nothing, and says by name what a file wanted to run", function()
    for _, name in ipairs { "evil", "evil-old" } do
      local ok, err = pcall(torch.load, reference .. name .. ".pt")
      assert.is_false(ok)
      assert.equal("format", err.code)
      assert.matches("the pickle wants to call posix.system of Python, but only tensors", err.message, 1, true)
    end
    for _, pair in ipairs { { "os", "system" }, { "builtins", "eval" }, { "torch", "load" }, { "torch._utils", "FloatStorage" },
      { "collections", "Counter" }, { "a\27[31m", "b" } } do
      fails(archive.torch(archive.name(pair[1], pair[2]) .. "."), "the pickle wants to call ")
      fails(archive.torch(archive.text(pair[1]) .. archive.text(pair[2]) .. "\147."), "the pickle wants to call ")
    end
    local os_of_stack = archive.text "os" .. archive.text "system" .. "\147"
    fails(archive.torch(os_of_stack .. archive.tuple(archive.text "true") .. "R."), "os.system of Python")
    fails(archive.torch("ios\nsystem\n."), "the instruction 0x69 is not supported")
    fails(archive.torch("(cos\nsystem\no."), "os.system of Python")
  end)

  it("refuses calls of what can be named but not be called so", function()
    fails(archive.torch(archive.name("torch", "FloatStorage") .. ")R."), "the pickle calls torch.FloatStorage")
    fails(archive.torch(archive.text "x" .. ")R."), "calls something that is not a Python name")
    fails(archive.torch(archive.name("torch", "Size") .. ")R."), "arguments of the wrong kind")
    fails(archive.torch(archive.name("collections", "OrderedDict") .. "K\1\133R."), "a list of pairs")
    fails(archive.torch("K\1" .. archive.tuple() .. "b."), "sets attributes of something that is not a dict")
    fails(archive.torch(archive.storage("0", 4) .. ".", { ["0"] = ("x"):rep(16) }), "a storage that is part of no tensor")
    fails(archive.torch("K\1\133Q."), "not the storage of a tensor")
  end)

  it("refuses a broken pickle", function()
    for text, says in pairs {
      [""] = "ends too early", ["."] = "empty stack", ["a."] = "not a list", ["s."] = "not a dict",
      ["t."] = "a mark that is not there",
      ["(."] = "empty stack", ["X\255\255\255\255"] = "ends too early", ["h\0."] = "never remembered",
      ["]r\255\255\255\127."] = "too large", ["]K\1s."] = "not a dict", ["}(K\1u."] = "key without a value",
      ["X\1\0\0\0\0."] = "a zero byte", ["\138\9" .. "123456789."] = "more than 64 bits",
      ["\128\9."] = "its protocol is 9",
      ["](("] = "ends too early", ["K\1\135."] = "empty stack",
      ["\142\1\0\0\0\0\0\0\0x."] = "the instruction 0x8E is not supported",
      ["})Ns."] = "a key that is neither", ["}NNs."] = "a key that is neither",
    } do
      fails(archive.torch(text), says)
    end
    local whole = text_of(reference .. "nested.pt")
    for n = 1, #whole - 1, 37 do
      put(whole:sub(1, n))
      local text = n < 4 and "too few for a file of weights" or "the file is damaged or cut short, fetch it again"
      support.refused("format", text, function() torch.load(path) end)
    end
  end)

  it("refuses containers without end", function()
    fails(archive.torch "]q\0h\0a.", "too deep")
    fails(archive.torch "}q\0K\1h\0s.", "too deep")
    fails(archive.torch(("]"):rep(100) .. ("a"):rep(99) .. "."), "too deep")
    local doubled = "K\1" .. ("2\134"):rep(40) .. "." -- 2^40 numbers, were it written out
    fails(archive.torch(doubled), "do not end")
  end)

  it("refuses tensors that reach beyond their storage", function()
    local function state(...)
      return archive.torch(archive.state { { "a", (archive.tensor(...)) } }, { ["0"] = ("x"):rep(16) })
    end
    local storage = archive.storage("0", 4)
    put(state(storage, 0, { 2, 2 }, { 2, 1 }))
    assert.same({ 2, 2 }, torch.load(path).a.shape:tolist())
    put(state(storage, 3, { 5 }, { 0 }))
    assert.same({ 5 }, torch.load(path).a.shape:tolist())
    put(state(storage, 9, { 0, 2 ^ 40 }, { 1, 1 }))
    assert.same({ 0, 2 ^ 40 }, torch.load(path).a.shape:tolist())
    local beyond = 'tensor "a": the tensor needs '
    fails(state(storage, 1, { 4 }, { 1 }), beyond)
    fails(state(storage, 0, { 2, 2 }, { 4, 1 }), beyond)
    fails(state(storage, 4, {}, {}), beyond)
    fails(state(storage, 2 ^ 52, { 1 }, { 1 }), beyond)
    fails(state(storage, 0, { 2 ^ 40, 2 ^ 40 }, { 0, 0 }), "overflows 64 bits")
    fails(state(storage, 0, { 2 ^ 40, 2 ^ 40, 0 }, { 0, 0, 1 }), "overflows 64 bits")
    fails(state(storage, 0, { 2 ^ 50 }, { 2 ^ 50 }), "overflows 64 bits")
    fails(state(storage, 0, { -1 }, { 1 }), "whole numbers from 0 on")
    fails(state(storage, 0, { 1 }, { -1 }), "whole numbers from 0 on")
    fails(state(storage, -1, { 1 }, { 1 }), "something else than storage")
    fails(state(storage, 0, { 1, 1 }, { 1 }), "something else than storage")
    fails(state(archive.storage("0", 5), 0, { 1 }, { 1 }), 'its entry "a/data/0" has 16 bytes, but its tensors need more')
    fails(state(archive.storage("0", 2 ^ 62), 0, { 1 }, { 1 }), "its tensors need more")
    fails(state(archive.storage("1", 4), 0, { 1 }, { 1 }), 'its entry "a/data/1", which a tensor needs, is missing')
    fails(state(archive.storage("../b", 4), 0, { 1 }, { 1 }), "is missing")
    fails(state(archive.storage(("k"):rep(300), 4), 0, { 1 }, { 1 }), "too long")
    local many = {}
    for i = 1, 65 do many[i] = 1 end
    fails(state(storage, 0, many, many), "65 dimensions")
    local twice = archive.tensor(storage, 0, { 1 }, { 1 })
    fails(archive.torch(archive.state { { "a", twice }, { "a", twice } }, { ["0"] = ("x"):rep(16) }), "twice")
  end)

  it("refuses a broken archive", function()
    local pickle = { "a/data.pkl", "\128\2N." }
    local function with(change) return archive.zip { { pickle[1], pickle[2], change = change } } end
    fails(with { method = 8 }, 'the entry "a/data.pkl" of the zip archive is compressed')
    fails(with { packed = 3 }, "is compressed")
    fails(with { flags = 1 }, "is encrypted")
    fails(with { size = 2 ^ 31, packed = 2 ^ 31 }, "reaches beyond the end")
    fails(with { place = 2 ^ 31 }, "is beyond the end")
    fails(with { place = 5 }, "is not where the directory says")
    fails(with { name = "a/data.pk\0" }, "a zero byte")
    fails(with { size = 2 ^ 32 - 1, packed = 2 ^ 32 - 1, extra = "\1\0\9\0abc" }, "broken extra field")
    fails(with { size = 2 ^ 32 - 1, packed = 2 ^ 32 - 1, extra = "\1\0\3\0abc" }, "broken extra field")
    fails(with { name = "a/data.txt" }, "has no data.pkl")
    fails(archive.zip { pickle, pickle }, "occurs twice")
    fails(archive.zip { pickle, { "a/byteorder", "big" } }, "big-endian")
    local whole = with {}
    fails(whole:sub(1, -2), "is not at its end")
    fails(whole .. "x", "is not at its end")
    fails(whole:sub(1, 20), "too short")
    fails(whole:sub(1, -7) .. "\255\255\255\127\0\0", "beyond the file")
    fails(whole:gsub("PK\1\2", "PK\1\3"), "ends too early")
    fails(whole:sub(1, -15) .. "\2\0\2\0" .. whole:sub(-10), "wrong size")
  end)

  it("refuses other files, and says what reads them", function()
    fails("\128\2]q\0(K\1K\2K\3e.", "a Python pickle that torch.save did not write")
    ls.safetensors.save(path, { a = torch.ones(1) })
    local ok, err = pcall(torch.load, path)
    assert.is_false(ok)
    assert.matches("torch.save did not write this file", err.message, 1, true)
    assert.matches("ls.safetensors.load", err.hint, 1, true)
  end)
end)
