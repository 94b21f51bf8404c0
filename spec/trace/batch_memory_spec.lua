-- Values that share memory in a batch: each input gets what it gets alone, or an error says why not (S6). The numbers are
-- those of PyTorch, where a hook edits, or plain arithmetic.
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

-- h = 2v; the result is h + 2h
local Around = nn.Module "Around"
function Around:init() self.e, self.a = Double(), Double() end
function Around:forward(v)
  local h = self.e(v)
  return h + self.a(h)
end

-- h = 2v; the result is h + h, in which one h goes through a module that hands on what it gets
local Through = nn.Module "Through"
function Through:init() self.e, self.a = Double(), nn.Identity() end
Through.forward = Around.forward

describe("rows of a batch", function()
  it("case 9.19: that were saved stay when another input's rows of the point are replaced", function()
    local model, p, q, r = two(Double)
    model:trace(function(t)
      t:invoke(row(1, 2), function()
        p = model.a.output:save()
        model.a.output = row(7, 7)
        r = model.a.output:save()
      end)
      t:invoke(row(3, 4), function()
        model.a.output = row(8, 8)
        q = model.output:save()
      end)
    end)
    is({ { 2, 4 } }, p)
    is({ { 7, 7 } }, r)
    is({ { 16, 16 } }, q)
  end)

  it("show an edit of all rows once, behind several replacements by others", function()
    local model, seen, out = ls.Model(Around()), nil, nil
    model:trace(function(t)
      t:invoke(row(1, 2), function() model.e.output = row(7, 7) end)
      t:invoke(row(3, 4), function() seen = model.e.output:save() end)
      t:invoke(row(5, 6), function() model.a.input[0][0] = row(1, 1) end)
      t:invoke(function()
        model.a.input[0][0][":, 0"] = 100
        out = model.output:save()
      end)
    end)
    is({ { 100, 8 } }, seen)
    is({ { 300, 21 }, { 300, 24 }, { 210, 14 } }, out)
  end)

  it("stay one tensor that a module gives twice, where another input sets one or both of them", function()
    local Twice = nn.Module "Twice"
    function Twice:forward(v) -- luacheck: no unused args
      local h = v * 1
      return ls.tuple(h, h)
    end
    local Net = nn.Module "Net"
    function Net:init() self.t, self.b, self.c = Twice(), nn.Identity(), nn.Identity() end
    function Net:forward(v)
      local p = self.t(v)
      return self.b(p[0]) + self.c(p[1]) * 100
    end
    for _, order in ipairs { "0", "1", "01", "10" } do
      local model, out = ls.Model(Net()), nil
      model:trace(function(t)
        t:invoke(row(1, 2), function()
          out = model.output:save()
          model.b.input[0][0][":, 0"] = 7
        end)
        t:invoke(row(5, 6), function()
          for d in order:gmatch "." do model.t.output[tonumber(d)] = row(9, 9) end
        end)
      end)
      is({ { 707, 202 } }, out)
    end
  end)

  it("are those of a slice, where another input sets its rows of the slice and of the whole", function()
    local Net = nn.Module "Net"
    function Net:init() self.a, self.b = nn.Identity(), nn.Identity() end
    function Net:forward(v)
      local h = self.a(v * 1)
      return self.b(h[":, 1:3"]):sum(-1, true) + h * 100
    end
    local model, out = ls.Model(Net()), nil
    model:trace(function(t)
      t:invoke(row(1, 2, 3), function()
        model.b.input[0][0] = row(9, 9)
        model.a.output = model.a.output * 2
      end)
      t:invoke(row(4, 5, 6), function()
        local v = model.b.input[0][0]
        v:add_(v)
        out = model.output:save()
      end)
    end)
    is({ { 422, 1022, 1222 } }, out)
  end)

  it("show what a call with a hook changes in them", function()
    local Adds = nn.Module "Adds"
    function Adds:forward(x)
      x:add_(1)
      return x * 2
    end
    local model, first, seen, added, out = ls.Model(Around()), nil, nil, nil, nil
    model.a.adds = Adds()
    model:trace(function(t)
      t:invoke(row(1, 2), function()
        model.e.output = row(7, 7)
        first = model.output:save()
      end)
      t:invoke(row(3, 4), function()
        seen = model.e.output:save()
        added = model.a.adds(model.a.input[0][0], { hook = true }):save()
        model.a.adds.output:mul_(10)
        out = model.output:save()
      end)
    end)
    is({ { 21, 21 } }, first)
    is({ { 6, 8 } }, seen) -- what was read stays where a module changes it
    is({ { 140, 180 } }, added)
    is({ { 21, 27 } }, out)
  end)

  it("show an edit of all rows, whichever inputs have replaced theirs and whichever has been read between", function()
    local model = ls.Model(nn.Identity())
    for sets = 0, 7 do
      for reader = 1, 3 do
        local own, out
        model:trace(function(t)
          for i = 1, 3 do
            t:invoke(row(i, i), function()
              if math.floor(sets / 2 ^ (i - 1)) % 2 == 1 then model.output = model.output + 2 end
              if i == reader then own = model.output:save() end
            end)
          end
          t:invoke(function()
            local all = model.output
            all:mul_(10)
            out = all:save()
          end)
        end)
        local want = {}
        for i = 1, 3 do
          local number = 10 * (i + (math.floor(sets / 2 ^ (i - 1)) % 2 == 1 and 2 or 0))
          want[i] = { number, number }
        end
        is(want, out)
        is({ want[reader] }, own)
      end
    end
  end)

  it("case 9.20: stay one with the other way of the value when another input's rows are replaced", function()
    local model = ls.Model(Around())
    local first, out, gradient
    model:trace(function(t)
      t:invoke(row(1, 2), function()
        model.a.input[0][0] = row(7, 7)
        first = model.output:save()
      end)
      t:invoke(row(3, 4), function()
        model.a.input[0][0]:add_(10)
        out = model.output:save()
      end)
    end)
    is({ { 16, 18 } }, first) -- 2 + 14, 4 + 14
    is({ { 48, 54 } }, out)   -- 3 * (6 + 10), 3 * (8 + 10)
    model:trace(function(t)
      t:invoke(row(1, 2), function() model.a.input[0][0] = row(7, 7) end)
      t:invoke(row(3, 4), function()
        gradient = model.a.input[0][0].grad:save()
        model.output:sum():backward()
      end)
    end)
    is({ { 3, 3 } }, gradient) -- through both ways
  end)

  it("case 9.20: are changed everywhere by an edit behind the point, too", function()
    for replaced = 1, 2 do
      local model = ls.Model(Through())
      local saved, out
      model:trace(function(t)
        for _ = 1, replaced do
          t:invoke(row(1, 2), function()
            model.a.input[0][0] = row(7, 7)
            model.output:save()
          end)
        end
        t:invoke(row(3, 4), function()
          saved = model.e.output:save()
          model.a.output:add_(10)
          out = model.output:save()
        end)
      end)
      is({ { 16, 18 } }, saved)
      is({ { 32, 36 } }, out)
    end
  end)

  it("case 9.20: a value that replaces another is the same tensor at both points", function()
    local model, p, q = two(Double)
    model:trace(function(t)
      t:invoke(row(1, 2), function()
        p = model.a.output:save()
        model.b.output = p
        model.b.output:add_(100)
      end)
      t:invoke(row(3, 4), function() q = model.output:save() end)
    end)
    is({ { 102, 104 } }, p)
    is({ { 12, 16 } }, q)
  end)

  it("case 9.20: a stored edit gives the same numbers in a batch", function()
    local model = ls.Model(Around())
    local edited = model:edit(function() model.a.input[0][0]:add_(10) end)
    local outs = {}
    edited:trace(function(t)
      t:invoke(row(1, 2), function()
        edited.a.input[0][0] = row(7, 7)
        outs[1] = edited.output:save()
      end)
      t:invoke(row(3, 4), function() outs[2] = edited.output:save() end)
    end)
    is({ { 26, 28 } }, outs[1]) -- the edit comes first: 2 + 10 + 14, 4 + 10 + 14
    is({ { 48, 54 } }, outs[2])
  end)

  it("of several inputs may be edited with each other's and keep their gradients", function()
    local model, g, h = two(Double)
    model:trace(function(t)
      local p
      t:invoke(row(1, 2), function()
        p = model.a.output
        g = p.grad:save()
      end)
      t:invoke(row(3, 4), function()
        h = model.a.input[0][0].grad:save()
        model.a.output:mul_(p)
        model.output:sum():backward { retain_graph = true }
      end)
    end)
    is({ { 12, 16 } }, g) -- 2 * 6, 2 * 8
    is({ { 8, 16 } }, h)  -- 2 * 2 * 2, 2 * 2 * 4
  end)

  it("are kept in number by an invoke without input", function()
    local model = two(Double)
    local function trace(inputs, value)
      local out
      model:trace(function(t)
        for _ = 1, inputs do t:invoke(row(1, 2), function() return model.output end) end
        t:invoke(function()
          model.a.output = value
          out = model.output:save()
        end)
      end)
      return out
    end
    local err = failure(trace, 2, torch.ones(3, 2))
    assert.equal("shape", err.code)
    assert.matches("must have the 2 rows of all of them on axis 0; this one has 3", err.message, 1, true)
    is({ { 2, 2 }, { 2, 2 } }, trace(2, torch.ones(2, 2)))
    is({ { 2, 2 }, { 2, 2 }, { 2, 2 } }, trace(1, torch.ones(3, 2)))
  end)

  it("case 6.9: are not guessed where an element has none", function()
    local Total = nn.Module "Total"
    function Total:forward(x) return x * 2, x:sum(), x:sum(0, true) end
    local Net = nn.Module "Net"
    function Net:init() self.total = Total() end
    function Net:forward(x)
      local p = self.total(x)
      return p[0] + p[1] + p[2]
    end
    local model = ls.Model(Net())
    local function trace(f)
      local out
      model:trace(function(t)
        t:invoke(torch.ones(1, 4), function() out = f():save() end)
        t:invoke(torch.ones(1, 4), function() end)
        t:invoke(function() return model.output end)
      end)
      return out
    end
    is({ { 2, 2, 2, 2 } }, trace(function() return model.total.output[0] end))
    for _, f in ipairs {
      function() return model.total.output[1] end, function() return model.total.output[2] end,
      function() return model.total.output end,
    } do
      local err = failure(trace, f)
      assert.equal("shape", err.code)
      assert.equal("total.output", err.point)
    end
  end)

  it("case 6.10: keep the dtype that each input gets alone, or an error says why not", function()
    local model = two(nn.Identity)
    local whole, real = torch.tensor({ 16777217 }, { dtype = "int64" }), torch.tensor { 1 }
    local err = failure(function()
      model:trace(function(t)
        t:invoke(whole, function() return model.output end)
        t:invoke(real, function() return model.output end)
      end)
    end)
    assert.matches("argument 1 has the dtypes int64 and float32", err.message, 1, true)
    err = failure(function()
      model:trace(function(t)
        t:invoke(whole, function()
          model.a.output = torch.tensor { 2.7 }
          return model.output
        end)
        t:invoke(whole, function() return model.output end)
      end)
    end)
    assert.equal("a.output", err.point)
    assert.matches("the dtype of the value that it replaces, which is int64, not float32", err.message, 1, true)
  end)

  it("are put where a field of a struct has them", function()
    local Fields = nn.Module "Fields"
    Fields.batch_axis = { ["output.turned"] = 1 }
    function Fields:forward(x) return ls.struct { { "plain", x * 1 }, { "turned", (x * 1):t() } } end
    local Net = nn.Module "Net"
    function Net:init() self.fields = Fields() end
    function Net:forward(x)
      local s = self.fields(x)
      return s.plain + s.turned:t()
    end
    local model = ls.Model(Net())
    for _, whole in ipairs { true, false } do
      local outs, seen = {}, nil
      model:trace(function(t)
        t:invoke(row(1, 2), function() outs[1] = model.output:save() end)
        t:invoke(torch.tensor { { 3, 4 }, { 5, 6 } }, function()
          local turned = torch.tensor { { 10, 20 }, { 30, 40 } }
          if whole then
            model.fields.output = ls.struct { { "plain", torch.zeros(2, 2) }, { "turned", turned } }
          else
            model.fields.output.plain = torch.zeros(2, 2)
            model.fields.output.turned = turned
          end
          seen = model.fields.output.turned:save()
          outs[2] = model.output:save()
        end)
      end)
      is({ { 2, 4 } }, outs[1])
      is({ { 10, 30 }, { 20, 40 } }, outs[2])
      is({ { 10, 20 }, { 30, 40 } }, seen)
    end
  end)

  it("of a block's input are told apart in a generation, beside a cache that has them elsewhere", function()
    local model = ls.LanguageModel "models/pretrained/ioi"
    local texts, together, alone = { "When Mary and John went to the store", "Then John" }, {}, {}
    local function read() return model.transformer.h[1].input[0][0][":, -1"]:save() end
    model:generate({ max_new_tokens = 2 }, function(t)
      for i, text in ipairs(texts) do t:invoke(text, function() together[i] = read() end) end
    end)
    for i, text in ipairs(texts) do
      model:generate(text, { max_new_tokens = 2 }, function() alone[i] = read() end)
      assert.is_true((together[i] - alone[i]):abs():max():item() < 1e-4)
    end
  end)

  it("show everywhere what a function or a called module changes behind another input's replacement", function()
    local Both = nn.Module "Both"
    function Both:init() self.a, self.b = nn.Identity(), nn.Identity() end
    function Both:forward(x)
      local h = x * 2
      return self.b(self.a(h)) * 10 + h
    end
    local Thrice = nn.Module "Thrice"
    function Thrice:forward(v) return v:mul_(3) * 1 end
    local model, thrice, out = ls.Model(Both()), Thrice(), nil
    for _, change in ipairs {
      function(t) t:apply(function(v) v:mul_(3) end, model.b.output) end,
      function() thrice(model.b.output):save() end } do
      model:trace(function(t)
        t:invoke(row(9, 9), function() model.a.output = row(0, 0) end)
        t:invoke(row(1, 2), function()
          change(t)
          out = model.output:save()
        end)
      end)
      is({ { 66, 132 } }, out)
    end
  end)

  it("that are one piece of memory, as after expand, are not changed by one input for all", function()
    for _, how in ipairs { "made", "parameter" } do
      local model, rows = repeats(how), {}
      local function edit(first, change)
        return failure(model.trace, model, function(t)
          t:invoke(torch.zeros(first, 2), change)
          t:invoke(torch.zeros(1, 2), function() rows[2] = model.output:save() end)
        end)
      end
      for _, change in ipairs {
        function() model.all.output["0"] = 7 end, function() model.all.output[":, 0"]:fill_(7) end,
        function(t) rows[1] = t:apply(function(v) v:fill_(7) return v * 1 end, model.all.output["0"]):save() end } do
        for first = 1, 2 do assert.matches("one piece of memory", tostring(edit(first, change))) end
      end
      model:trace(function(t)
        t:invoke(torch.zeros(2, 2), function()
          local own = model.all.output:clone()
          own["0"] = 7
          model.all.output = own
          rows[1] = model.output:save()
        end)
        t:invoke(torch.zeros(1, 2), function() rows[2] = model.output:save() end)
      end)
      is({ { 7, 7 }, { 1, 2 } }, rows[1])
      is({ { 1, 2 } }, rows[2])
      is({ { 1, 2 } }, model.w)
    end
  end)
end)
