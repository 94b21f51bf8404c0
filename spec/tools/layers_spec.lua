-- tools/layers on a small tree of its own: it passes as it is, and each kind of fault that is put into it is found.
local support = require "spec.support"
local repository = support.root

local folder

local function put(path, text)
  support.output(("mkdir -p %s/%s"):format(folder, path:match "^(.*)/" or "."))
  local file = assert(io.open(folder .. "/" .. path, "wb"))
  file:write(text)
  file:close()
end

local house = [==[
return {
  rows = { { "core/abi.h" }, { "core/low" }, { "core/side", only = "core/abi.h" }, { "core/high" },
    { "bindings/luasight/ffi" }, { "lua/luasight/low" }, { "lua/luasight/high" }, { "lua/luasight/init.lua" },
    { "models/luasight/models", only = "public" } },
  trees = { "core", "bindings", "lua", "models" }, others = { "spec" }, lua = { "lua", "bindings", "models" },
  native = "bindings", public = { "luasight" }, clients = { "examples" }, runs = { "luajit run.lua" }, most = { raw = 0 },
  exceptions = {}, headers = {}, long = {}, raw = {}, unloaded = {},
}
]==]

local clean = {
  ["core/abi.h"] = "int ls_low(void);\nint ls_high(void);\n",
  ["core/low/low.h"] = '#include "abi.h"\nint ls__low(void);\n',
  ["core/low/hidden.h"] = "int ls__hidden(void);\n",
  ["core/low/low.c"] = '#include "hidden.h"\n#include "low/low.h"\n'
    .. "int ls__hidden(void) { return 1; }\nint ls__low(void) { return ls__hidden(); }\nint ls_low(void) { return 2; }\n",
  ["core/side/side.c"] = '#include "abi.h"\nint ls__side(void) { return 0; }\n',
  ["core/high/high.c"] = '#include "low/low.h"\nint ls_high(void) { return ls__low() + ls_low(); }\n',
  ["bindings/luasight/ffi/init.lua"] = 'local ffi = require "ffi"\nreturn { long = ffi.sizeof "long" }\n',
  ["lua/luasight/low/init.lua"] = 'return { text = "--", ffi = require "luasight.ffi" } -- require "luasight.high"\n',
  ["lua/luasight/high/init.lua"] = 'local name = "low"\nreturn require("luasight." .. name)\n',
  ["lua/luasight/init.lua"] = 'return { high = require "luasight.high" }\n',
  ["models/luasight/models/one.lua"] = 'return require "luasight"\n',
  ["examples/one.lua"] = 'local ls = require "luasight"\n',
  ["spec/one_spec.lua"] = "return 1\n",
  ["run.lua"] = 'package.path = "lua/?.lua;lua/?/init.lua;bindings/?/init.lua;models/?.lua"\nrequire "luasight.models.one"\n',
}

