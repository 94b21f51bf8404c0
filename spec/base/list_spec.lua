-- Lists that a script gives: an element that is nil is an error that says where, in every function that takes a list.
local ls = require "luasight"
local list = require "luasight.base.list"
local support = require "spec.support"
local torch, nn, optim = ls.torch, ls.nn, ls.optim

describe("the length of a list", function()
  it("is that of all its elements, whatever the table's insides are like", function()
    assert.equal(0, list.length {})
    assert.equal(3, list.length { 1, false, 3 })
    local backwards, grown = {}, {}
    for i = 20, 1, -1 do backwards[i] = i end
    for i = 1, 20 do grown[i] = i end
    for i = 20, 6, -1 do grown[i] = nil end
    assert.equal(20, list.length(backwards))
    assert.equal(5, list.length(grown))
    local late = { 1, 2 }
    late[4], late[3] = 4, 3
    assert.equal(4, list.length(late))
  end)

  it("is none where an element is nil or a key is no position", function()
    for _, case in ipairs {
      { 2, { 1, nil, 3 } }, { 1, { nil, 2 } }, { 1, { [2] = 1 } }, { 3, { 1, 2, nil, 4, nil, nil, 7 } },
    } do
      assert.equal(("element %d of the list is nil"):format(case[1]), (select(2, list.length(case[2]))))
    end
    assert.matches('the key "a"', (select(2, list.length { 1, a = 2 })))
    assert.equal(0.5, (select(3, list.length { 1, [0.5] = 2 })))
  end)
end)

describe("a list with a hole", function()
  local p, q = torch.ones(2, { requires_grad = true }), torch.ones(3, { requires_grad = true })
  local function hole(f, ...)
    local args, n = { ... }, select("#", ...)
    return support.refused("argument", "element 2 of the list is nil", function() return f(unpack(args, 1, n)) end)
  end

  it("case 8.5: is refused with its place by everything that makes tensors and calls operators", function()
    local e = support.failure(torch.tensor, { 1LL, nil, 3LL })
    assert.matches("element 2 of the list is nil", e.message)
    e = support.failure(torch.tensor, { { 1, 2, 3, 4 }, { 1, 2, nil, 4 } })
    assert.matches("element 3 of the list is nil at %[2%]", e.message)
    hole(torch.zeros, { 2, nil, 3 })
    hole(torch.cat, { p, nil, q })
    hole(torch.ones(6).view, torch.ones(6), { 2, nil, 3 })
    hole(torch.sum, p, { dim = { 0, nil, 0 } })
    hole(ls.tuple, { 1, nil, 3 })
    hole(ls.struct, { { "a", 1 }, nil, { "c", 3 } })
    assert.matches("ls.tuple", hole(torch.stack, { p, nil, p }).message)
  end)

  it("case 8.5: is refused by modules and optimizers", function()
    local a, c = nn.ReLU(), nn.Tanh()
    hole(nn.Sequential, { a, nil, c })
    hole(nn.Sequential, { { "a", a }, nil, { "c", c } })
    hole(nn.ModuleList, { a, nil, c })
    hole(nn.ModuleDict, { { "a", a }, nil, { "c", c } })
    hole(nn.LayerNorm, { 2, nil, 3 })
    hole(optim.SGD, { p, nil, q }, { lr = 1 })
    hole(optim.AdamW, { p, nil, q }, { lr = 1 })
    hole(optim.clip_grad_norm, { p, nil, q }, 1)
    assert.matches("argument 2 is nil", support.failure(nn.Sequential, a, nil, c).message)
  end)

  it("case 8.5: is refused by models, tokenizers and pictures", function()
    local model = ls.LanguageModel "models/pretrained/ioi"
    hole(model, { "one", nil, "three" })
    hole(model, { 5, nil, 7 })
    hole(model.tokenizer, { "one", nil, "three" })
    hole(model.tokenizer.decode, model.tokenizer, { 5, nil, 7 })
    hole(model.tokenizer.convert_tokens_to_ids, model.tokenizer, { "a", nil, "b" })
    hole(ls.plot.line, { 1, nil, 3 })
    support.refused("argument", "eos_token_id", function() model:generate("one", { eos_token_id = { 1, nil, 2 } }) end)
    support.refused("argument", "element 2 of the list is nil", function()
      model:trace("one", function(tracer) tracer:cache { modules = { "transformer.h.0", nil, "lm_head" } } end)
    end)
    support.refused("argument", "element 2 of the list is nil", function()
      model:generate("one", { max_new_tokens = 3 }, function(tracer) for _ in tracer:iter { 0, nil, 2 } do end end)
    end)
  end)
end)
