-- What a module can be asked for and by which names: points(), children, rename.
local ls = require "luasight"
local torch, nn = ls.torch, ls.nn

local support = require "spec.support"
local failure, near = support.failure, support.near

local function names_of(points)
  local names = {}
  for i, point in ipairs(points) do names[i] = point.name end
  return names
end

-- A block whose child has the name of a tap, one that has the name of an accessor, and one that has the name of a word.
local Block = nn.Module "Block"
function Block:init()
  self.q = nn.Linear(4, 4)
  self.output = nn.Linear(4, 4)
  self.next = nn.Identity()
end
function Block:forward(x)
  local q = nn.tap("q", self.q(x) * 2)
  return self.next(self.output(q))
end

local function block()
  local net = nn.Sequential { { "block", Block() } }
  net:requires_grad_(false)
  return ls.Model(net), net
end

describe("module:points", function()
  local box

  setup(function()
    box = ls.LanguageModel "models/pretrained/ioi"
    for _ = 1, 2 do box.transformer.h[0].attn:points() end
    box:tracer({ 1, 2 }):abandon()
  end)

  teardown(function()
    box = nil
    collectgarbage()
    collectgarbage()
  end)

  it("lists a module's points in the order of the run, with the sizes that are batch and tokens by name", function()
    local points = box.transformer.h[1].attn:points()
    assert.same({ "input", "q", "k", "v", "scores", "pattern", "z", "output" }, names_of(points))
    assert.equal([[
transformer.h.1.attn: GPT2Attention
  input    (([B, T, 128],), {})
  q        [B, 4, T, 32]
  k        [B, 4, T, 32]
  v        [B, 4, T, 32]
  scores   [B, 4, T, T]
  pattern  [B, 4, T, T]
  z        [B, 4, T, 32]
  output   ([B, T, 128],)]], tostring(points))
    assert.equal("{logits = [B, T, 1950]}", box:points()[2].shape)
    assert.equal("((), {input_ids = [B, T] int64})", box:points()[1].shape)
  end)

  it("lists the other names of a module's values too, with the places they lead to", function()
    local model = ls.LanguageModel "models/pretrained/ioi"
    local points, by_name = model.layers[1]:points(), {}
    for _, point in ipairs(points) do by_name[point.name] = point end
    assert.equal("[B, T, 128]", by_name.resid_pre.shape)
    assert.equal("input[0][0]", by_name.resid_pre.same_as)
    assert.equal("[B, 4, T, T]", by_name.pattern.shape)
    assert.is_nil(by_name.resid_mid.same_as)
    assert.is_nil(by_name.attn)
    assert.matches("resid_post +%[B, T, 128%], which is output%[0%]", tostring(points))
  end)

  it("has the sizes of the trace inside a body", function()
    local pattern
    box:trace({ 1, 2 }, function() pattern = box.transformer.h[0].attn:points()[6] end)
    assert.equal("pattern", pattern.name)
    assert.equal("[1, 4, 2, 2]", pattern.shape)
  end)

  it("wants an input where the model cannot make one", function()
    local model = block()
    local err = failure(function() return model.block:points() end)
    assert.equal("argument", err.code)
    assert.matches("so pass one", err.message, 1, true)
    assert.same({ "input", "q", "output" }, names_of(model.block:points(torch.rand(3, 4))))
    assert.equal("[3, 4]", model.block:points(torch.rand(3, 4))[2].shape)
  end)
end)

describe("module:parameters", function()
  it("gives those of the module and below, as the network does", function()
    local model, net = block()
    local names = {}
    for name, t in model.block:named_parameters() do
      names[#names + 1] = name
      assert.is_true(torch.equal(t, net.block:state_dict()[name]))
    end
    assert.same({ "q.weight", "q.bias", "output.weight", "output.bias" }, names)
    assert.equal(4, #model:parameters())
    local e = failure(function()
      model:trace(torch.rand(1, 4), function() model:parameters()[1]:mul_(2) end)
    end)
    assert.matches("would change a parameter of the model", e.message)
  end)
end)

describe("module.children", function()
  it("reaches modules whose names are those of taps, accessors and words", function()
    local model, net = block()
    local x = torch.rand(2, 4)
    local tap, child, out, inner = nil, nil, nil, nil
    model:trace(x, function()
      local b = model.block
      tap = b.q:save()
      child = b.children.q.output:save()
      inner = b.children.output.output:save()
      out = b.output:save()
    end)
    local q = net.block.q(x)
    near(q, child)
    near(q * 2, tap)
    assert.equal(0, (inner - out):abs():max():item())
    assert.equal("Identity()", tostring(model.block.children.next))
    assert.equal("function", type(model.block.next))
  end)

  it("gives the tap in a body whether or not the child was asked for before", function()
    local model, net = block()
    local x = torch.rand(1, 4)
    assert.equal(16, model.block.q.weight:numel()) -- outside of a body there are no taps
    local tap = model:trace(x, function() return model.block.q end)
    near(net.block.q(x) * 2, tap)
  end)

  it("names what is near", function()
    local model = block()
    local err = failure(function() return model.block.children.outptu end)
    assert.equal("name", err.code)
    assert.matches('did you mean "output"?', err.message, 1, true)
  end)
end)

describe("rename", function()
  local function deep()
    local function layer() return nn.Sequential { { "attn", nn.Linear(4, 4) }, { "mlp", nn.Linear(4, 4) } } end
    return nn.Sequential { { "stem", nn.Identity() }, { "body", nn.Sequential { { "h", nn.Sequential(layer(), layer()) } } } }
  end

  it("gives the module at a path more names, and keeps the old one", function()
    local net = deep()
    local model = ls.Model(net, { rename = { ["body.h"] = { "layers", "blocks" }, stem = "embed" } })
    local a, b, c
    model:trace(torch.rand(1, 4), function()
      a, b, c = model.layers[1].output:save(), model.blocks[1].output:save(), model.body.h[1].output:save()
      model.embed.output = model.embed.output * 0
    end)
    assert.is_true(torch.equal(a, c) and torch.equal(b, c))
    assert.equal(model.body.h, model.layers)
    assert.equal(model.body.h[0], model:get "blocks.0")
  end)

  it("names every module of a name that is no path", function()
    local model = ls.Model(deep(), { rename = { attn = "attention" } })
    for _, layer in model.body.h:each() do assert.equal(layer.attn, layer.attention) end
  end)

  it("belongs to language models too", function()
    local model = ls.LanguageModel("models/pretrained/ioi", { rename = { ["transformer.h"] = "blocks" } })
    assert.equal(4, #model.blocks)
  end)

  it("refuses what is not there and what is taken", function()
    local function try(names) return failure(function() ls.Model(deep(), { rename = names }) end) end
    assert.matches('no module "atn" (did you mean "attn"?)', try({ atn = "x" }).message, 1, true)
    assert.matches('the name "mlp" is taken in body.h.0', try({ attn = "mlp" }).message, 1, true)
    assert.matches('the name "trace" is taken', try({ stem = "trace" }).message, 1, true)
    assert.matches('no module "a" in which "b" could be a name', try({ stem = "a.b" }).message, 1, true)
    assert.matches("is no name for a module", try({ stem = "2x" }).message, 1, true)
    assert.equal("name", try({ stem = 5 }).code)
    assert.equal("argument", failure(function() ls.Model(deep(), { rename = "x" }) end).code)
    assert.matches('no option "renam" (did you mean "rename"?)', failure(function()
      ls.Model(deep(), { renam = {} })
    end).message, 1, true)
  end)
end)
