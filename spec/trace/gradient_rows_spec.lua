-- Rules S6 and S10: in a batch an input has the gradients that it has alone, whoever sets or edits the rows of the others. The
-- numbers are PyTorch's, from tensor hooks in a run of the one input.
local ls = require "luasight"
local failure = require "spec.support".failure
local torch, nn = ls.torch, ls.nn

local mine, other = torch.tensor { { 2, 3 }, { 5, 6 } }, torch.tensor { { 1, 2 }, { 3, 4 } }

---A model of identities, named by the letters of `names`.
local function model_of(names, forward)
  local Net = nn.Module "Net"
  function Net:init()
    for name in names:gmatch "%a" do self[name] = nn.Identity() end
  end
  Net.forward = forward
  return ls.Model(Net())
end

local function chain()
  return model_of("abc", function(self, x) return self.c(self.b(self.a(x * 1))) * 1 end)
end

-- h = 2x; v is a view of h, which c uses before and d after what happens at e
local function views()
  return model_of("abcde", function(self, x)
    local h = self.a(x * 2)
    local v = self.b(h:view(-1, 2))
    local y = self.c(v * 3)
    return self.d(self.e(v) * 5 + y + h)
  end)
end

local function full(number) return { { number, number }, { number, number } } end

---Traces `mine` with `body` and `other` with `beside`, which may be nil, in a batch, and `mine` alone. `body` gives a list of
---gradients, all elements of each of which are the number in `want`.
local function check(model, want, beside, body)
  for batch = 0, 1 do
    local gradients
    model:trace(function(tracer)
      if batch == 1 then tracer:invoke(other, function() if beside then beside(model, tracer) end end) end
      tracer:invoke(mine, function() gradients = body(model, tracer) end)
    end)
    for i, number in ipairs(want) do
      assert.same(full(number), gradients[i]:tolist(), ("gradient %d, %s"):format(i, batch == 1 and "in a batch" or "alone"))
    end
  end
end

describe("gradients of rows (S6, S10)", function()
  it("are set through each name of a tensor of which another input edits its rows", function()
    check(chain(), { 1.5 }, function(m) m.b.output[":, 0"] = 7 end, function(m)
      local v, w = m.a.output, m.c.output
      v.grad = v.grad * 1.5
      m.output:sum():backward()
      return { w.grad:save() }
    end)
  end)

  it("are there for values that the input edits after another one has replaced its rows", function()
    check(chain(), { 2, 1 }, function(m) m.a.output = torch.zeros(2, 2) end, function(m)
      local g = m.a.output.grad:save()
      m.b.output:mul_(2)
      local below = m.c.output.grad:save()
      m.output:sum():backward()
      return { g, below }
    end)
  end)

  it("are those of the edited values where the model edits what another input has replaced", function()
    local model = model_of("ab", function(self, x)
      local h = self.a(x * 1)
      h:mul_(3)
      return self.b(h) * 1
    end)
    check(model, { 1, 3 }, function(m) m.a.output = torch.zeros(2, 2) end, function(m)
      local below, above = m.b.input[0][0].grad:save(), m.a.output.grad:save()
      m.output:sum():backward()
      return { below, above }
    end)
  end)

  it("count the uses before and after another input's edit of a memory, for each view of it", function()
    local function edit(m) m.e.output:mul_(2) end
    check(views(), { 8, 8, 9 }, edit, function(m)
      local g, later, base = m.b.input[0][0].grad:save(), m.e.output.grad:save(), m.a.output.grad:save()
      m.output:sum():backward()
      return { g, later, base }
    end)
    check(views(), { 8, 80, 81 }, edit, function(m)
      local v = m.b.input[0][0]
      local before = m.e.output.grad:save()
      v.grad = v.grad * 10
      local g, base = m.e.output.grad:save(), m.a.output.grad:save()
      m.output:sum():backward()
      return { before, g, base }
    end)
    check(views(), { 3, 5, 1 }, function(m)
      m.b.output:mul_(2)
      m.e.output:mul_(2)
    end, function(m)
      local g = m.b.input[0][0].grad:save()
      local w = m.e.output
      w:mul_(2)
      local below, last = w.grad:save(), m.d.input[0][0].grad:save()
      m.output:sum():backward()
      return { g, below, last }
    end)
  end)

  it("count the uses before and after a function or a called module of another input has changed a memory", function()
    local Twice = nn.Module "Twice"
    function Twice:forward(v) return v:mul_(2) * 1 end
    local twice = Twice()
    for _, edit in ipairs {
      function(m, tracer) tracer:apply(function(v) return v:mul_(2) end, m.e.output) end,
      function(m) twice(m.e.output):save() end } do
      check(views(), { 8, 8, 9 }, edit, function(m)
        local g, later, base = m.b.input[0][0].grad:save(), m.e.output.grad:save(), m.a.output.grad:save()
        m.output:sum():backward()
        return { g, later, base }
      end)
    end
  end)

  it("are one for rows and the point that the input sets them at", function()
    local model = model_of("ab", function(self, x)
      local h = self.a(x * 1)
      return self.b(h * 7) + h
    end)
    check(model, { 2, 2, 20 }, nil, function(m)
      local v = m.a.output
      local first = v.grad:save()
      m.b.output = v
      local o = m.b.output
      local g = o.grad:save()
      o.grad = g * 10
      local set = v.grad:save()
      m.output:sum():backward()
      return { first, g, set }
    end)
  end)

  it("are there where an invoke without input edits rows that an input has set", function()
    local model = model_of("abc", function(self, x) return self.c(self.b(self.a(x * 1))) end)
    local g, set
    model:trace(function(tracer)
      tracer:invoke(mine, function()
        local v = model.a.output
        set = model.output.grad:save()
        v.grad = set + 1
        g = model.a.input[0][0].grad:save()
        model.c:skip(v * 4)
        model.output:sum():backward()
      end)
      tracer:invoke(other, function() end)
      tracer:invoke(function() model.c.output[":, 0"] = 1 end)
    end)
    assert.same(full(1), set:tolist())
    assert.same(full(2), g:tolist())
  end)

  it("are set for rows that another input edits above, where a third has replaced its own", function()
    local model = model_of("ab", function(self, x)
      local h = self.a(x * 1)
      return self.b(h * 2) + h
    end)
    local g
    model:trace(function(tracer)
      tracer:invoke(other, function()
        local v = model.b.input[0][0]
        v.grad = torch.ones(2, 2)
        v[":, 0"] = 3
        model.b.output:sum():backward { retain_graph = true }
      end)
      tracer:invoke(other, function() model.a.output = torch.zeros(2, 2) end)
      tracer:invoke(mine, function()
        local v = model.b.input[0][0]
        v.grad = v.grad * 10
        g = model.a.output.grad:save()
        model.output:sum():backward()
      end)
    end)
    assert.same(full(21), g:tolist())
  end)
end)

