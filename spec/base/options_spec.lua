-- Tables of options: every public function that takes one refuses a name that it does not know, with the code `name`, the
-- nearest of its own names, and the line of the script. Which functions there are is read from the reference.
package.path = "tools/?.lua;" .. package.path
local api = require "manual.api"
local failure = require "luasight.base.error"
local ls = require "luasight"
local module_of = require "luasight.model".module_of
local options = require "luasight.base.options"
local support = require "spec.support"

local nn, torch = ls.nn, ls.torch
local box, net, weight, picture -- made before the tests and dropped behind them

---How the public function is called -> a call with a misspelled option, and the name that was meant.
local calls = {
  ["ls.Model"] = { function() ls.Model(net, { renam = {} }) end, "rename" },
  ["ls.LanguageModel"] = { function() ls.LanguageModel("models/pretrained/ioi", { devise = "cpu" }) end, "device" },
  ["model:trace"] = { function() box:trace("a", { truncatoin = true }, function() end) end, "truncation" },
  ["model:generate"] = { function() box:generate("a", { max_new_token = 1 }) end, "max_new_tokens" },
  ["model:stream"] = { function() box:stream("a", { do_smaple = true }) end, "do_sample" },
  ["model:scan"] = { function() box:scan("a", { max_lenght = 1 }, function() end) end, "max_length" },
  ["model:tracer"] = { function() box:tracer("a", { invoker_arg = {} }) end, "invoker_args" },
  ["model:edit"] = { function() box:edit({ inplaec = true }, function() end) end, "inplace" },
  ["model:save_graph"] = { function() box:save_graph("/dev/null", "a", { tarce = false }) end, "trace" },
  ["tracer:invoke"] = { function()
    box:trace(function(tracer) tracer:invoke("a", { truncaiton = true }, function() end) end)
  end, "truncation" },
  ["tracer:cache"] = { function() box:trace("a", function(tracer) tracer:cache { module = {} } end) end, "modules" },
  ["x:backward"] = { function() torch.ones(1, { requires_grad = true }):backward { retain_grpah = true } end, "retain_graph" },
  ["torch.tensor"] = { function() torch.tensor(1, { dtpye = "int64" }) end, "dtype" },
  ["nn.Parameter"] = { function() nn.Parameter(weight, { require_grad = true }) end, "requires_grad" },
  ["nn.Buffer"] = { function() nn.Buffer(weight, { persistant = true }) end, "persistent" },
  ["nn.scaled_dot_product_attention"] = { function()
    nn.scaled_dot_product_attention(weight, weight, weight, { is_casual = true })
  end, "is_causal" },
  ["net:state_dict"] = { function() net:state_dict { perfix = "a." } end, "prefix" },
  ["net:named_state"] = { function() net:named_state { keep_var = true } end, "keep_vars" },
  ["net:load_state_dict"] = { function() net:load_state_dict({}, { stritc = false }) end, "strict" },
  ["module:parameters"] = { function() box.transformer:parameters { recurs = false } end, "recurse" },
  ["module:named_parameters"] = { function() box.transformer:named_parameters { prefx = "a" } end, "prefix" },
  ["net:parameters"] = { function() net:parameters { recurs = false } end, "recurse" },
  ["net:named_parameters"] = { function() net:named_parameters { prefx = "a" } end, "prefix" },
  ["net:buffers"] = { function() net:buffers { recurs = false } end, "recurse" },
  ["net:named_buffers"] = { function() net:named_buffers { remove_duplicates = false } end, "remove_duplicate" },
  ["net:zero_grad"] = { function() net:zero_grad { set_to_non = false } end, "set_to_none" },
  ["optimizer:zero_grad"] = { function() ls.optim.SGD({ weight }):zero_grad { set_to_non = false } end, "set_to_none" },
  ["ls.optim.clip_grad_norm"] = { function() ls.optim.clip_grad_norm({ weight }, 1, { norm_typ = 1 }) end, "norm_type" },
  ["nn.Linear"] = { function() nn.Linear(1, 1, { bais = false }) end, "bias" },
  ["nn.Conv1D"] = { function() nn.Conv1D(1, 1, { devcie = "cpu" }) end, "device" },
  ["nn.Embedding"] = { function() nn.Embedding(1, 1, { pading_idx = 0 }) end, "padding_idx" },
  ["nn.LayerNorm"] = { function() nn.LayerNorm(1, { esp = 1 }) end, "eps" },
  ["nn.RMSNorm"] = { function() nn.RMSNorm(1, { epss = 1 }) end, "eps" },
  ["nn.BatchNorm1d"] = { function() nn.BatchNorm1d(1, { momentm = 1 }) end, "momentum" },
  ["nn.PReLU"] = { function() nn.PReLU(1, { inti = 1 }) end, "init" },
  ["ls.optim.SGD"] = { function() ls.optim.SGD({ weight }, { momentun = 1 }) end, "momentum" },
  ["ls.optim.AdamW"] = { function() ls.optim.AdamW({ weight }, { weigth_decay = 1 }) end, "weight_decay" },
  ["ls.optim.cosine"] = { function() ls.optim.cosine(ls.optim.SGD { weight }, { steps = 1, warmpu = 1 }) end, "warmup" },
  ["tokenizer:encode"] = { function() box.tokenizer:encode("a", { text_piar = "b" }) end, "text_pair" },
  ["tokenizer:decode"] = { function() box.tokenizer:decode({ 1 }, { skip_special_token = true }) end, "skip_special_tokens" },
  ["tokenizer:batch_decode"] = { function()
    box.tokenizer:batch_decode({ { 1 } }, { skip_special_tokns = true })
  end, "skip_special_tokens" },
  ["ls.tokenizer_trainer.train"] = { function()
    ls.tokenizer_trainer.train({ "a" }, { vocab_size = 300, special_token = {} })
  end, "special_tokens" },
  ["ls.safetensors.save"] = { function() ls.safetensors.save("/dev/null", {}, { metdata = {} }) end, "metadata" },
  ["ls.plot.line"] = { function() ls.plot.line({ 1 }, { tilte = "" }) end, "title" },
  ["ls.plot.bar"] = { function() ls.plot.bar({ 1 }, { legnd = {} }) end, "legend" },
  ["ls.plot.heatmap"] = { function() ls.plot.heatmap({ { 1 } }, { ragne = {} }) end, "range" },
  ["ls.plot.attention"] = { function() ls.plot.attention({ { { 1 } } }, { tokes = {} }) end, "tokens" },
  ["ls.plot.tokens"] = { function() ls.plot.tokens({ "a" }, { 1 }, { vlaue = "" }) end, "value" },
  ["ls.plot.tree"] = { function() ls.plot.tree(net, { dept = 1 }) end, "depth" },
  ["ls.plot.graph"] = { function() box:trace("a", function(tracer) ls.plot.graph(tracer, { titel = "" }) end) end, "title" },
  ["picture:text"] = { function() picture:text { widht = 10 } end, "width" },
  ["picture:save"] = { function() picture:save("/dev/null/a.svg", { teme = "dark" }) end, "theme" },
  ["ls.progress.new"] = { function() ls.progress.new { totl = 1 } end, "total" },
  -- and those whose annotations do not name their options
  ["model()"] = { function() box("a", { truncatoin = true }) end, "truncation" },
  ["invoker_args"] = { function() box("a", { invoker_args = { max_lenght = 1 } }) end, "max_length" },
  ["model { }"] = { function() box { input_ids = { 1 }, attention_maks = { 1 } } end, "attention_mask" },
  ["forward"] = { function()
    module_of(box)(torch.ones(1, 1, { dtype = "int64" }), { positon_ids = weight })
  end, "position_ids" },
  ["net:to"] = { function() net:to { devce = "cpu" } end, "device" },
  ["tokenizer()"] = { function() box.tokenizer("a", { return_tensor = true }) end, "return_tensors" },
  ["ls.progress()"] = { function() ls.progress({}, { lable = "" }) end, "label" },
  ["ls.optim.SGD()"] = { function() ls.optim.SGD({ weight }, { lrr = 1 }) end, "lr" },
}
for name, setting in pairs { GELU = "approximate", LeakyReLU = "negative_slope", ELU = "alpha", CELU = "alpha",
  Softplus = "threshold", Hardtanh = "max_val", Softmax = "dim", LogSoftmax = "dim", GLU = "dim" } do
  calls["nn." .. name] = { function() nn[name] { [setting .. "s"] = 1 } end, setting }
