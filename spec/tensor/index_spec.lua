-- x[...] reads and writes: numbers, slice texts, tables, tensors.
local ls = require "luasight"
local torch = ls.torch

local failure = require "spec.support".failure

describe("indexing", function()
  local x
  before_each(function() x = torch.arange(24):view(2, 3, 4) end)

  it("counts from 0, and from the end below 0", function()
    assert.same({ 12, 13, 14, 15 }, x[1][0]:tolist())
    assert.equal(23, x[-1][-1][-1]:item())
    assert.equal(3, x.shape[1])
    assert.equal(4, x.shape[-1])
  end)

  it("reads slice texts", function()
    for text, want in pairs {
      ["0, -1"] = { 8, 9, 10, 11 }, [":, 0, 0"] = { 0, 12 }, ["..., 0"] = { { 0, 4, 8 }, { 12, 16, 20 } },
      ["0, 1:, ::2"] = { { 4, 6 }, { 8, 10 } }, [" 0 , 0 , -3: "] = { 1, 2, 3 }, ["0, [0, 2], 1"] = { 1, 9 },
      ["1, 0, 1:3"] = { 13, 14 }, ["0, 0, 0:4:3"] = { 0, 3 }, ["-1, ..., -1"] = { 15, 19, 23 }, ["0, 0, :-2"] = { 0, 1 },
    } do
      assert.same(want, x[text]:tolist(), text)
    end
    assert.same({ 1, 2, 3, 4 }, x["None"].shape:tolist())
    assert.same({ 2, 1, 3, 4 }, x[":, None"].shape:tolist())
    assert.same({ 0, 3, 4 }, x["1:1"].shape:tolist())
  end)

  it("reads tables", function()
    assert.same({ 0, 4, 8 }, x[{ 0, {}, 0 }]:tolist())
    assert.same({ { 16, 17, 18, 19 }, { 20, 21, 22, 23 } }, x[{ 1, { 1 } }]:tolist())
    assert.same({ 1, 2 }, x[{ 0, 0, { 1, 3 } }]:tolist())
    assert.same({ 0, 1 }, x[{ 0, 0, { nil, 2 } }]:tolist())
    assert.same({ 0, 2 }, x[{ 0, 0, { 0, 4, 2 } }]:tolist())
    assert.equal(5, x[{ 0, 1, 1 }]:item())
    assert.same({ 3, 15 }, x[{ "...", 0, 3 }]:tolist())
  end)

  it("reads masks and positions", function()
    assert.same({ 22, 23 }, x[x:gt(21)]:tolist())
    local at = torch.tensor({ 2, 0 }, { dtype = "int64" })
    assert.same({ 9, 1 }, x[{ 0, at, 1 }]:tolist())
    assert.same({ 12 }, x[{ at:gt(5), 0, 0 }]:size():tolist()[1] == 0 and { 12 } or {})
  end)

  it("writes all of these in place", function()
    x[0] = 7
    assert.equal(7 * 12, x[0]:sum():item())
    x["1, :, 0"] = -1
    assert.same({ -1, -1, -1 }, x["1, :, 0"]:tolist())
    x[{ 1, 0 }] = torch.arange(4)
    assert.same({ 0, 1, 2, 3 }, x["1, 0"]:tolist())
    x[x:eq(7)] = 0
    assert.equal(0, x[0]:abs():sum():item())
    x["1, [0, 2], 3"] = 5
    assert.same({ 5, 19, 5 }, x["1, :, 3"]:tolist())
    x[":"] = 1
    assert.equal(24, x:sum():item())
  end)

  it("reads a list as a mask only where all of it are booleans, and refuses numbers beside lists", function()
    local pair = torch.tensor { 5, 6 }
    assert.same({ 6, 6 }, pair["[1, True]"]:tolist())
    assert.same({ 6, 5 }, pair["[True, 0]"]:tolist())
    assert.same({ 6 }, pair["[False, True]"]:tolist())
    for _, key in ipairs { "[1, [1]]", "[1, [0, 1]]", "[0, []]", "[[0], 1]" } do
      assert.equal("index", failure(function() return pair[key] end).code, key)
    end
  end)

  it("gives views", function()
    local row = x[0]
    row:fill_(1)
    assert.equal(12, x[0]:sum():item())
  end)

  it("is an error at the script's line where it is wrong", function()
    local line = debug.getinfo(1, "l").currentline + 1
    local err = failure(function() return x[":, 10"] end)
    assert.equal("index", err.code)
    assert.equal(line, err.line)
    assert.matches("index_spec.lua$", err.file)
    for _, key in ipairs { "", ":, x", "1 2", "[0", "-", ":,,0", "1:2:3:4", 1.5, { a = 1 }, { { 1, 2, 3, 4 } }, { 0, print },
      true and "5:3 4" } do
      err = failure(function() return x[key] end)
      assert.equal("index", err.code, tostring(key))
    end
    err = failure(function() x[5] = 0 end)
    assert.equal("index", err.code)
    err = failure(function() return x["0, 0, 0, 0"] end)
    assert.equal("index", err.code)
  end)

  it("takes elements of tuples and shapes", function()
    local t = ls.tuple(x, 3, ls.tuple(1, "a"))
    assert.equal(3, t[1])
    assert.equal("a", t[-1][1])
    assert.equal(3, #t)
    assert.is_true(torch.equal(x, t[0]))
    assert.equal("index", failure(function() return t[3] end).code)
  end)
end)
