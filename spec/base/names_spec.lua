-- Names and texts that scripts and files bring: the core keeps one copy of each, as long as something has it.
local ls = require "luasight"
local support = require "spec.support"
local torch, nn = ls.torch, ls.nn

local NAMES, LONG = 150, ("x"):rep(2000)

---Calls `use` with many names of 2,000 bytes, none twice. Returns how many more handles are alive then, and by how many bytes a
---name the memory of Lua has grown.
local function left_by(use)
  local function go(from, to)
    for i = from, to do use(("n%d_%s"):format(i, LONG)) end
    collectgarbage()
    collectgarbage()
    return ls.live(), collectgarbage "count" * 1024
  end
  local live, bytes = go(1, NAMES)
  local live_after, bytes_after = go(NAMES + 1, 2 * NAMES)
  return live_after - live, (bytes_after - bytes) / NAMES
end

local function nothing_stays(use)
  local handles, bytes = left_by(use)
  assert.equal(0, handles)
  assert.is_true(bytes < 1000, bytes .. " bytes stay of each name")
end

local function may_fail(f, ...) return (pcall(f, ...)) end

describe("case 6.14: names leave", function()
  local Net = nn.Module "Net"
  function Net:init(tap)
    self.fc, self.tap = nn.Linear(2, 2), tap
  end
  function Net:forward(x) return nn.tap(self.tap, self.fc(x)) end

  local x, model, file
  local function nothing_stays_of(use)
    x, model, file = torch.ones(1, 2), ls.Model(Net "code"), os.tmpname()
    nothing_stays(use)
    x, model = nil, nil
    os.remove(file)
  end

  local doors = {
    ["structs, tuples and their fields"] = function(name)
      local s = ls.struct { { name, 1 }, { name .. "b", name .. "c" } }
      assert.equal(name .. "c", s[name .. "b"])
      assert.equal(name, ls.tuple(name, 1)[0])
      assert.is_false(may_fail(function() return s[name .. "d"] end))
    end,
    ["classes of modules"] = function(name)
      local Class = nn.Module(name)
      function Class:init() self.fc = nn.Linear(2, 2) end
      function Class:forward(v) return self.fc(v) end
      local _ = Class()(x)
    end,
    ["children, parameters and fields, of new modules and of one that stays"] = function(name)
      for _, net in ipairs { Net "code", debug.getfenv(model).module } do
        net[name], net[name .. "p"], net[name .. "b"] = nn.Linear(2, 2), nn.Parameter(torch.ones(1)), torch.ones(1)
        local _, _ = net(x), net:state_dict()
        net[name], net[name .. "p"], net[name .. "b"] = nil, nil, nil
      end
    end,
    ["state dicts and files of tensors"] = function(name)
      local net = Net "code"
      assert.is_false(may_fail(net.load_state_dict, net, { [name] = x }))
      ls.safetensors.save(file, { [name] = x }, { metadata = { [name] = name } })
      local _ = ls.safetensors.load(file)[name]
    end,
    ["taps, also of dynamic modules"] = function(name)
      for _, dynamic in ipairs { true, false } do
        local net = Net(name)
        net.dynamic = dynamic
        local handle = ls.Model(net)
        local _ = handle:trace(x, function() return handle[name]:save() end)
      end
    end,
    ["points and modules that do not exist"] = function(name)
      for _, of in ipairs { model, model.fc } do
        assert.is_false(may_fail(model.trace, model, x, function() return of[name]:save() end))
        assert.is_false(may_fail(model.trace, model, x, function() of[name] = 1 end))
        assert.is_false(may_fail(model.trace, model, x, function() return of.output[name]:save() end))
      end
      assert.is_false(may_fail(model.get, model, name))
    end,
    ["operators, arguments, dtypes and devices that do not exist"] = function(name)
      assert.is_false(may_fail(function() return torch[name](x) end))
      assert.is_false(may_fail(function() return x[name](x) end))
      for _, options in ipairs { { [name] = 1 }, { dtype = name }, { device = name } } do
        assert.is_false(may_fail(torch.ones, 1, options))
        assert.is_false(may_fail(model.trace, model, x, function() return model.output:sum(options) end))
      end
    end,
    ["options and arguments of runs"] = function(name)
      assert.is_false(may_fail(model.trace, model, x, { [name] = 1 }, function() end))
      assert.is_false(may_fail(model.trace, model, ls.args { [name] = x }, function() end))
      assert.is_false(may_fail(model, ls.args { [name] = x }))
      assert.is_false(may_fail(model.trace, model, name, function() end))
      assert.is_false(may_fail(ls.optim.AdamW, model:parameters(), { [name] = 1 }))
    end,
    ["values of traces"] = function(name)
      local s = model:trace(x, function(tracer)
        local given = tracer:apply(function() return ls.tuple(name .. "a", 1) end, model.output)
        return ls.struct { { name, model.output }, { "given", given }, { name .. "t", name } }
      end)
      assert.equal(name .. "a", s.given[0])
    end,
    ["stored edits and their files"] = function(name)
      local edited = model:edit(function() model.fc.output = ls.struct { { name, model.fc.output * 2 } }[name] end)
      edited:save_edits(file)
      local loaded = ls.Model(Net "code")
      loaded:load_edits(file)
      local _, _ = edited(x), loaded(x)
      assert.is_false(may_fail(loaded.load_edits, loaded, file .. name:sub(1, 20)))
    end,
    ["names given to parts of a model"] = function(name)
      name = name:gsub("%d", "a") .. name:match "%d+"
      local handle = ls.Model(Net "code", { rename = { fc = name } })
      local _ = handle:trace(x, function() return handle[name].output:save() end)
    end,
  }

  for what, use in pairs(doors) do
    it(what, function() nothing_stays_of(use) end)
  end

  it("scripts; the last 4,096 are known by name, for the lines in errors", function()
    local function use(name)
      local script = assert(loadstring("local ls = ... local s = ls.struct(1) return s", "=" .. name))
      local ok, problem = pcall(script, ls)
      assert.is_false(ok)
      assert.equal(1, problem.line)
      assert.equal(name:sub(1, 50), problem.file:sub(1, 50))
    end
    for i = 1, 5000 do use(("s%d_%s"):format(i, LONG)) end
    nothing_stays(use)
    assert.match("names_spec.lua", select(2, pcall(ls.struct, 1)).file) -- a script that goes on is known again
  end)

  it("tokenizers with their files and templates", function()
    local function text_of(path)
      local f = assert(io.open(path))
      local text = f:read "*a"
      f:close()
      return text
    end
    local source, folder = "models/pretrained/ioi/", os.tmpname()
    os.remove(folder)
    assert(os.execute("mkdir " .. folder))
    os.execute(("cp %s*.json %s"):format(source, folder))
    local vocab, config = text_of(source .. "tokenizer.json"), text_of(source .. "tokenizer_config.json")
    local count = 0
    local handles, bytes = left_by(function(name)
      count = count + 1
      if count % 20 ~= 1 then return end
      for path, text in pairs {
        ["tokenizer.json"] = vocab:gsub('"vocab": ?{', ('%%0"%s": 1950,'):format(name), 1),
        ["tokenizer_config.json"] = config:gsub("{", ('{"%s": "%s",'):format(name, name), 1),
      } do
        local f = assert(io.open(folder .. "/" .. path, "w"))
        f:write(text)
        f:close()
      end
      local tokenizer = ls.Tokenizer(folder)
      assert.equal(name, tokenizer:decode(tokenizer:encode(name)))
      assert.equal(name, tokenizer:apply_chat_template({ { role = name, content = "a" } },
        { chat_template = "{{ messages[0].role }}{# " .. name .. "#}", tokenize = false }))
      tokenizer:release()
    end)
    os.execute("rm -r " .. folder)
    assert.equal(0, handles)
    assert.is_true(bytes < 1000, bytes)
  end)

  it("and are counted while something has them", function()
    local before = ls.live()
    local s = ls.struct { { "a name of its own", 1 }, { "another", "a text" } }
    assert.equal(before + 4, ls.live()) -- the struct, two names, and a text
    local same = ls.struct { { "another", 2 } }
    assert.equal(before + 6, ls.live())
    s:release()
    assert.equal(before + 2, ls.live())
    assert.equal(2, same.another)
    same:release()
    assert.equal(before, ls.live())
  end)

  it("and their memory is free again", function()
    if (os.getenv "LD_PRELOAD" or ""):find "asan" then return pending "a sanitizer keeps what was freed" end
    local grown = support.output [[bin/luasight -e '
      local ls = require "luasight"
      local function size()
        for line in io.lines "/proc/self/status" do
          local kb = line:match "^RssAnon:%s*(%d+)" or line:match "^VmRSS:%s*(%d+)"
          if kb then return tonumber(kb) end
        end
      end
      local long = ("x"):rep(200)
      local function make(from, to)
        for i = from, to do ls.struct { { i .. long, 1 } }:release() end
        collectgarbage()
        return size()
      end
      local before = make(1, 10000)
      print(make(10001, 110000) - before)']]
    assert.is_true(tonumber(grown) < 4096, grown .. " kB") -- 100,000 such names take 26,000 kB
  end)
end)
