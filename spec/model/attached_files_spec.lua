-- Stored edits with calls of added modules that have points, in files.
local ls = require "luasight"
local support = require "spec.support"
local torch, nn = ls.torch, ls.nn
local failure, near = support.failure, support.near

local Sae = nn.Module "Sae"
function Sae:init(width, codes)
  self.encode = nn.Linear(width, codes)
  self.decode = nn.Linear(codes, width)
end
function Sae:forward(x) return self.decode(nn.tap("code", self.encode(x):relu())) end

local function with_sae()
  local net = nn.Sequential { { "layer1", nn.Linear(5, 4) }, { "layer2", nn.Linear(4, 2) } }
  local model = ls.Model(net)
  model.layer1.sae = Sae(4, 6)
  net:requires_grad_(false)
  return model, net, torch.randn(2, 5)
end

describe("a call with { hook = true } in a file of edits", function()
  local path
  local function saved(body)
    local model, net, x = with_sae()
    local edited = model:edit(function() body(model.layer1, model.layer1.sae) end)
    edited:save_edits(path)
    local other, again = with_sae()
    again:load_state_dict(net:state_dict())
    other:load_edits(path)
    return edited, other, x
  end
  local function text_of()
    local file = assert(io.open(path))
    local text = file:read "*a"
    file:close()
    return text
  end
  before_each(function() path = os.tmpname() end)
  after_each(function() os.remove(path) end)

  it("is called with its points as before", function()
    local edited, other, x = saved(function(layer, sae)
      sae.code[":, 3"] = 9
      local code = sae.encode.output
      layer.output = sae(layer.output, { hook = true }) + code:sum()
      sae.decode.output = sae.decode.output * 2
      layer.output = layer.output + sae(layer.output, { hook = true })
    end)
    near(edited(x), other(x))
    for k = 0, 1 do -- later lines name the same calls
      local a = edited:trace(x, function() return edited.layer1.sae:call(k).code end)
      local b = other:trace(x, function() return other.layer1.sae:call(k).code end)
      near(a, b)
      assert.equal(k == 0, a[":, 3"]:eq(9):all():item())
    end
    local mine = other:trace(x, function() -- and lines of the body make calls of their own
      local y = other.layer1.sae(other.layer1.output, { hook = true })
      other.layer1.sae.code[":, 0"] = 7
      return ls.tuple(y, other.layer1.sae.code)
    end)
    assert.equal(7, mine[1]["0, 0"]:item())
  end)

  it("is called with constants", function()
    local edited, other, x = saved(function(layer, sae)
      local y = sae(torch.ones(1, 4), { hook = true })
      layer.output = layer.output + y + sae.code:sum()
    end)
    near(edited(x), other(x))
  end)

  it("is called in the step that the edit names", function()
    local function make()
      torch.manual_seed(1)
      local lm = ls.LanguageModel "models/pretrained/ioi"
      lm.transformer.h[1].sae = Sae(128, 6)
      return lm, lm.transformer.h[1]
    end
    local lm, h = make()
    local edited = lm:edit(function(tracer)
      tracer:next()
      h.sae.code[":, :, 1"] = 50
      h.output[0] = h.sae(h.output[0], { hook = true })
    end)
    edited:save_edits(path)
    local other = make()
    other:load_edits(path)
    local function answers(model)
      local code
      model:generate("When Mary and", { max_new_tokens = 4 }, function(tracer)
        tracer:next()
        code = model.transformer.h[1].sae.code:save()
      end)
      return model:generate("When Mary and", { max_new_tokens = 4 }), code
    end
    local ids, code = answers(edited)
    local ids_of_other, code_of_other = answers(other)
    assert.is_true(ids:equal(ids_of_other))
    assert.same({ 1, 1, 6 }, code.shape:tolist())
    assert.equal(50, code_of_other["0, 0, 1"]:item())
    near(code, code_of_other)
  end)

  it("is a module that the model must have", function()
    saved(function(layer, sae) layer.output = sae(layer.output, { hook = true }) end)
    local without = ls.Model(nn.Sequential { { "layer1", nn.Linear(5, 4) }, { "layer2", nn.Linear(4, 2) } })
    local err = failure(function() without:load_edits(path) end)
    assert.equal("name", err.code)
    assert.matches("calls the module layer1.sae, which this model does not have", err.message, 1, true)
  end)

  it("has every reference to its calls checked", function()
    local _, other = saved(function(layer, sae)
      sae.code[":, 3"] = 9
      layer.output = sae(layer.output, { hook = true })
      sae.decode.output = sae.decode.output * 2
    end)
    local text = text_of()
    local function refused(from, to, message)
      local changed, n = text:gsub(from, (to:gsub("%%", "%%%%")), 1)
      assert.equal(1, n, from)
      local file = assert(io.open(path, "w"))
      file:write(changed)
      file:close()
      local err = failure(function() other:load_edits(path) end)
      assert.matches(message, err.message, 1, true)
    end
    local list = "`hook` is not the number of one of the"
    refused(',"hooks":%[0%]', "", list)
    refused('"hooks":%[0%]', '"hooks":[-1]', "not a list of steps")
    refused('"hooks":%[0%]', '"hooks":{"a":0}', "not a list of steps")
    refused('"hooks":%[0%]', '"hooks":[0,0]', "the edit has no call for number 1")
    refused('"hook":0', '"hook":1', list)
    refused('"hook":0', '"hook":-1', list)
    refused('"hook":0', '"hook":"a"', list)
    refused('"name":"code","hook":0', '"name":"code"', list)
    refused('"name":"code","hook":0', '"name":"nocode","hook":0', "the point nocode, which this call does not have")
    refused('"name":"code","hook":0', '"hook":0', "does not name a point")
    refused('"do":"call","name":"layer1.sae","hook":0', '"do":"call","name":"layer1.sae"', "must stand behind the call")
    local result = '"do":"see","hook":0,"arguments":%[{"node":%d}%]'
    refused(result, '"do":"see","name":"code","hook":0', "must stand behind the call")
    refused(result, '"do":"see","hook":0,"arguments":[{"node":0}]', "is not the call")
    refused(result, '"do":"see","hook":0,"arguments":[1]', "is not the call")
    refused('"do":"read","name"', '"do":"read","hook":0,"name"', "cannot have a `hook`")
    refused('"do":"put"', '"do":"see"', "nowhere else")
    refused('"do":"put","name":"decode.output"', '"do":"put"', "the node has no name")
  end)
end)