describe("gradients of rows that lie in two places (S6, S10)", function()
  -- t gives one tensor twice
  local function pair()
    local Twice = nn.Module "Twice"
    function Twice:init() self.a = nn.Identity() end
    function Twice:forward(x)
      local h = self.a(x * 3)
      return ls.tuple(h, h)
    end
    local Net = nn.Module "Net"
    function Net:init() self.t, self.b, self.c = Twice(), nn.Identity(), nn.Identity() end
    function Net:forward(x)
      local p = self.t(x)
      return self.b(p[0]) * 2 + self.c(p[1])
    end
    return ls.Model(Net())
  end

  ---Traces `mine` with `body`, `other` with `beside` and both with `all`, which may be nil; `mine` comes first, then second.
  local function check_two(model, want, beside, body, all)
    for place = 1, 2 do
      local gradients
      model:trace(function(tracer)
        if place == 2 then tracer:invoke(other, function() beside(model) end) end
        tracer:invoke(mine, function() gradients = body(model) end)
        if place == 1 then tracer:invoke(other, function() beside(model) end) end
        if all then tracer:invoke(function() all(model) end) end
      end)
      for i, number in ipairs(want) do assert.same(full(number), gradients[i]:tolist(), ("gradient %d"):format(i)) end
    end
  end

  it("count the uses of both after an edit of one", function()
    local function set(m) m.t.output[1] = m.t.output[0] - 1 end
    local function ask(m)
      local b, c, a = m.b.input[0][0].grad:save(), m.c.input[0][0].grad:save(), m.t.a.output.grad:save()
      m.output:sum():backward()
      return { b, c, a }
    end
    check_two(pair(), { 3, 3, 6 }, set, ask, function(m) m.t.output[1]:mul_(2) end)
    check_two(pair(), { 3, 3, 6 }, set, function(m)
      m.t.output[1]:mul_(2)
      return ask(m)
    end)
    check_two(pair(), { 12, 3, 3 }, function(m) m.t.output[0] = m.t.output[1] * 2 end, function(m)
      local a = m.t.a.output.grad:save()
      m.b.output:mul_(4)
      local b, c = m.b.output.grad:save(), m.c.output.grad:save()
      m.output:sum():backward()
      return { a, b, c }
    end)
  end)

  it("count them where an invoke without input edits the place behind a replacement", function()
    local model = model_of("abcd", function(self, x)
      local h = self.a(x * 2)
      local y = self.b(h)
      return self.d(y * 5 + self.c(h) * 7) + h
    end)
    check_two(model, { 26, 26, 13 }, function(m) m.b.output = m.b.output + 1 end, function(m)
      local a, b, c = m.a.output.grad:save(), m.b.output.grad:save(), m.c.output.grad:save()
      m.output:sum():backward()
      return { a, b, c }
    end, function(m) m.b.output:mul_(2) end)
  end)

  it("are refused for a view of which a copy is edited in place, by the input or by the model", function()
    local function set(m) m.b.output = m.b.output + 1 end
    local function refused(model, body)
      local err = failure(function() check_two(model, {}, set, body) end)
      assert.matches("this gradient cannot be told among several invokes", tostring(err), 1, true)
    end
    refused(views(), function(m)
      local g = m.b.input[0][0].grad:save()
      m.e.output:mul_(2)
      m.output:sum():backward()
      return { g }
    end)
    refused(views(), function(m)
      m.e.output:mul_(2)
      local g = m.e.output.grad:save()
      m.output:sum():backward()
      return { g }
    end)
    refused(model_of("abcde", function(self, x)
      local h = self.a(x * 2)
      local v = self.b(h:view(-1, 2))
      local y = self.c(v * 3)
      v:mul_(7)
      return self.d(self.e(v) * 5 + y + h)
    end), function(m)
      local g = m.b.input[0][0].grad:save()
      m.output:sum():backward()
      return { g }
    end)
    check_two(views(), { 15 }, set, function(m) -- that of the memory it looks into can be told
      local g = m.a.output.grad:save()
      m.e.output:mul_(2)
      m.output:sum():backward()
      return { g }
    end)
  end)
end)

