-- Checkpoint folders: weights in one file or in several, config.json, and what can be wrong with each.
local ls = require "luasight"
local support = require "spec.support"
local checkpoint = require "luasight.files.checkpoint"
local torch, safetensors = ls.torch, ls.safetensors

local folder

local function put(name, text) support.write(folder .. "/" .. name, text) end

local function fails(f, code, says, ...)
  local ok, err = pcall(f, ...)
  assert.is_false(ok, says)
  assert.are.equal("table", type(err), tostring(err))
  assert.are.equal(code, err.code)
  assert.is_truthy(err.message:find(says), err.message)
  assert.is_nil(err.message:find "%c", "the message has more than one line")
  return err
end

local function save(name, tensors) safetensors.save(folder .. "/" .. name, tensors) end

describe("a checkpoint folder", function()
  local live

  before_each(function()
    collectgarbage()
    collectgarbage()
    live = ls.live()
    folder = support.folder()
  end)

  after_each(function()
    support.remove(folder)
    collectgarbage()
    collectgarbage()
    assert.are.equal(live, ls.live())
  end)

  describe("with weights", function()
    it("in one file gives them by name", function()
      save("model.safetensors", { b = torch.tensor { 1, 2 }, a = torch.tensor { 3 } })
      local weights = checkpoint.read(folder)
      assert.are.same({ "a", "b" }, weights:keys())
      assert.are.same({ 1, 2 }, weights:get("b"):tolist())
      assert.are.same({ 2 }, weights:describe("b").shape)
      assert.is_true(weights:has "a")
      assert.is_false(weights:has "c")
      local err = fails(weights.get, "name", 'there is no tensor "aa"', weights, "aa")
      assert.is_truthy(err.message:find('did you mean "a"', 1, true))
      weights:release()
      assert.are.same({ 3 }, checkpoint.read(folder):get("a"):tolist())
    end)

    it("in several files opens only those that are needed", function()
      save("model-1.safetensors", { a = torch.tensor { 1 }, extra = torch.tensor { 9 } })
      put("model-2.safetensors", "not yet looked at")
      put("model.safetensors.index.json",
        '{"metadata":{"total_size":8},"weight_map":{"a":"model-1.safetensors","b":"model-2.safetensors"}}')
      local weights = checkpoint.read(folder)
      assert.are.same({ "a", "b" }, weights:keys())
      assert.are.same({ 1 }, weights:get("a"):tolist())
      fails(weights.get, "format", "model%-2.safetensors: ", weights, "b")
      fails(weights.get, "name", "no tensor", weights, "extra")
      save("model-2.safetensors", { b = torch.tensor { 2 } })
      assert.are.same({ 2 }, weights:get("b"):tolist())
    end)

    it("in one file and an index takes the file", function()
      save("model.safetensors", { a = torch.tensor { 1 } })
      put("model.safetensors.index.json", "{")
      assert.are.same({ "a" }, checkpoint.read(folder):keys())
    end)

    it("that are missing says what is there instead", function()
      local err = fails(checkpoint.read, "io", "there is no model.safetensors in this folder", folder)
      assert.is_truthy(err.hint)
      put("tf_model.h5", "")
      err = fails(checkpoint.read, "io", "only tf_model.h5", folder)
      assert.is_truthy(err.hint:find "convert")
    end)

    it("with missing shards counts them", function()
      save("a.safetensors", { a = torch.tensor { 1 } })
      put("model.safetensors.index.json",
        '{"weight_map":{"a":"a.safetensors","b":"b.safetensors","c":"c.safetensors"}}')
      fails(checkpoint.read, "io", "2 of 3 weight files are missing, the first is b.safetensors", folder)
    end)

    it("with an index that lies says where the tensor is not", function()
      save("a.safetensors", { a = torch.tensor { 1 } })
      put("model.safetensors.index.json", '{"weight_map":{"b":"a.safetensors"}}')
      local weights = checkpoint.read(folder)
      fails(weights.get, "format", 'a.safetensors: the checkpoint index says that "b" is in this file', weights, "b")
    end)

    it("refuses an index that reaches out of the folder", function()
      for _, shard in ipairs {
        "../x", "/etc/passwd", "a/../../x", "..", "", "a//x", "a\\\\..\\\\x", "a\\u0000b", "a\\n/../b",
      } do
        put("model.safetensors.index.json", '{"weight_map":{"a":"' .. shard .. '"}}')
        fails(checkpoint.read, "format", "not inside the folder", folder)
      end
      put("model.safetensors.index.json", '{"weight_map":{"a":1}}')
      fails(checkpoint.read, "format", "not inside the folder", folder)
    end)

    it("refuses a broken index", function()
      local whole = '{"weight_map":{"a":"a.safetensors"}}'
      for n = 1, #whole - 1 do
        put("model.safetensors.index.json", whole:sub(1, n))
        fails(checkpoint.read, "format", "cut short", folder)
      end
      for text, says in pairs {
        [""] = "is empty", ["[]"] = "JSON object", ["1"] = "JSON object", ["null"] = "JSON object",
        ["{}"] = "no weight_map", ['{"weight_map":[]}'] = "no weight_map", ['{"weight_map":"a"}'] = "no weight_map",
        ['{"weight_map":null}'] = "no weight_map", [("["):rep(1e5)] = "not valid JSON",
      } do
        put("model.safetensors.index.json", text)
        fails(checkpoint.read, "format", says, folder)
      end
    end)
  end)

  describe("with a config", function()
    it("gives it with null as nil and tagged floats as numbers", function()
      put("config.json",
        '{"n_inner":null,"n_head":3,"tie":false,"limit":[0.0,{"__float__":"Infinity"}],"rope":{"type":null}}')
      assert.are.same({ n_head = 3, tie = false, limit = { 0, math.huge }, rope = {} }, checkpoint.config(folder))
      put("config.json", '{"limit":[0.0,Infinity]}')
      assert.are.same({ limit = { 0, math.huge } }, checkpoint.config(folder))
    end)

    it("that is missing or corrupt says so in one line", function()
      fails(checkpoint.config, "io", "no config.json", folder)
      for text, says in pairs {
        [""] = "is empty", ["{"] = "not valid JSON", ["\255\254"] = "not valid JSON", ["[1]"] = "JSON object",
        ['"x"'] = "JSON object", ["{} {}"] = "not valid JSON",
      } do
        put("config.json", text)
        local err = fails(checkpoint.config, "format", says, folder)
        assert.is_truthy(err.message:find("config.json", 1, true))
      end
      os.remove(folder .. "/config.json")
      support.output("mkdir " .. folder .. "/config.json")
      fails(checkpoint.config, "io", "config.json: the file cannot be read", folder)
    end)
  end)

  it("that is no folder says so", function()
    put("file", "")
    for _, f in ipairs { checkpoint.read, checkpoint.config } do
      fails(f, "io", "there is no such folder", folder .. "/none")
      fails(f, "io", "is a file, not a folder", folder .. "/file")
      fails(f, "argument", "is not the path", "")
      fails(f, "argument", "a string, not a number", 1)
      fails(f, "argument", "a string, not a nil")
    end
  end)
end)