end
for name, setting in pairs { uniform_ = "a", normal_ = "mean", trunc_normal_ = "std", constant_ = "val", orthogonal_ = "gain",
  xavier_uniform_ = "gain", xavier_normal_ = "gain", kaiming_uniform_ = "mode", kaiming_normal_ = "nonlinearity" } do
  calls["nn.init." .. name] = { function() nn.init[name](weight, { [setting .. "s"] = 1 }) end, setting }
end

---Functions whose tables of options hold any name, with the reason.
local open = {
  ["tokenizer:apply_chat_template"] = "others are variables of the template",
}

---Whether an annotation speaks of a table of options.
local function takes_options(f)
  for _, p in ipairs(f.params) do
    local is_fields = p.type:find "^{ [%w_]+%??: " and not p.type:find "%[%]$"
    if is_fields or p.type:find "^luasight[%w_.]*Options" or p.name == "..." and p.text:find "options%?" then return true end
  end
  return false
end

local function names_of_calls()
  local list = {}
  for name in pairs(calls) do list[#list + 1] = name end
  table.sort(list)
  return list
end

setup(function()
  box, net, weight = support.generating_box(), nn.Linear(1, 1), torch.zeros(1, 1, { requires_grad = true })
  picture = ls.plot.line { 1, 2 }
end)

teardown(function() box, net, weight, picture = nil, nil, nil, nil end)

describe("an option that there is not", function()
  it("is tried at every function of the reference that takes options", function()
    local missing, count = {}, 0
    for _, group in ipairs(api.groups()) do
      for _, f in ipairs(group.functions) do
        local name = group.call .. f.name
        if takes_options(f) then
          count = count + 1
          if not calls[name] and not open[name] then missing[#missing + 1] = name end
        end
      end
    end
    assert.same({}, missing)
    assert.is_true(count >= 43)
  end)

  for _, name in ipairs(names_of_calls()) do
    it("of " .. name .. " is named, with the nearest one and the line", function()
      local call, meant = unpack(calls[name])
      local err = support.failure(call)
      assert.is_true(failure.is(err), tostring(err))
      assert.equal("name", err.code)
      assert.matches(('%%(did you mean "%s"'):format(meant), err.message)
      assert.equal("spec/base/options_spec.lua", err.file)
      local at = debug.getinfo(call, "S")
      assert.is_true(err.line >= at.linedefined and err.line <= at.lastlinedefined, tostring(err))
    end)
  end

  it("that is like no other lists those there are", function()
    local err = support.failure(function() options.read("f", { zzzzz = 1 }, { b = true, a = "number" }) end)
    assert.equal('f has no option "zzzzz"', err.message)
    assert.equal("its options are a, b", err.hint)
    err = support.failure(function() options.read("f", { 3 }, { only = true }, { noun = "argument" }) end)
    assert.equal("f has no argument 1", err.message)
    assert.equal("it has only", err.hint)
  end)
end)

describe("the options of a call", function()
  local kinds = { flag = "boolean", text = "string", list = "table", n = options.count, from = options.size,
    part = options.share, any = true }

  it("are given back as they are, and an empty table where there are none", function()
    local given = { flag = false, text = "", list = {}, n = 1, from = 0, part = 1, any = print }
    assert.equal(given, options.read("f", given, kinds))
    assert.same({}, options.read("f", nil, kinds))
  end)

  it("have values of their kinds", function()
    for given, message in pairs {
      [{ flag = 1 }] = "f: flag is true or false, not 1", [{ text = true }] = "f: text is a text, not true",
      [{ list = "a\nb" }] = 'f: list is a table, not "a?b"', [{ n = 0 }] = "f: n is a whole number above 0, not 0",
      [{ n = 1.5 }] = "f: n is a whole number above 0, not 1.5", [{ n = "1" }] = 'f: n is a whole number above 0, not "1"',
      [{ from = -1 }] = "f: from is a whole number from 0 on, not -1",
      [{ from = 1 / 0 }] = "f: from is a whole number from 0 on, not inf",
      [{ part = 1.5 }] = "f: part is a number from 0 to 1, not 1.5",
      [{ part = {} }] = "f: part is a number from 0 to 1, not a table",
      [3] = "the options of f are a table, not a number",
    } do
      local err = support.failure(function() options.read("f", given, kinds) end)
      assert.equal("argument", err.code)
      assert.equal(message, err.message)
    end
  end)
end)
