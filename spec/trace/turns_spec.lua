-- Rule S13: traces of several coroutines on one model, open at once, never influence each other.
local ls = require "luasight"
local turns = require "spec.trace.turns"
local torch = ls.torch

local ROUNDS = tonumber(os.getenv "TURNS" or 12) -- TURNS=2000 tools/test spec/trace/turns_spec.lua tries more
local FIRST = tonumber(os.getenv "TURNS_SEED" or 1)

local function nothing() end

describe("random programs that take turns in coroutines", function()
  it("write down what each writes alone", function()
    local models = turns.models()
    local state = models.state()
    for seed = FIRST, FIRST + ROUNDS - 1 do
      local programs, logs = {}, {}
      for k = 1, 2 + seed % 3 do programs[k], logs[k] = turns.program(seed * 10 + k, models, coroutine.yield) end
      turns.interleave(programs, seed)
      assert.is_true(torch.is_grad_enabled(), "seed " .. seed)
      for k, log in ipairs(logs) do
        local program, want = turns.program(seed * 10 + k, models, nothing)
        program()
        assert.same(want, log, ("seed %d, program %d"):format(seed, k))
      end
      assert.equal(state, models.state(), "seed " .. seed)
    end
  end)
end)
