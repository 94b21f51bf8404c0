-- The definition files that editors read: what is public is there with its annotations, and every operator says what its
-- registered schemas say. What the build wrote is what the sources give now.
package.path = "tools/?.lua;" .. package.path
local annotations = require "manual.annotations"
local api = require "manual.api"
local definitions = require "manual.definitions"
local document = dofile "spec/manual/document.lua"
local ls = require "luasight"
local operators = require "luasight.tensor.operators"
local public = require "manual.public"
local schemas = require "manual.schemas"

local build = (os.getenv "LUASIGHT_BUILD" or "build") .. "/lua/luasight/definitions/"

local function read(path)
  local file = io.open(path, "rb")
  local text = file and file:read "*a"
  if file then file:close() end
  return text
end

local function sorted(set)
  local list = {}
  for name in pairs(set) do list[#list + 1] = name end
  table.sort(list)
  return list
end

local made

local function files()
  if not made then
    made = definitions.operators()
    table.insert(made, 1, { "luasight.lua", definitions.library() })
  end
  return made
end

---The text of one operator in the files.
local function entry(name)
  for _, file in ipairs(files()) do
    for part in (file[2] .. "\n"):gmatch "(.-)\n\n" do
      if part:find("\nfunction " .. name .. "(", 1, true) then return part end
    end
  end
end

describe("schemas", function()
  it("are read with names, types, defaults and what only has a name", function()
    local s = schemas.parse "aten::sum.dim(Tensor self, int[1]? dim, bool keepdim=False, *, ScalarType? dtype=None) -> Tensor"
    local names, types, defaults, keyword = {}, {}, {}, {}
    for i, a in ipairs(s.arguments) do
      names[i], types[i], defaults[i], keyword[i] = a.name, a.type, a.default or "-", a.keyword
    end
    assert.same({ "self", "dim", "keepdim", "dtype" }, names)
    assert.same({ "Tensor", "int[1]?", "bool", "ScalarType?" }, types)
    assert.same({ "-", "-", "False", "None" }, defaults)
    assert.same({ false, false, false, true }, keyword)
    s = schemas.parse "aten::f(Tensor(a!) self, int[2] pad=[0, 1], str mode=\"a, b\") -> (Tensor values, Tensor(a!) indices)"
    assert.equal("[0, 1]", s.arguments[2].default)
    assert.equal('"a, b"', s.arguments[3].default)
    assert.same({ "values", "indices" }, { s.returns[1].name, s.returns[2].name })
  end)

  it("have types that LuaLS knows", function()
    for type, wanted in pairs {
      ["Tensor"] = "luasight.Tensor", ["Tensor(a!)?"] = "luasight.Tensor", ["SymInt"] = "integer", ["Scalar"] = "number",
      ["int[]"] = "integer[]|luasight.Sequence", ["int[2]"] = "integer|integer[]|luasight.Sequence",
      ["Tensor?[]"] = "luasight.Tensor[]|luasight.Sequence", ["ScalarType?"] = "luasight.dtype", ["bool[3]"] =
      "boolean|boolean[]|luasight.Sequence",
    } do assert.equal(wanted, schemas.lua_type(type)) end
  end)
end)

describe("definitions", function()
  it("say of an operator what it takes, what is told where nothing is given, and what it gives", function()
    assert.equal([[
---    max(Tensor self) -> Tensor
---    max.other(Tensor self, Tensor other) -> Tensor
---    max.dim(Tensor self, int dim, bool keepdim=False) -> (Tensor values, Tensor indices)
---@return luasight.Tensor
---@overload fun(self: luasight.Tensor, other: luasight.Tensor): luasight.Tensor
---@overload fun(self: luasight.Tensor, options: { other: luasight.Tensor }): luasight.Tensor
---@overload fun(self: luasight.Tensor, dim: integer, options?: { keepdim?: boolean }): luasight.Tensor, luasight.Tensor
---@overload fun(self: luasight.Tensor, dim: integer, keepdim?: boolean): luasight.Tensor, luasight.Tensor
---@overload fun(self: luasight.Tensor, options: { dim: integer, keepdim?: boolean }): luasight.Tensor, luasight.Tensor
function Tensor:max() end]], entry "Tensor:max")
    local cat = entry "torch.cat"
    assert.matches("---@param options? { dim?: integer }  dim = 0 unless told\n", cat, 1, true)
    assert.matches("---@overload fun(tensors: luasight.Tensor[]|luasight.Sequence, dim?: integer): luasight.Tensor\n", cat, 1,
      true)
    assert.matches("---@overload fun(self: luasight.Tensor, ...: integer): luasight.Tensor\n", entry "Tensor:view", 1, true)
  end)

  it("name every argument of some operators, with the schema and its defaults", function()
    for _, name in ipairs { "softmax", "layer_norm", "conv2d", "topk", "arange", "gelu", "where", "embedding" } do
      local text = entry("torch." .. name)
      for _, schema in ipairs(schemas.of(name)) do
        assert.matches("---    " .. schema.text .. "\n", text, 1, true)
        for _, a in ipairs(schema.arguments) do
          assert.matches("%f[%w_]" .. schemas.lua_name(a.name) .. "%f[^%w_]", (text:gsub("%-%-%-    [^\n]*\n", "")))
        end
      end
    end
  end)

  it("have every operator once that a script can call by a plain name", function()
    local found, missing = {}, {}
    for _, file in ipairs(files()) do
      for name in file[2]:gmatch "\nfunction torch%.([%w_]+)%(" do
        if found[name] then missing[name .. " is there twice"] = true end
        found[name] = true
      end
    end
    local own = api.names "luasight.torch"
    for _, name in ipairs(operators.names "") do
      local usable = name:find "^%a[%w_]*$" and #schemas.of(name) > 0 and schemas.lua_name(name) == name
      if usable and not found[name] and not own[name] then missing[name] = true end
    end
    assert.same({}, sorted(missing))
  end)

  it("are Lua, small enough for editors, and name only classes that are defined", function()
    local defined, used, uneven = {}, {}, {}
    for _, file in ipairs(files()) do
      assert(loadstring(file[2], "@" .. file[1]))
      assert.is_true(#file[2] < 500 * 1000, file[1])
      for name in file[2]:gmatch "%-%-%-@class ([%w_.]+)" do defined[name] = true end
      for name in file[2]:gmatch "%-%-%-@alias ([%w_.]+)" do defined[name] = true end
      for line in file[2]:gmatch "%-%-%-@%a+ ([^\n]*)" do
        for name in line:gmatch "luasight%.[%a][%w_.]*" do used[name:gsub("%.$", "")] = file[1] .. ": " .. line end
        local bare = line:gsub("  .*$", "")
        for open, close in pairs { ["("] = ")", ["{"] = "}", ["["] = "]" } do
          if select(2, bare:gsub("%" .. open, "")) ~= select(2, bare:gsub("%" .. close, "")) then uneven[line] = true end
        end
      end
    end
    assert.same({}, sorted(uneven))
    for name, where in pairs(used) do assert.is_true(defined[name], name .. " in " .. where) end
  end)

  it("name the parameters that the functions have", function()
    for _, group in ipairs(api.groups()) do
      for _, f in ipairs(group.functions) do
        local args = {}
        for name in f.args:gmatch "[%w_.]+" do args[name] = true end
        for _, p in ipairs(f.params) do
          assert.is_true(args[p.name], ("%s%s: there is no parameter %s"):format(group.call, f.name, p.name))
        end
        assert.is_true(#f.doc > 0 or #f.returns > 0 or #f.params > 0, group.call .. f.name .. " says nothing")
      end
    end
  end)

  it("have all public functions of the sources", function()
    local missing = {}
    for _, page in ipairs(public) do
      for _, group in ipairs(page.groups) do
        local known = api.names(group.class)
        for _, source in ipairs(group.sources) do
          if not source.only and source[2] ~= "" then
            for _, line in ipairs(document.lines(source[1])) do
              local name = line:match("^function " .. source[2] .. "[.:]([%w_]+)%(")
              if name and name:sub(1, 1) ~= "_" and not known[name] then missing[source[1] .. ": " .. name] = true end
            end
          end
        end
      end
    end
    assert.same({}, sorted(missing))
  end)

  it("have what the library's tables have", function()
    for class, given in pairs {
      ["luasight"] = ls, ["luasight.nn"] = ls.nn, ["luasight.optim"] = ls.optim, ["luasight.plot"] = ls.plot,
      ["luasight.torch"] = ls.torch, ["luasight.nn.init"] = ls.nn.init, ["luasight.Tensor"] = require "luasight.tensor.methods",
      ["luasight.GenerationOptions"] = require "luasight.lm.generation.settings".names,
    } do
      local known, missing = api.names(class), {}
      local names = {}
      for name in pairs(given) do names[name] = true end
      local meta = getmetatable(given)
      for _, name in ipairs(meta and meta.__names and meta.__names() or {}) do names[name] = true end
      for name in pairs(names) do
        if type(name) == "string" and not known[name] then missing[name] = true end
      end
      assert.same({}, sorted(missing), class)
    end
  end)

  it("are in the build as the sources give them", function()
    if not read(build .. "luasight.lua") then pending("a build with sanitizers makes none") end
    for _, file in ipairs(files()) do assert.equal(file[2], read(build .. file[1])) end
  end)
end)

describe("annotations", function()
  it("are read with types, texts that go on, and what may be left out", function()
    local path = os.tmpname()
    local file = assert(io.open(path, "w"))
    file:write(table.concat({
      "--- About.", "", "---Does it.", "---@param a integer  how many", "---@param b? { x: string? }  b: what", "---  goes on",
      "---@return ffi.cdata*  # what comes", "function t.f(a, b) end", "", "---@class luasight.C: luasight.D  a class",
      "---@field private p integer", "---@field q string?  text", "local C = {}", "",
    }, "\n"))
    file:close()
    local said = annotations.read(path)
    os.remove(path)
    local f = said.functions[1]
    assert.same({ "About." }, said.about)
    assert.same({ "t", "f", "a, b", { "Does it." } }, { f.owner, f.name, f.args, f.doc })
    assert.same({ name = "a", type = "integer", text = "how many", optional = false }, f.params[1])
    assert.same({ name = "b", type = "{ x: string? }", text = "b: what goes on", optional = true }, f.params[2])
    assert.same({ type = "luasight.Tensor", text = "what comes", optional = false }, f.returns[1])
    local class = said.classes["luasight.C"]
    assert.same({ "luasight.D", { "a class" } }, { class.parent, class.doc })
    assert.same({ { name = "q", type = "string?", text = "text", optional = false } }, class.fields)
  end)
end)
