-- LuaJIT's versions of 2022 end a process that runs this program. The registers of its inner loop come out in the wrong order.
local support = require "spec.support"

local PROGRAM = [[
require "luasight"
local program = [=[
local t, u = ...
local next, bxor, tobit = next, bit.bxor, bit.tobit
local function f(t, u, e, list)
  local p1, p2, p3, p4, p5, p6, o1, o2 = 1, 2, 3, 4, 5, 6, t, u
  local s, c = 0, 0
  for r = 1, 120 do
    p2 = tobit(p2 + p6)
    for k, v in pairs(t) do
      if e.t[k] == c then break end
      e.t[k] = c
    end
    if e.list[c] then p2 = e.list[c] end
    local kk, vv = next(u) e.z = kk if vv == c then p1 = p1 + 1 end
  end
end
for q = 1, 3 do
  local u = {}
  for k, v in pairs(t) do u[k] = v end
  f(t, u, { values = t, list = {}, t = {} }, {})
end
]=]
for n = 1, 3 do
  for _ = 1, 3 do
    local t = {}
    for i = 1, n do t["k" .. i] = i end
    jit.flush()
    assert(loadstring(program))(t, {})
  end
end
]]

-- Counts the traces of functions.
local COUNT = [[
local function count(f)
  jit.flush()
  for _ = 1, 300 do f() end
  local traceinfo, n = require "jit.util".traceinfo, 0
  for i = 1, 100 do n = n + (traceinfo(i) and 1 or 0) end
  return n
end
local t = { a = 1, b = 2 }
local function sum() local s = 0 for _, v in ipairs { 1, 2, 3, 4 } do s = s + v end return s end
local function all() local s = 0 for k, v in pairs(t) do s = s + #k + v end assert(s == 5) return s end
print(count(sum) > 0, count(all))
]]

local function said(text)
  local out
  support.temporary(function(path)
    support.write(path, text)
    out = support.run("bin/luasight " .. path .. " 2>&1")
  end)
  return out
end

describe("LuaJIT's compiler", function()
  it("makes no wrong code of loops over pairs", function()
    assert.equal("done\n", said(PROGRAM .. "print 'done'"))
  end)

  it("goes on compiling everything else, and the loops give what they have to", function()
    local text = said("require 'luasight'\n" .. COUNT)
    assert.matches("^true\t%d+\n$", text)
    if jit.version:find("beta", 1, true) and jit.arch == "x64" then assert.equal("true\t0\n", text) end
  end)
end)
