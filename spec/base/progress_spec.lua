-- Progress: what a bar says, the loops it goes along with, and silence in a pipe.
local ls = require "luasight"
local support = require "spec.support"
local progress = ls.progress

local function collect(...)
  local list = {}
  for a, b in progress(...) do list[#list + 1] = { a, b } end
  return list
end

describe("progress", function()
  it("goes over lists, numbers and iterators and hands on what they give", function()
    assert.same({ { 1, "a" }, { 2, "b" } }, collect { "a", "b" })
    assert.same({ { 1 }, { 2 }, { 3 } }, collect(3))
    assert.same({}, collect(0))
    assert.same({ { "k", 7 } }, collect(pairs { k = 7 }))
    assert.same({ { 1, "x" } }, collect(ipairs { "x" }))
    local i = 0
    assert.same({ { 1, 1 }, { 2, 4 } }, collect(function()
      i = i + 1
      if i < 3 then return i, i * i end
    end, { total = 2, label = "squares" }))
  end)

  it("refuses what cannot be gone over, and options that it does not have", function()
    assert.error_matches(function() progress "text" end, "a list, a number or an iterator, not a string")
    assert.error_matches(function() progress.new { totl = 1 } end, 'no option "totl"')
  end)

  it("says how far it is, how fast, and how long it will take", function()
    assert.equal(("█"):rep(15) .. ("░"):rep(15) .. " 50/100  10/s  0:05 left",
      progress.line({ done = 50, first = 0, total = 100, seconds = 5 }, 100))
    assert.equal(("█"):rep(30) .. " 100/100  10/s  0:10  loss 0.1",
      progress.line({ done = 100, first = 0, total = 100, seconds = 10, text = "loss 0.1" }, 100))
    assert.equal("loading 4  2 s each", progress.line({ done = 4, first = 0, seconds = 8, label = "loading" }, 100))
  end)

  it("reckons only with what was done here", function()
    assert.matches("90/100  10/s  0:01 left", progress.line({ done = 90, first = 80, total = 100, seconds = 1 }, 100))
  end)

  it("leaves the bar out where there is no room for it", function()
    assert.equal("50/100  10/s  0:05 left", progress.line({ done = 50, first = 0, total = 100, seconds = 5 }, 25))
  end)

  it("prints nothing where standard error is no terminal", function()
    assert.same({ "", 0, "" }, { support.run "bin/luasight -e 'for i in ls.progress(3) do end'" })
  end)
end)
