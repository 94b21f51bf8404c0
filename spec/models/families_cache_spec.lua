-- Every family that generates, with its cache: spec/reference/families_greedy.py made the texts with transformers.
local ls = require "luasight"
local support = require "spec.support"
local near = support.near
local loader = require "luasight.lm.loader"
local torch = ls.torch

local cjson = require "cjson"
local reference = "spec/reference/families/"

local function cases()
  local file = assert(io.open(reference .. "greedy.json"))
  local all = cjson.decode(file:read "*a").cases
  file:close()
  return all
end

-- So small a model is slower with several threads.
local threads
setup(function()
  threads = torch.get_num_threads()
  torch.set_num_threads(1)
end)
teardown(function() torch.set_num_threads(threads) end)

for name, case in pairs(cases()) do
  describe("a tiny " .. name, function()
    local function open() return ls.LanguageModel(loader.network(reference .. name, { dtype = "float32" })) end

    local function options(use_cache, new)
      return { max_new_tokens = new or case.new, eos_token_id = false, use_cache = use_cache }
    end

    local function without_padding(row, text) return { unpack(row, #row - #text + 1) } end

    it("writes the text of transformers, with a cache and without", function()
      local model = open()
      for i, prompt in ipairs(case.prompts) do
        for _, use_cache in ipairs { true, false } do
          assert.same({ case.texts[i] }, model:generate({ prompt }, options(use_cache)):tolist())
        end
      end
    end)

    it("writes it for rows of a padded batch, and in a search with one row's beams too", function()
      local model = open()
      for _, use_cache in ipairs { true, false } do
        for i, row in ipairs(model:generate(case.prompts, options(use_cache)):tolist()) do
          assert.same(case.texts[i], without_padding(row, case.texts[i]))
        end
      end
      local function search(use_cache)
        local given = options(use_cache, math.min(8, case.new))
        given.num_beams = 3
        return model:generate(case.prompts, given):tolist()
      end
      assert.same(search(false), search(true))
    end)

    it("gives in each step, of one token, what the whole text gives", function()
      local model, steps = open(), math.min(6, case.new)
      local hidden, text = {}, nil
      model:generate({ case.prompts[1] }, options(true, steps), function(tracer)
        for step in tracer:all() do hidden[step] = model.lm_head.input[0][0]:save() end
        text = model.generator.output:save()
      end)
      local ids = text:narrow(1, 0, text.shape[1] - 1)
      local short = 0
      for step = 0, steps - 1 do
        local so_far = ids:narrow(1, 0, ids.shape[1] - steps + step + 1)
        local whole = model:trace(name:find "^t5" and { input_ids = { case.prompts[1] }, decoder_input_ids = so_far } or so_far,
          function() return model.lm_head.input[0][0] end)
        near(whole["0, -1"], hidden[step]["0, -1"], "step " .. step, "whole_model")
        if hidden[step].shape[1] == 1 then short = short + 1 end
      end
      if not case.uncached then assert.is_true(short >= steps - 1) end -- else some lengths are read anew
    end)

    it("can be read and changed at every step", function()
      local model, steps = open(), math.min(4, case.new)
      ---What the head gives at the last position in each step, where the head's input is set to 0 in step `off`.
      local function by_step(use_cache, off)
        local logits = {}
        local text = model:generate(case.prompts, options(use_cache, steps), function(tracer)
          for step in tracer:iter(0, steps) do
            if step == off then model.lm_head.input[0][0][":, -1, 0"] = 9 end
            logits[step + 1] = model.output.logits[":, -1"]:save()
          end
          return model.generator.output
        end)
        return text.value, logits
      end
      for _, off in ipairs { -1, 1 } do
        local text, logits = by_step(true, off)
        local expected_text, expected = by_step(false, off)
        assert.same(expected_text:tolist(), text:tolist())
        for step = 1, steps do near(expected[step].value, logits[step].value, "step " .. step - 1, "whole_model") end
      end
    end)
  end)
end

describe("a text whose length changes all angles", function()
  it("is read anew once, or where each length has its own, in every step", function()
    for name, expected in pairs { ["llama-dynamic-old"] = { 4, 1, 6, 7, 8 }, phi3 = { 4, 1, 1, 7, 1 } } do
      local model, read = ls.LanguageModel(loader.network(reference .. name, { dtype = "float32" })), {}
      model:generate({ { 4, 5, 6, 7 } }, { max_new_tokens = 5, eos_token_id = false }, function(tracer)
        for step in tracer:all() do read[step + 1] = model.lm_head.input[0][0]:save() end
      end)
      for step = 1, 5 do assert.equal(expected[step], read[step].shape[1], name) end
    end
  end)
end)

describe("the encoder of T5", function()
  it("runs once, which a value of a later step says", function()
    local model, early, late = ls.LanguageModel(loader.network(reference .. "t5", { dtype = "float32" })), nil, nil
    model:generate({ 5, 3, 7 }, { max_new_tokens = 3, eos_token_id = false }, function(tracer)
      early = model.encoder.block[0].output[0]:save()
      tracer:next()
      late = model.encoder.block[0].output[0]:save()
    end)
    assert.equal("[1, 3, 16]", tostring(early.shape))
    assert.is_false(late:is_set())
    assert.error_matches(function() return late.value end, "does not run this part in step 1")
  end)

  it("cannot be edited in a later step, but by stored edits, which act where it runs", function()
    local model = ls.LanguageModel(loader.network(reference .. "t5", { dtype = "float32" }))
    local prompt, options = { 5, 3, 7 }, { max_new_tokens = 3, eos_token_id = false }
    local function changed(edit)
      return pcall(model.generate, model, prompt, options, function(tracer)
        tracer:next()
        edit()
        return model.generator.output
      end)
    end
    for _, edit in ipairs { function() model.encoder.block[0].output[0][":"] = 0 end,
      function() model.encoder.block[0].output = model.encoder.block[0].output end,
      function() model.lm_head.output[":"] = model.encoder.block[0].output[0]:sum() end } do
      local ok, e = changed(edit)
      assert.is_false(ok)
      assert.equal("unreached", e.code)
      assert.matches("this edit is lost", e.message)
    end
    local silent = model:edit(function() model.encoder.block[0].output[0][":"] = 0 end)
    local now = model:generate(prompt, options, function()
      model.encoder.block[0].output[0][":"] = 0
      return model.lm_head.output
    end)
    local stored = silent:generate(prompt, options, function() return silent.lm_head.output end)
    assert.is_true(torch.equal(now, stored))
  end)
end)

describe("an encoder", function()
  it("does not generate, and says so", function()
    for _, name in ipairs { "bert", "roberta", "distilbert" } do
      local model = ls.LanguageModel(loader.network(reference .. name))
      for _, word in ipairs { "generate", "stream" } do
        local ok, err = pcall(function() return model[word](model, { 3, 4 }, { max_new_tokens = 2 }) end)
        assert.is_false(ok)
        assert.equal("state", err.code)
        assert.matches("guesses the tokens that are masked", err.message)
      end
    end
  end)
end)

describe("stories260K with a cache", function()
  local folder = (os.getenv "LUASIGHT_DATA" or "../shared/data") .. "/models/stories260K"
  local file = io.open(folder .. "/golden.json")
  if not file then
    pending("writes the published story (no " .. folder .. ")")
    return
  end
  local golden = cjson.decode(file:read "*a")
  file:close()

  it("writes the published story, byte for byte", function()
    local model = ls.LanguageModel(folder)
    local published = golden.published
    local function write(prompt, n)
      local ids = model:generate(prompt, { max_new_tokens = n, eos_token_id = false })[0]:tolist()
      return ids, model.tokenizer:decode(ids, { skip_special_tokens = true })
    end
    local ids, text = write({ 1 }, 200)
    assert.same(golden.computed_here.greedy_ids_200, { unpack(ids, 2) })
    assert.equal(published.expected_text, text)
    local zoo = published.zoo_prompt
    local prompt = #model.tokenizer:encode(zoo.prompt) - 1 -- n counts its tokens, but not the first one, which no text has
    assert.equal(zoo.text, (select(2, write(zoo.prompt, zoo.n - prompt))))
  end)
end)
