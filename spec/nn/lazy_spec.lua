-- What a first trace does not need is loaded when it is first used.
local ls = require "luasight"
local module = require "luasight.nn.module"
local support = require "spec.support"

describe("methods that are loaded later", function()
  it("are there before for every module", function()
    local missing = {}
    for name in pairs(require "luasight.nn.methods") do
      if type(rawget(module.Module, name)) ~= "function" then missing[#missing + 1] = name end
    end
    assert.same({}, missing)
    assert.is_function(ls.nn.Linear(1, 1).named_parameters)
  end)

  it("are there before for every model", function()
    local root_methods, missing = require "luasight.model.handle".root_methods, {}
    for name in pairs(require "luasight.model.methods") do
      if type(rawget(root_methods, name)) ~= "function" then missing[#missing + 1] = name end
    end
    assert.same({}, missing)
  end)

  it("are no part of a script that traces a network of its own", function()
    local path = os.tmpname()
    support.write(path, [[
      local ls = require "luasight"
      local model = ls.Model(ls.nn.Sequential { { "a", ls.nn.Linear(2, 2) } })
      model:trace(ls.torch.ones(1, 2), function()
        model.a.output[":, 0"] = 0
        return model.output
      end)
      for _, name in ipairs { "model.methods", "model.points", "nn.initializers", "nn.methods", "nn.text", "tensor.print",
        "tensor.text", "trace.batch", "trace.hooked", "trace.scan", "trace.steps", "trace.token_index", "ffi.graph_files" } do
        if package.loaded["luasight." .. name] then print(name) end
      end
      print(require "luasight.ffi.header".text)
    ]])
    local said = support.run("bin/luasight " .. path .. " 2>&1")
    os.remove(path)
    assert.equal("nil\n", said)
  end)
end)
