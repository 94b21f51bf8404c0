-- A sample of the changes of config.json that settings_trial.lua compares with transformers.
local settings = require "spec.models.settings"
local support = require "spec.support"
local torch = require "luasight".torch

local EVERY = 61 -- a prime, so that the sample has every kind of change

describe("a setting of config.json", function()
  local all, folder, threads

  setup(function()
    all, folder, threads = settings.answers(), support.folder(), torch.get_num_threads()
    torch.set_num_threads(1)
  end)
  teardown(function()
    support.remove(folder)
    torch.set_num_threads(threads)
  end)

  it("case 1.6: acts as in transformers, has no effect as there, or is refused by its name", function()
    local problems, count, at = {}, 0, 0
    for _, case in ipairs(all.cases) do
      for _, change in ipairs(case.changes) do
        at = at + 1
        if at % EVERY == 0 then
          local problem = settings.compare(folder, all, case, change)
          count = count + 1
          if problem then problems[#problems + 1] = ("%s %s: %s"):format(case.name, settings.text(change), problem) end
        end
      end
      collectgarbage()
    end
    assert.same({}, problems)
    assert.is_true(count > 400)
  end)

  it("case 1.6: is_causal = false lets each position read all others, in every family that has a causal mask", function()
    local count = 0
    for _, case in ipairs(all.cases) do
      for _, change in ipairs(case.changes) do
        if settings.is_only(change, "is_causal", false) and not case.name:find "%-" then
          assert.is_nil((settings.compare(folder, all, case, change)), case.name)
          count = count + 1
        end
      end
    end
    assert.is_true(count > 20)
  end)
end)