describe("the gradient of a view that is edited in place (S10)", function()
  it("is that of its uses before the edit, whatever else of its memory is saved or asked for", function()
    local model = model_of("abcde", function(self, x)
      local v = self.b(self.a(x * 2):view(-1, 2))
      local y = self.c(v * 3)
      return self.d(self.e(v) * 5 + y)
    end)
    for _, more in ipairs { false, "save", "grad" } do
      local g, base
      model:trace(mine, function()
        if more == "save" then model.a.output:save() end
        if more == "grad" then base = model.a.output.grad:save() end
        g = model.b.input[0][0].grad:save()
        model.e.output:mul_(2)
        model.output:sum():backward()
      end)
      assert.same(full(3), g:tolist(), more)
      if base then assert.same(full(13), base:tolist()) end
    end
  end)

  it("counts a use by a line above that runs after the edit", function()
    local model = views()
    local g
    model:trace(mine, function()
      model.a.output:save()
      local v = model.b.input[0][0]
      local r = v * model.c.output:detach()
      g = v.grad:save()
      v:add_(1)
      local loss = model.output:sum() + r:sum()
      loss:backward()
    end)
    assert.same({ { 15, 21 }, { 33, 39 } }, g:tolist()) -- 3 (2x + 1)
  end)

  it("counts the view's use as the other operand of the edit", function()
    local model = model_of("ab", function(self, x) return self.b(self.a(x * 1):t()) * 3 end)
    local g, base
    model:trace(mine, function()
      base = model.a.output.grad:save()
      local v = model.b.input[0][0]
      g = v.grad:save()
      v:add_(v)
      model.output:sum():backward()
    end)
    assert.same(full(3), g:tolist())
    assert.same(full(6), base:tolist())
  end)
end)

describe("a gradient that is set (S10)", function()
  it("has the dtype of its value, and is not complex where the value is real", function()
    local model = chain()
    local input, g = mine:to "float64", nil
    model:trace(input, function()
      model.b.output.grad = torch.ones(2, 2) -- float32
      g = model.a.output.grad:save()
      model.output:sum():backward()
    end)
    assert.are.equal("float64", tostring(g.dtype))
    assert.same(full(1), g:tolist())
    local err = failure(function()
      model:trace(input, function()
        model.b.output.grad = torch.ones(2, 2, { dtype = "complex64" })
        model.output:sum():backward()
      end)
    end)
    assert.matches("the gradient of a real value must be real, not complex", tostring(err), 1, true)
  end)

  it("has it in a batch too", function()
    for _, dtype in ipairs { "float64", "int64", "float16" } do
      check(chain(), { 3 }, nil, function(m)
        m.b.output.grad = torch.ones(2, 2, { dtype = dtype }) * 3
        local g = m.a.output.grad:save()
        m.output:sum():backward()
        return { g }
      end)
    end
    local err = failure(check, chain(), { 3 }, nil, function(m)
      m.b.output.grad = torch.ones(1, 2)
      m.output:sum():backward()
    end)
    assert.matches("a gradient must have the shape of its value, which is [2, 2], not [1, 2]", tostring(err), 1, true)
  end)
end)
