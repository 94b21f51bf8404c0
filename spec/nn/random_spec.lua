-- Random calls of modules, containers, attention and optimizers give what PyTorch gives (spec/reference/random_nn.py). What is
-- decided otherwise stands in the table `decided`.
local json = require "cjson"
local ls = require "luasight"
local support = require "spec.support"
local torch, nn, optim = ls.torch, ls.nn, ls.optim

-- ---- what is decided otherwise -----------------------------------------------------------------------------------------

---Why a case is refused here although PyTorch runs it: an option of it, or a value, with the reason.
local decided = {
  inplace = "a module does not change its input: the operator does, x:relu_()",
  max_norm = "a forward does not change its weights", norm_type = "it belongs to max_norm",
  sparse = "gradients are dense",
  foreach = "the way of computing is ours to choose", differentiable = "no gradient is taken through a step",
  fused = "the way of computing is ours to choose", capturable = "there are no graphs of CUDA",
}

---Returns why a case is refused here although PyTorch does not refuse it, or nil.
local function reason_of(case)
  for name, value in pairs(case.options or {}) do
    if decided[name] then return decided[name] end
    if name == "dim" and value == "None" then return "PyTorch guesses the axis, and warns" end
  end
  if case.mask and case.options.is_causal then return "masks are given by one option alone" end
  if case.class == "Softmax" or case.class == "LogSoftmax" then
    if #case.args == 0 and case.options.dim == nil then return "PyTorch guesses the axis, and warns" end
  end
end

---An old libtorch has kernels of its own for bfloat16, whose numbers are less exact, and refuses less.
local is_old = not require "luasight.tensor.operators".find "rms_norm"

-- ---- numbers -----------------------------------------------------------------------------------------------------------

local function elements(shape)
  local n = 1
  for _, size in ipairs(shape) do n = n * size end
  return n
end

---The numbers that random_nn.py makes of the same arguments.
local function pattern(shape, seeds, dtype, bound)
  local list, a, b = {}, seeds[1], seeds[2]
  for i = 0, elements(shape) - 1 do list[i + 1] = bound and (i * a + b) % bound or ((i * a + b) % 61 - 30) / 8 end
  return torch.tensor(list, { dtype = dtype }):reshape(shape)
end

local tolerances = { float32 = "order", float64 = "float64", bfloat16 = "bfloat16" }

---Returns a number of a case, which is a text where JSON has no number for it.
local function number_of(v)
  if type(v) ~= "string" then return v end
  return v == "nan" and 0 / 0 or tonumber((v:gsub("inf", "1e999")))
end

---Compares numbers as random_nn.py packs them with a tensor; nan has to be where nan is.
local function compare(want, got, what, by)
  assert.equal(want.t, got.dtype, what .. ": dtype")
  assert.same(want.s, got.shape:tolist(), what .. ": shape")
  local list, have = {}, got:detach():double():flatten():tolist()
  for i, v in ipairs(want.d) do
    list[i] = number_of(v)
    if v == "nan" then
      assert.is_true(have[i] ~= have[i], ("%s: nan is wanted at %d, and %s is there"):format(what, i, tostring(have[i])))
      list[i], have[i] = 0, 0
    end
  end
  if #list == 0 then return end
  support.near(list, torch.tensor(have, { dtype = "float64" }), what, by or tolerances[want.t] or "float64", 1)
end

-- ---- cases -------------------------------------------------------------------------------------------------------------

local function fill(module, case)
  torch.no_grad(function()
    for _, p in ipairs(module:parameters()) do p:copy_(pattern(p.shape:tolist(), case.w, p.dtype)) end
  end)
end

