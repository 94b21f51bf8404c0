-- Pictures that graphviz lays out: trees of modules, graphs of traces.
local ls = require "luasight"
local plot = ls.plot

local function lines_of(text)
  local lines = {}
  for line in text:gmatch "[^\n]*\n" do lines[#lines + 1] = line:sub(1, -2) end
  return lines
end

local function count(text, what) return select(2, text:gsub(what, "")) end

local function text_of(p, width) return p:text { colours = "none", width = width or 80 } end

local function raises(pattern, f, ...)
  local ok, e = pcall(f, ...)
  assert.is_false(ok)
  assert.matches(pattern, tostring(e))
end

describe("plot.tree", function()
  local nn = ls.nn

  it("shows equal neighbours once, or all", function()
    local net = nn.Sequential { nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 3) }
    local tree = plot.tree(net):data()
    assert.equal(2, #tree.children)
    assert.equal("0-1", tree.children[1].name)
    assert.equal(2, tree.children[1].alike)
    assert.equal(6, tree.children[1].parameters)
    assert.equal(21, tree.parameters)
    assert.same({ "weight [3, 2]", "bias [3]" }, tree.children[2].tensors)
    assert.equal(3, #plot.tree(ls.Model(net), { all = true }):data().children)
    assert.equal(0, #plot.tree(net, { depth = 0 }):data().children)
    local lines = lines_of(text_of(plot.tree(net)))
    assert.matches("^Sequential +21$", lines[1])
    assert.matches("^├─ 0%-1 +2 x Linear +2 x 6 +weight %[2, 2%], bias %[2%]$", lines[2])
    assert.matches("^└─ 2 +Linear +9 ", lines[3])
  end)

  it("counts a tied parameter once", function()
    local net = nn.Sequential { nn.Linear(2, 2, { bias = false }), nn.Linear(2, 2, { bias = false }) }
    net[1].weight = net[0].weight
    local tree = plot.tree(net):data()
    assert.equal(4, tree.parameters)
    assert.same({ "weight tied to 0.weight" }, tree.children[2].tensors)
  end)

  it("gives hovering over a module its tensors", function()
    local svg = plot.tree(nn.Sequential { nn.Linear(2, 3) }):svg()
    assert.matches("<title>0\nLinear\n9\nweight %[3, 2%]\nbias %[3%]</title>", svg)
  end)

  it("refuses what is no model", function() raises("not a string", plot.tree, "gpt2") end)
end)

describe("plot.graph", function()
  local function new_net()
    return ls.Model(ls.nn.Sequential { { "first", ls.nn.Identity() }, { "second", ls.nn.Identity() } })
  end

  it("says of each node where it runs, what it uses, edits and saves", function()
    local net, nodes, text, dot = new_net(), nil, nil, nil
    net:trace(ls.torch.ones(3), function(tracer)
      local x = net.second.output
      net.first.output[0] = 7
      local _ = (x * 2):save()
      local p = plot.graph(tracer)
      nodes, text, dot = p:data(), text_of(p), tracer:dot()
      assert.equal(p:dot(), tracer:graph():dot())
    end)
    local by_text = {}
    for _, node in ipairs(nodes) do by_text[node.text] = node end
    local edit, product = by_text["%1[0] = 7"], by_text["mul(%0, 2)"]
    assert.equal("first", edit.module)
    assert.is_true(edit.edits and not edit.saved)
    assert.equal("second", product.module)
    assert.same({ 0 }, product.inputs)
    assert.is_true(product.saved and not product.edits)
    assert.matches("diagrams_spec.lua:%d+$", product.line)
    assert.equal("first\n  %1: output\n  %2: %1[0] = 7  -- edit\nsecond\n  %0: output\n  %3: mul(%0, 2)  -- saved\n", text)
    assert.matches("n0 %-> n3;", dot)
    assert.matches("label=\"first\"", dot)
  end)

  it("shows passes of invokes", function()
    local net, p = new_net(), nil
    net:trace(function(tracer)
      local last
      tracer:invoke(ls.torch.ones(1, 2), function() last = net.second.output end)
      tracer:invoke(ls.torch.zeros(1, 2), function()
        net.first.output = last
        local _ = net.second.output:save()
      end)
      p = plot.graph(tracer)
    end)
    assert.matches("^pass 0, invoke 0\nsecond\n.*\npass 1, invoke 1\nfirst\n.*= %%%d+  %-%- edit\nsecond\n", text_of(p))
    local dot = p:dot()
    assert.matches("pass 1, invoke 1", dot)
    assert.matches("style=dashed", dot)
  end)

  it("shows steps of a generation", function()
    local p
    local model = ls.LanguageModel "models/pretrained/ioi"
    local block = model.transformer.h[1]
    model:generate("Mary and", { max_new_tokens = 2 }, function(tracer)
      for _ in tracer:iter(0, 2) do block.output[0][":"] = block.output[0] * 2 end
      local _ = model.lm_head.output:save()
      p = plot.graph(tracer)
    end)
    local text = text_of(p)
    assert.matches("^step 0\ntransformer.h.1\n.*mul.*edit\nlm_head\n[^\n]*saved\nstep 1\ntransformer.h.1\n.*mul.*edit\n$", text)
    assert.equal(2, count(text, "mul%("))
  end)

  it("refuses a trace that has ended", function()
    local net, kept = new_net(), nil
    net:trace(ls.torch.ones(1), function(tracer)
      kept = tracer
      return net.output
    end)
    raises("already ended", plot.graph, kept)
    raises("not a number", plot.graph, 3)
  end)
end)
