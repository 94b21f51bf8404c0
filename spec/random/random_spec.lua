-- Random traces against a second executor: see spec/random/README.md. The long form is run by hand.
local support = require "spec.support"

local function run(options, before)
  local text, status = support.run((before or "") .. "luajit spec/random/run.lua " .. options .. " 2>&1", 1200)
  return status, text
end

describe("random traces", function()
  it("are compared to an executor whose nets and gradients are libtorch's", function()
    local status, text = run "--reference 1"
    assert.are.equal(0, status, text)
    assert.matches("19 nets agree with libtorch", text, 1, true)
  end)

  it("give what PyTorch's hooks give", function()
    -- one program leaves a circle in autograd's graph, so no leaks are looked for
    local status, text = run("--answers spec/reference/hooks.json.gz", "ASAN_OPTIONS=detect_leaks=0 ")
    assert.are.equal(0, status, text)
    assert.is_true(tonumber(text:match "(%d+) same") > 300, text)
  end)

  it("give what the plain executor gives, and raise where it does", function()
    local status, text = run "--programs 300 --seed 1"
    assert.are.equal(0, status, text) -- the text names the seeds that differ
    local same = tonumber(text:match "(%d+) same")
    assert.is_true(same > 150, text)
  end)
end)