local function state_of(module)
  local state = {}
  for name, t in module:named_state() do state[#state + 1] = { name, t.shape:tolist() } end
  return state
end

local function input_of(case)
  local shape = {}
  for i, size in ipairs(case.shape) do shape[case.turned and #case.shape + 1 - i or i] = size end
  local x = pattern(shape, case.x, case.dtype, case.bound)
  local flat = x:view { size = { -1 } }
  for _, special in ipairs(case.special) do flat[special[1]] = number_of(special[2]) end
  if case.dtype:find "float" then x:requires_grad_() end
  if not case.turned then return x, x end
  local axes = {}
  for i = 1, #shape do axes[i] = #shape - i end
  return x, x:permute(axes)
end

---Runs the stages of a case of a module, and compares what each gives.
local function run_module(case, make, stage)
  local module = make()
  if case.state then assert.same(case.state, state_of(module)) end
  if case.text then assert.equal(case.text, tostring(module)) end
  fill(module, case)
  module:train(case.train)
  local leaf, x = input_of(case)
  torch.manual_seed(case.seed)
  stage.now = "forward"
  local y = module(x)
  if case.y then compare(case.y, y, "output") end
  if not y.requires_grad then
    assert.is_nil(case.gx or case.gp and next(case.gp))
    return
  end
  stage.now = "backward"
  local loss = (y * pattern(y.shape:tolist(), { 5, 3 }, y.dtype)):sum()
  loss:backward()
  if case.gx then compare(case.gx, leaf.grad, "gradient of the input") else assert.is_nil(leaf.grad) end
  for name, p in module:named_parameters() do
    if case.gp and case.gp[name] then compare(case.gp[name], p.grad, "gradient of " .. name)
    elseif not case.error then assert.is_nil(p.grad) end
  end
end

local runs = {}

function runs.module(case, stage)
  run_module(case, function()
    local args = { unpack(case.args) }
    if next(case.options) ~= nil then
      local options = {}
      for name, value in pairs(case.options) do if value ~= "None" then options[name] = value end end
      args[#args + 1] = options
    end
    return nn[case.class](unpack(args))
  end, stage)
end

function runs.container(case, stage)
  run_module(case, function()
    local made, list = {}, {}
    for i, code in ipairs(case.parts) do made[i] = setfenv(loadstring("return nn." .. code), { nn = nn })() end
    for i, part in ipairs(case.order) do list[i] = made[part + 1] end
    local net, children, parameters = nn.Sequential(list), {}, {}
    for _, change in ipairs(case.changes) do
      if change[1] == "remove" then net[change[2]] = nil else net:append(made[change[2] + 1]) end
    end
    for name in net:named_children() do children[#children + 1] = name end
    for name in net:named_parameters() do parameters[#parameters + 1] = name end
    assert.same(case.children, children)
    assert.same(case.parameters, parameters)
    return net
  end, stage)
end

local function tensor_of(packed)
  local list = {}
  for i, v in ipairs(packed.d) do list[i] = number_of(v) end
  local t = torch.tensor(list, { dtype = "float64" }):reshape(packed.s)
  return packed.t == "bool" and t:ne(0) or t:to(packed.t)
end

---Returns the attention as it is computed where a trace reads its pattern.
local function in_steps(leaves, options)
  local shared, groups = {}, options.groups or 1
  for i, t in ipairs(leaves) do shared[i] = i > 1 and groups > 1 and t:repeat_interleave(groups, 1) or t end
  return require "luasight.tensor.compat".attention(shared[1], shared[2], shared[3],
    { mask = options.mask, is_causal = options.is_causal, scale = options.scale }, function(_, value) return value end)
end

function runs.attention(case, stage)
  local leaves = {}
  for i, name in ipairs { "q", "k", "k" } do leaves[i] = pattern(case[name], case.seeds[i], case.dtype):requires_grad_() end
  local options = { mask = case.mask and tensor_of(case.mask) }
  for name, value in pairs(case.options) do options[name] = value end
  stage.now = "forward"
  local y = nn.scaled_dot_product_attention(leaves[1], leaves[2], leaves[3], options)
  if case.y then compare(case.y, y, "output") end
  if case.y and case.dtype ~= "bfloat16" then compare(case.y, in_steps(leaves, options), "output in steps") end
  stage.now = "backward";
  (y * pattern(y.shape:tolist(), { 5, 3 }, y.dtype)):sum():backward()
  for i, want in ipairs(case.g or {}) do compare(want, leaves[i].grad, ("gradient %d"):format(i)) end
end

function runs.optimizer(case, stage)
  local params, without, path = {}, {}, {}
  for i, shape in ipairs(case.shapes) do
    params[i] = pattern(shape, { case.seeds[1], case.seeds[2] + i - 1 }, case.dtype):requires_grad_()
  end
  for _, pair in ipairs(case.without) do without[pair[1] .. "," .. pair[2]] = true end
  local opt = optim[case.class](params, case.options)
  stage.now = "step"
  for step = 1, 5 do
    opt:zero_grad()
    opt.lr = case.rates and case.rates[tostring(step)] or opt.lr
    for i, p in ipairs(params) do
      if not without[step .. "," .. i] then
        p.grad = pattern(case.shapes[i], { case.seeds[2] + step, case.seeds[1] + i - 1 }, case.dtype)
      end
    end
    if case.clip then
      local norm = optim.clip_grad_norm(params, case.clip[1], { norm_type = number_of(case.clip[2]) })
      if case.norms then
        local want = { t = "float64", s = {}, d = { case.norms[step] } }
        compare(want, torch.tensor(norm, { dtype = "float64" }), "norm", tolerances[case.dtype])
      end
    end
    opt:step()
    local now = {}
    for _, p in ipairs(params) do
      for _, v in ipairs(p:detach():double():flatten():tolist()) do now[#now + 1] = v end
    end
    path[step] = now
  end
  for i, step in ipairs { 1, 3, 5 } do
    local want = case.path and case.path[i]
    if want then
      compare({ t = "float64", s = { #want }, d = want }, torch.tensor(path[step], { dtype = "float64" }):reshape { -1 },
        ("parameters after step %d"):format(step), tolerances[case.dtype])
    end
  end
  local state = opt:state_dict()
  for name, want in pairs(case.state or {}) do compare(want, state[name], name) end
  for name in pairs(state) do assert.is_truthy(name == "step" or name == "lr" or not case.state or case.state[name], name) end
end

function runs.schedule(case)
  local opt = optim.SGD({ torch.ones(1, { requires_grad = true }) }, { lr = case.lr })
  local schedule, rates = optim.cosine(opt, case.options), {}
  for i = 1, #case.rates do
    rates[i] = opt.lr
    schedule:step()
  end
  compare({ t = "float64", s = { #rates }, d = case.rates }, torch.tensor(rates, { dtype = "float64" }), "rates")
end

---Runs a case; an error has to come at the stage at which PyTorch raises, or earlier, and to be one of luasight.
local function check(case)
  if is_old and (case.dtype == "bfloat16" or case.error == "forward" or case.error == "backward") then return end
  local stage = { now = "make" }
  local ok, err = pcall(runs[case.kind], case, stage)
  local is_ours = type(err) == "table" and err.code ~= nil
  local reason = reason_of(case)
  if reason and case.error ~= "make" then
    assert.is_true(not ok and is_ours and stage.now ~= "backward", "not refused, though " .. reason .. ": " .. tostring(err))
  elseif case.error then
    assert.is_false(ok, ("PyTorch raises in %s"):format(case.error))
    if not is_ours then error(err, 0) end
  elseif not ok then
    error(is_ours and ("refused in %s: %s"):format(stage.now, tostring(err)) or err, 0)
  end
end

describe("a random call", function()
  local path = os.getenv "LUASIGHT_RANDOM_NN" or "spec/reference/random_nn.jsonl"
  local groups, order = {}, {}
  for line in io.lines(path) do
    local case = json.decode(line)
    local name = case.class or case.kind
    if not groups[name] then groups[name], order[#order + 1] = {}, name end
    table.insert(groups[name], { case, line })
  end

  for _, name in ipairs(order) do
    it("is answered as PyTorch answers it: " .. name, function()
      local wrong = {}
      for _, pair in ipairs(groups[name]) do
        local ok, err = pcall(check, pair[1])
        if not ok then
          local text = type(err) == "table" and (err.message and tostring(err.message)) or tostring(err)
          wrong[#wrong + 1] = text .. "\n  " .. pair[2]:sub(1, 400)
        end
      end
      assert.equal("", table.concat(wrong, "\n"))
    end)
  end
end)