-- What tools/layers says of the clean tree with some files changed, and whether it passes. `list` is an entry for house.lua.
local function check(changed, list, entry)
  for path, text in pairs(clean) do put(path, text) end
  for path, text in pairs(changed or {}) do put(path, text) end
  put("tools/layering/house.lua", list and house:gsub(list .. " = {}", ("%s = { %s }"):format(list, entry)) or house)
  local script = ([[cd %s && cp %s/tools/layering/record.lua tools/layering && unset LD_PRELOAD LUA_INIT &&
    for source in core/*/*.c; do
      mkdir -p "build/CMakeFiles/x.dir/${source%%/*}" && cc -I core -c "$source" -o "build/CMakeFiles/x.dir/$source.o" || exit
    done
    luajit %s/tools/layering/check.lua build && echo passed]]):format(folder, repository, repository)
  put("script", script)
  local text = support.run("sh " .. folder .. "/script 2>&1")
  return text, text:find "\npassed\n$" ~= nil
end

-- The tree with these files has this one fault.
local function finds(fault, changed, ...)
  local text, passed = check(changed, ...)
  assert.is_false(passed, text)
  assert.equal(fault, text:match "^(.*)\nlayers: 1 faults", text)
end

local function changed(path, from, to) return { [path] = (clean[path]:gsub(from, to)) } end

describe("tools/layers", function()
  before_each(function()
    folder = support.folder()
  end)

  after_each(function() support.remove(folder) end)

  it("passes where all use what is below", function()
    local text, passed = check()
    assert.is_true(passed, text)
    assert.matches("^layers: 11 files, 9 rows, %d+ arrows between them, 0 exceptions\n", text)
  end)

  it("finds a call of a hidden function and of a public one upwards", function()
    finds("core/low/low.c uses ls_high of core/high/high.c: core/low may not use core/high",
      changed("core/low/low.c", "return 2", "return ls_high()"))
    finds("core/low/low.c uses ls__up of core/high/up.c: core/low may not use core/high", {
      ["core/low/low.c"] = "int ls__up(void);\nint ls__low(void) { return ls__up(); }\nint ls_low(void) { return 2; }\n",
      ["core/high/up.c"] = "int ls__up(void) { return 1; }\n" })
  end)

  it("finds what a row with a list of its own may not use, though it comes before", function()
    finds("core/side/side.c uses ls__low of core/low/low.c: core/side may not use core/low",
      { ["core/side/side.c"] = "int ls__low(void);\nint ls__side(void) { return ls__low(); }\n" })
  end)

  it("finds an include upwards and a private header", function()
    finds("core/low/low.c includes core/high/high.h: core/low may not use core/high", { ["core/high/high.h"] = "",
      ["core/low/low.c"] = '#include "high/high.h"\n' .. clean["core/low/low.c"] })
    os.remove(folder .. "/core/high/high.h")
    finds("core/high/high.c includes core/low/hidden.h, a private header of core/low",
      { ["core/high/high.c"] = '#include "low/hidden.h"\n' .. clean["core/high/high.c"] })
  end)

  it("finds a require that is written and never runs, and one that has no name in the text", function()
    local fault = 'lua/luasight/low/init.lua requires "luasight.high" (lua/luasight/high/init.lua): '
      .. "lua/luasight/low may not use lua/luasight/high"
    finds(fault, { ["lua/luasight/low/init.lua"] =
      'return { require "luasight.ffi", function() return require("luasight.high") end }\n' })
    finds(fault, { ["lua/luasight/high/init.lua"] = "return {}\n",
      ["lua/luasight/low/init.lua"] = 'local name = "high"\nreturn require("luasight." .. name)\n',
      ["lua/luasight/init.lua"] = 'return { require "luasight.low", require "luasight.ffi" }\n' })
  end)

  it("finds a family and an example that require what is not public", function()
    finds('models/luasight/models/one.lua requires "luasight.low" (lua/luasight/low/init.lua): '
      .. "models/luasight/models may not use what is not public",
      changed("models/luasight/models/one.lua", "^", 'local _ = require "luasight.low"\n'))
    finds('examples/one.lua requires "luasight.low", which is not public',
      changed("examples/one.lua", '"luasight"', '"luasight.low"'))
  end)

  it("finds a module that no run loads and a run that fails", function()
    finds("lua/luasight/high/two.lua was loaded by none of the runs, so its requires are not all known: let tour.lua use it",
      { ["lua/luasight/high/two.lua"] = "return {}\n" })
    os.remove(folder .. "/lua/luasight/high/two.lua")
    local text, passed = check(changed("run.lua", "$", "error 'broken'"))
    assert.is_false(passed)
    assert.matches("^luajit run.lua failed:\nluajit: run.lua:3: broken\n", text)
  end)

  it("finds a call of C outside of the binding", function()
    finds("lua/luasight/low/init.lua calls the C library or ffi by itself: that belongs into bindings",
      { ["lua/luasight/low/init.lua"] = 'local C = require "luasight.ffi".C\nreturn function() C.ls_low() end\n' })
    for _, text in ipairs { 'return { require "ffi", require "luasight.ffi" }\n', 'return require "luasight.ffi".C\n' } do
      finds("lua/luasight/low/init.lua calls the C library or ffi by itself: that belongs into bindings",
        { ["lua/luasight/low/init.lua"] = text })
    end
    assert.matches("house.lua, raw: 1 entries, at most 0 are allowed", (check(
      { ["lua/luasight/low/init.lua"] = 'return require "luasight.ffi".C.ls_low\n' }, "raw",
      '["lua/luasight/low/init.lua"] = "a reason long enough"')), 1, true)
  end)

  it("finds a folder without a row, a file without an object and a long file", function()
    finds("lua/luasight/new/init.lua: its folder has no row", { ["lua/luasight/new/init.lua"] = "return {}\n",
      ["lua/luasight/init.lua"] = 'local _ = require "luasight.new"\n' .. clean["lua/luasight/init.lua"] })
    support.remove(folder .. "/lua/luasight/new")
    finds("core/low/new.cc has no object in build: build first", { ["core/low/new.cc"] = "" })
    os.remove(folder .. "/core/low/new.cc")
    local lines = ("-- a line\n"):rep(401)
    finds("spec/one_spec.lua has 401 lines: split it, or give a reason", { ["spec/one_spec.lua"] = lines })
    local text, passed = check({ ["spec/one_spec.lua"] = lines }, "long", '["spec/one_spec.lua"] = "a reason long enough"')
    assert.is_true(passed, text)
  end)

  it("takes an exception with a reason, and finds one that is not needed", function()
    local text, passed = check(changed("core/low/low.c", "return 2", "return ls_high()"), "exceptions",
      '["core/low -> ls_high"] = "a reason long enough"')
    assert.is_true(passed, text)
    assert.matches("1 exceptions\n", text)
    finds('house.lua, exceptions: "core/low -> ls_high" is no longer needed, remove it', nil, "exceptions",
      '["core/low -> ls_high"] = "a reason long enough"')
    finds('house.lua, exceptions: "core/low -> ls_high" has no reason',
      changed("core/low/low.c", "return 2", "return ls_high()"), "exceptions", '["core/low -> ls_high"] = ""')
  end)
end)
