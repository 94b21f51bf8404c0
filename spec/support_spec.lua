-- What the specs stand on: numbers that are near or not, and commands that are run.
local ls = require "luasight"
local support = require "spec.support"
local torch, near = ls.torch, support.near

---What a test that fails says.
local function said(f, ...)
  local ok, err = pcall(f, ...)
  assert.is_false(ok)
  return tostring(err.message or err)
end

describe("numbers", function()
  it("are near those wanted within what their dtype allows, and else the largest difference is named", function()
    local want = torch.tensor { { 1, -math.huge }, { 4, 2 } }
    near(want, want + 3e-6) -- a share of 4
    assert.is_true(support.is_near(want:double(), want:double() + 3e-9))
    assert.is_false(support.is_near(want:double(), want:double() + 5e-9))
    local got = want:clone()
    got["1, 1"] = 2.5
    got["0, 0"] = 1.25
    assert.equal("logits: the largest difference is 0.5 at [1, 1], where 2.5 is and 2 is wanted, "
      .. "and 4e-06 (float32: 1e-06 of 4) is the bound", said(near, want, got, "logits"))
    assert.matches("2e-05 (order: 5e-06 of 4) is the bound", said(near, want, got, nil, "order"), 1, true)
  end)

  it("are not near with another shape, NaN, or infinite numbers at other places", function()
    assert.matches("the shape is [2], and [1, 2] is wanted", said(near, torch.ones(1, 2), torch.ones(2)), 1, true)
    local x = torch.tensor { 1, 0 / 0 }
    assert.matches("NaN is at [1]", said(near, x, x), 1, true)
    assert.is_false(support.is_near(torch.tensor { 1, math.huge }, torch.tensor { 1, -math.huge }))
    assert.is_false(support.is_near(torch.tensor { 1, 2 }, torch.tensor { 1, math.huge }))
    assert.is_false(support.is_near(torch.zeros(2), torch.full({ 2 }, 1e-30)))
    assert.is_true(support.is_near(torch.zeros(2), torch.full({ 2 }, 1e-7), nil, 1))
    assert.is_true(support.is_near({ 1, 2 }, torch.tensor { 1, 2 }) and support.is_near(0.1, 0.1 + 1e-9))
    assert.is_false(support.is_near(0.1, 0.1001))
    assert.is_false(pcall(support.is_near, 1, 1, "no such name"))
  end)
end)

describe("an expected error", function()
  it("has a code and words, and no other will do", function()
    local function wrong() torch.ones(2):item() end
    local err = support.failure(wrong)
    support.refused(err.code, err.message:sub(1, 20), wrong)
    assert.matches("was expected, and this came", said(support.refused, err.code, "other words", wrong))
    assert.matches("was expected, and this came", said(support.refused, "other code", err.message, wrong))
    assert.matches("no error", said(support.refused, err.code, err.message, function() end))
  end)
end)

describe("a command", function()
  it("gives its output, its status and its errors apart, and is ended where it takes too long", function()
    local output, status, errors = support.run "echo 'it'\\''s out'; echo err >&2; exit 3"
    assert.same({ "it's out\n", 3, "err\n" }, { output, status, errors })
    assert.equal("1\n", support.output "echo 1")
    assert.matches("status 2: exit 2", said(support.output, "exit 2"), 1, true)
    local command = "echo begun; sleep 9"
    assert.matches("it took longer than 0.2 s: " .. command .. "\nbegun", said(support.run, command, 0.2), 1, true)
  end)
end)
