-- Edits in place and the memory that they reach (S3 to S5): what shows them, and that no tensor of the caller and no parameter
-- changes. The numbers are those of PyTorch, where a hook edits, or plain arithmetic.
local ls = require "luasight"
local failure = require "spec.support".failure
local torch, nn = ls.torch, ls.nn
local repeats = require("spec.trace.small_nets").repeats

local function row(...) return torch.tensor { { ... } } end
local function is(want, got) assert.same(want, got:tolist()) end

local function two(module)
  local net = nn.Sequential { { "a", module() }, { "b", module() } }
  return ls.Model(net:requires_grad_(false)), net
end

local Double = nn.Module "Double"
function Double:forward(x) return x * 2 end

local Pair = nn.Module "Pair"
function Pair:forward(x) return x + 1, x * 2 end

local Sum = nn.Module "Sum"
function Sum:init() self.pair, self.b = Pair(), nn.Identity() end
function Sum:forward(x)
  local p = self.pair(x)
  return self.b(p[0] + p[1])
end

describe("an edit in place", function()
  it("case 9.6: is not seen by lines above it that use a tuple", function()
    local model, seen, saved = ls.Model(Sum()), nil, nil
    model:trace(row(1, 2), function(t)
      t:apply(function(p) seen = p[0]:clone() end, model.pair.output, model.b.output)
      saved = model.pair.output:save()
      model.pair.output[0][":"] = 0
    end)
    is({ { 2, 3 } }, seen)
    is({ { 0, 0 } }, saved[0]) -- a reference (S4)
  end)

  it("case 6.6: of a tensor in a tuple between its use and the run is an error", function()
    local model, y = ls.Model(Sum()), row(1, 1)
    local err = failure(function()
      model:trace(row(1, 2), function()
        model.pair.output = ls.tuple(y, y)
        y:zero_()
        return model.pair.output
      end)
    end)
    assert.equal("changed", err.code)
    local Both = nn.Module "Both"
    function Both:forward(p) return p[0] + p[1] end
    assert.equal("changed", failure(function()
      ls.Model(Both()):trace(ls.args(ls.tuple(y, y)), function(t)
        y:add_(1)
        return t.output
      end)
    end).code)
  end)

  it("case 9.12: through an element that was replaced since changes neither the input nor what replaced it", function()
    local model, x, mine, old, out = two(Double), row(1, 2), row(5, 5), nil, nil
    model:trace(x, function()
      old = model.a.input[0][0]
      model.a.input[0][0] = mine
      old:add_(10)
      old:save()
      out = model.output:save()
    end)
    is({ { 11, 12 } }, old)
    is({ { 20, 20 } }, out)
    is({ { 1, 2 } }, x)
    is({ { 5, 5 } }, mine)
  end)

  it("case 9.12: of what an added module gives changes no parameter", function()
    local Show = nn.Module "Show"
    function Show:init() self.w = nn.Parameter(torch.ones(1, 2)) end
    function Show:forward(_) return self.w:view(1, 2) end -- luacheck: ignore 212
    for _, hook in ipairs { true, false } do
      local model, show, out = two(Double), Show(), nil
      show:requires_grad_(false)
      model.a.show = show
      model:trace(row(1, 2), function()
        local v = hook and model.a.show(model.a.output, { hook = true }) or model.a.show(model.a.output)
        v:mul_(9)
        model.b.output = v
        out = model.output:save()
      end)
      is({ { 9, 9 } }, out)
      is({ { 1, 1 } }, show.w)
    end
  end)

  it("of what an operator hands on changes it, and no tensor of the script, whatever the schema says", function()
    local hand_on = {
      dropout = function(v) return torch.dropout(v, 0.5, false) end,
      broadcast_tensors = function(v) return torch.broadcast_tensors({ torch.ones(1, 2), v })[1] end,
      atleast_1d = function(v) return torch.atleast_1d(v) end,
      type_as = function(v) return v:type_as(torch.ones(1)) end,
      sum_to_size = function(v) return v:sum_to_size { 1, 2 } end,
      conj_physical = function(v) return torch.conj_physical(v) end,
      to_dense = function(v) return v:to_dense() end,
      einsum = function(v) return torch.einsum("ij->ji", { v }) end,
    }
    for name, f in pairs(hand_on) do
      local model, x, seen, out = two(Double), row(1, 2), nil, nil
      model:trace(x, function()
        local v = f(model.input[0][0])
        v:mul_(3)
        seen = model.input[0][0]:save()
        out = model.output:save()
      end)
      assert.same({ { 1, 2 } }, x:tolist(), name)
      assert.same({ { 3, 6 } }, seen:tolist(), name)
      assert.same({ { 12, 24 } }, out:tolist(), name)
    end
  end)

  it("of the output of a skipped module changes the value that it is skipped with, and not the script's tensor", function()
    local model, mine, v, out = two(Double), row(5, 5), nil, nil
    model:trace(row(1, 2), function()
      v = model.input[0][0]
      model.a:skip(v)
      model.a.output:add_(10)
      v:save()
      out = model.output:save()
    end)
    is({ { 11, 12 } }, v)
    is({ { 22, 24 } }, out)
    model:trace(row(1, 2), function()
      model.a:skip(mine)
      model.a.output:add_(10)
      out = model.output:save()
    end)
    is({ { 5, 5 } }, mine)
    is({ { 30, 30 } }, out)
  end)

  it("by a module changes no tensor of the caller, whatever the argument is called", function()
    local Fill = nn.Module "Fill"
    function Fill:forward(x, o)
      o.cache:add_(x)
      return o.cache * 1
    end
    local Outer = nn.Module "Outer"
    function Outer:init() self.fill = Fill() end
    function Outer:forward(x, o) return self.fill(x, { cache = o.cache }) end
    local model, mine, out = ls.Model(Outer()), row(1, 1), nil
    model:trace(ls.args(row(1, 2), { cache = mine }), function()
      out = model.output:save()
      model.fill(model.fill.input[0][0], { cache = model.fill.input[1].cache }):save()
      model.fill(model.output, { cache = mine }):save()
    end)
    is({ { 2, 3 } }, out)
    is({ { 1, 1 } }, mine)
  end)

  it("changes all elements that share memory, as after expand, whoever owned the memory", function()
    for _, how in ipairs { "made", "parameter" } do
      local model = repeats(how)
      for _, with_gradient in ipairs { false, true } do
        local out, gradient
        model:trace(torch.zeros(3, 2), function()
          model.all.output["0"] = 7
          if with_gradient then gradient = model.all.output.grad:save() end
          out = model.output:save()
          if with_gradient then model.output:sum():backward() end
        end)
        is({ { 7, 7 }, { 7, 7 }, { 7, 7 } }, out)
        if gradient then is({ { 1, 1 }, { 1, 1 }, { 1, 1 } }, gradient) end
      end
      local err = failure(model.trace, model, torch.zeros(3, 2), function() return model.all.output:mul_(2) end)
      assert.matches("more than one element of the written%-to tensor refers to a single memory location", tostring(err))
      is({ { 1, 2 } }, model.w)
    end
    local model, mine, wide, out, gradient = two(nn.Identity), row(1, 2), nil, nil, nil
    model:trace(mine, function()
      wide = model.a.output:expand(3, 2):save()
      wide["0"] = 5
      out = model.output:save()
      gradient = model.a.output.grad:save()
      wide:sum():backward()
    end)
    is({ { 5, 5 }, { 5, 5 }, { 5, 5 } }, wide)
    is({ { 5, 5 } }, out)
    is({ { 3, 3 } }, gradient)
    is({ { 1, 2 } }, mine)
  end)

  it("that runs behind an edit written below it is an error where a line between them would not show it", function()
    local model = ls.Model(nn.Sequential { { "a", Double() }, { "same", nn.Identity() }, { "b", Double() } })
    local function traced(clone)
      local r
      model:trace(row(1, 2), function()
        local h = model.a.output
        model.same.output:mul_(10) -- the same tensor, at a later point
        r = ((clone and h:clone() or h) + model.b.output * 0):save()
        h:add_(1)
      end)
      return r
    end
    local e = failure(traced)
    assert.equal("changed", e.code)
    assert.matches("runs behind an edit that is written below it", e.message, 1, true)
    is({ { 2, 4 } }, traced(true))
  end)

  it("of what lies in the memory of an earlier value is an error where it comes behind a line below that uses this", function()
    local Second = nn.Module "Second"
    function Second:forward(_, y) return y end
    local model, second = two(Double), Second()
    local function traced(make, below)
      local seen
      model:trace(row(1, 2), function(t)
        local e = model.a.output
        make(t, e, model.b.output):zero_()
        seen = below(e)
      end)
      return seen
    end
    for _, later in ipairs {
      function(_, e, l) return torch.broadcast_tensors({ l, e })[1] end,
      function(_, e, l) return torch.atleast_3d({ l, e })[1] end,
      function(_, e, l) return second(l, e) end,
      function(t, e, l) return t:apply(function(_, v) return v end, l, e) end,
    } do
      local e = failure(function() traced(later, function(v) return (v * 2):save() end) end)
      assert.equal("changed", e.code)
      is({ { 0, 0 } }, traced(later, function(v) return v:save() end))
    end
  end)

  it("of an element of a tuple is one of the value that the script has put there", function()
    local model, seen, out, held = two(Double), nil, nil, nil
    model:trace(row(1, 2), function()
      local e, l = model.a.output, model.b.output
      ls.tuple(l, e)[1]:add_(1)
      ls.struct { { "l", l }, { "e", e } }.e:mul_(10)
      local pair = ls.tuple(l, e)
      pair[-1] = e * 0
      held = pair[1]:save()
      pair[1]:add_(5)
      seen, out = (e * 1):save(), model.output:save()
    end)
    is({ { 30, 50 } }, seen)
    is({ { 60, 100 } }, out)
    is({ { 5, 5 } }, held)
  end)

  it("written above a line is shown by the line, whichever calls with a hook stand above the edit", function()
    local model, by_hand = two(Double), { { 20, 40 } }
    model.a.same, model.a.sae = nn.Identity(), nn.Sequential { nn.Identity(), Double() }
    local function traced(below)
      local seen
      model:trace(row(1, 2), function(t)
        local h = model.a.output
        local y, z = model.a.same(h), model.a.sae(h, { hook = true })
        local inside, result = model.a.sae[0].output, model.a.sae[1].output
        h:mul_(10)
        seen = below(t, y, inside, z, result)
      end)
      return seen
    end
    is(by_hand, traced(function(_, y) return (y * 1):save() end))
    is(by_hand, traced(function(_, _, inside) return (inside * 1):save() end))
    is(by_hand, traced(function(t, y) return t:apply(function(v) return v * 1 end, y):save() end))
    is({ { 40, 80 } }, traced(function(_, y) return model.a.sae(y):save() end))
    is({ { 40, 80 } }, traced(function(_, y) model.a.output = y * 1 return model.output:save() end))
    is(by_hand, traced(function(_, y)
      model.a.sae(y, { hook = true })
      return (model.a.sae[0].output * 1):save()
    end))
    is({ { 4, 8 } }, traced(function(_, _, _, z) return (z * 1):save() end))
    is({ { 4, 8 } }, traced(function(_, _, _, _, result) return (result * 1):save() end))
  end)

  it("below a call with a hook is shown by the result that was set there, and not by a line above", function()
    local model, held, sum, above, out = two(Double), nil, nil, nil, nil
    model.a.sae = Double()
    model:trace(row(1, 2), function()
      local v = model.a.input[0][0]
      model.a.sae.output = v
      held = model.a.sae(v, { hook = true }):save()
      above = (held * 1):save()
      v:mul_(10)
      sum, out = (held + v):save(), model.output:save()
    end)
    is({ { 1, 2 } }, above)
    is({ { 10, 20 } }, held)
    is({ { 20, 40 } }, sum)
    is({ { 40, 80 } }, out)
    model:trace(row(1, 2), function()
      local v = model.a.input[0][0]
      held = model.a.sae(v, { hook = true }):save()
      v:mul_(10)
      model.a.sae.output = v + 1 -- in the call, with what the edit has made
    end)
    is({ { 11, 21 } }, held)
  end)

  it("is seen by lines below it that use another input's name of the value, also behind a call with points", function()
    local model, w = ls.Model(nn.Sequential { { "a", nn.Identity() } }), nil
    model.a.extra = nn.Sequential { { "b", nn.Identity() }, { "c", nn.Identity() } }
    model:trace(function(t)
      local v
      t:invoke(row(1, 2), function()
        v = model.input[0][0]
        model.a.extra(v - 1, { hook = true }):save()
      end)
      t:invoke(function()
        model.input[0][0]:mul_(3)
        w = (v * 10):save()
      end)
    end)
    is({ { 30, 60 } }, w)
  end)

  it("changes both elements of a tuple that were one tensor, behind an edit of this tensor below the tuple", function()
    local Two = nn.Module "Two"
    function Two:forward(v) return ls.tuple(v * 1, v * 2) end -- luacheck: no unused args
    local Net = nn.Module "Net"
    function Net:init() self.t, self.b, self.c = Two(), nn.Identity(), nn.Identity() end
    function Net:forward(v)
      local p = self.t(v)
      return ls.tuple(self.b(p[0]), self.c(p[1]))
    end
    local model, out = ls.Model(Net()), nil
    model:trace(row(1, 2), function()
      local v = model.t.input[0][0]
      model.t.output = ls.tuple(v, v)
      v:zero_()
      model.b.input[0][0]["0:1"] = -2
      out = model.c.output:save()
    end)
    is({ { -2, -2 } }, out)
  end)

  it("a tensor set as two elements of a tuple stays one where an edit below leaves it the numbers before", function()
    local Two = nn.Module "Two"
    function Two:init() self.d = nn.Identity() end
    function Two:forward(x)
      local h = self.d(x * 3)
      return ls.tuple(h * 1, h * 2)
    end
    local Net = nn.Module "Net"
    function Net:init() self.t, self.b, self.c = Two(), nn.Identity(), nn.Identity() end
    function Net:forward(x)
      local p = self.t(x)
      return self.b(p[0]) * 10 + self.c(p[1])
    end
    local model, out = ls.Model(Net()), nil
    model:trace(row(1, 2), function()
      local v = model.t.d.input[0][0]
      model.t.output = ls.tuple(v, v)
      v:add_(1)
      model.b.input[0][0]:add_(100)
      out = model.output:save()
    end)
    is({ { 1133, 1166 } }, out) -- 11 (3x + 100)
  end)
end)
