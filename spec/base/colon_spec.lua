-- Methods called with a dot.
local ls = require "luasight"
local support = require "spec.support"
local failure, torch = support.failure, ls.torch

describe("a method called with a dot", function()
  it("says so, at the line of the call", function()
    local model, x = ls.LanguageModel "models/pretrained/ioi", torch.ones(2)
    for want, f in pairs {
      ["model:trace(...)"] = function() model.trace("Mary", function() end) end,
      ["model:generate(...)"] = function() model.generate("Mary") end,
      ["module:each(...)"] = function() model.transformer.h.each() end,
      ["x:tolist(...)"] = function() x.tolist() end,
      ["x:save(...)"] = function() model:trace("Mary", function() model.lm_head.output.save() end) end,
      ["tracer:stop(...)"] = function() model:trace("Mary", function(tracer) tracer.stop() end) end,
    } do
      local e = failure(f)
      assert.equal("argument", e.code)
      assert.matches("is called with a colon: " .. want, e.message, 1, true)
      assert.matches("colon_spec.lua$", e.file)
    end
  end)
end)
