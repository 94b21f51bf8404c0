-- Which columns are tokens: x.t[i], and the arguments of several inputs as one batch (S6, S8).
local ls = require "luasight"
local loader = require "luasight.lm.loader"
local support = require "spec.support"
local torch = ls.torch

local function tiny(name) return ls.LanguageModel(loader.network("spec/reference/families/" .. name, { dtype = "float32" })) end
local function lists(...)
  local result = {}
  for i, v in ipairs { ... } do result[i] = v.value:tolist() end
  return result
end

describe("x.t[i] takes the tokens that the mask names (S8)", function()
  local function ids(model) return model.model.embed_tokens.input[0][0] end

  it("case 10.2: with padding on the right", function()
    local model = tiny "llama"
    local input = { input_ids = { { 5, 6, 7, 0, 0 } }, attention_mask = { { 1, 1, 1, 0, 0 } } }
    assert.same({ { 5 }, { 7 }, { { 6, 7 } } }, lists(model:trace(input, function()
      return ids(model).t[0], ids(model).t[-1], ids(model).t["1:"]
    end)))
    local err = support.failure(model.trace, model, input, function() return ids(model).t[3] end)
    assert.matches("token 3 is out of range: the input has 3 tokens", err.message)
  end)

  it("case 9.10: with holes, alone, in rows that differ, and in invokes", function()
    local model = tiny "llama"
    local holes = { input_ids = { { 5, 6, 0, 7, 8 }, { 0, 3, 4, 5, 6 } },
      attention_mask = { { 1, 1, 0, 1, 1 }, { 0, 1, 1, 1, 1 } } }
    local first, middle, last, q, all = model:trace(holes, function()
      local attention = model.model.layers[0].self_attn
      return ids(model).t[0], ids(model).t["1:3"], ids(model).t[-1], attention.q.t["0:3"], attention.q
    end)
    assert.same({ { 5, 3 }, { { 6, 7 }, { 4, 5 } }, { 8, 6 } }, lists(first, middle, last))
    assert.same({ 2, 4, 3, 4 }, q.shape:tolist()) -- the axes of q, also where rows differ
    for row, columns in ipairs { { 0, 1, 3 }, { 1, 2, 3 } } do
      assert.is_true(torch.equal(all[row - 1]:index_select(1, torch.tensor(columns, { dtype = "int64" })), q[row - 1]))
    end
    local found = {}
    model:trace(function(tracer)
      tracer:invoke({ input_ids = { { 5, 6, 0, 7, 8 } }, attention_mask = { { 1, 1, 0, 1, 1 } } }, function()
        found[1], found[2] = ids(model).t["1:3"]:save(), ids(model).t[2]:save()
      end)
      tracer:invoke({ 1, 2, 3, 4, 5, 6, 7 }, function() found[3] = ids(model).t["1:3"]:save() end)
    end)
    assert.same({ { { 6, 7 } }, { 7 }, { { 2, 3 } } }, lists(unpack(found)))
  end)

  it("case 9.10: sets ranges of rows that differ", function()
    local model = tiny "llama"
    local before, after = model:trace({ { 3, 4, 5 }, { 6, 7 } }, function()
      local q = model.model.layers[0].self_attn.q
      local old = q:clone()
      q.t["0:2"] = q.t["0:2"] * 2
      return old, q
    end)
    local wanted = before:clone()
    wanted["0, :, 0:2"] = before["0, :, 0:2"] * 2
    wanted["1, :, 1:3"] = before["1, :, 1:3"] * 2
    assert.is_true(torch.equal(wanted, after))
  end)

  it("case 9.10: in later steps without a cache, in beams, and in several texts for a prompt", function()
    local model = tiny "llama"
    local function seen(options)
      local found = {}
      options.max_new_tokens = 3
      local text = model:generate({ { 3, 4, 5 }, { 6, 7 } }, options, function(tracer)
        for _ in tracer:all() do
          found[#found + 1], found[#found + 2] = ids(model).t[0]:save(), ids(model).t[-1]:save()
        end
        return model.generator.output
      end)
      return lists(unpack(found)), text:tolist()
    end
    local found, text = seen { use_cache = false }
    local function new(k) return { text[1][k], text[2][k] } end
    assert.same({ { 3, 6 }, { 5, 7 }, { 3, 6 }, new(4), { 3, 6 }, new(5) }, found)
    found, text = seen {}
    assert.same({ { 3, 6 }, { 5, 7 }, new(4), new(4), new(5), new(5) }, found)
    found = seen { num_beams = 2 }
    assert.same({ { 3, 3, 6, 6 }, { 5, 5, 7, 7 } }, { found[1], found[2] })
    assert.same(found[3], found[4])
    found = seen { num_return_sequences = 2, do_sample = true, seed = 1 }
    assert.same({ { 3, 3, 6, 6 }, { 5, 5, 7, 7 } }, { found[1], found[2] })
  end)

  it("case 9.10: on the axis that a point has, and not where tokens have no axis of their own", function()
    local model = tiny "llama"
    local input = { { 3, 4, 5 }, { 6, 7 } }
    local gemma = tiny "gemma3"
    local at, all = gemma:trace(input, function()
      local normed = gemma.model.layers[0].self_attn.q_norm.output -- B H T D
      return normed.t[0], normed
    end)
    assert.is_true(torch.equal(all["0, :, 0"], at[0]))
    assert.is_true(torch.equal(all["1, :, 1"], at[1]))
    local phi = tiny "phi"
    at, all = phi:trace(input, function()
      local normed = phi.model.layers[0].self_attn.q_layernorm.output
      return normed.t[-1], normed
    end)
    assert.is_true(torch.equal(all[":, :, 2"], at))
    local function none(of, value)
      local err = support.failure(of.trace, of, input, function() return value().t[0] end)
      assert.matches("this value has no tokens", err.message)
    end
    none(model, function() return model.model.layers[0].output[0][0] end) -- one row
    none(model, function() return model.model.embed_tokens.input[0][0][0] end)
    local mixtral = tiny "mixtral"
    none(mixtral, function() return mixtral.model.layers[0].mlp.experts.output end)
    none(mixtral, function() return mixtral.model.layers[0].mlp.gate.output[1] end)
  end)
end)

describe("a model with an encoder", function()
  it("case 9.11: pads the decoder's tokens by the decoder's lengths, and masks them", function()
    local model = tiny "t5"
    local found = {}
    model:trace(function(tracer)
      for i, input in ipairs { { { 3, 4, 5, 6 }, { 7, 8 } }, { { 9, 10 }, { 11, 12, 13 } } } do
        tracer:invoke({ input_ids = { input[1] }, decoder_input_ids = { input[2] } }, function()
          found[i] = model.output.logits.t[1]["0, :4"]:save()
        end)
      end
    end)
    for i, expected in ipairs {
      { -0.02819527, 0.4784413, -0.1931449, 0.3085313 },
      { 0.03653003, 0.2099744, 0.009282446, 0.4891008 },
    } do support.near(expected, found[i].value, nil, "whole_model") end
  end)

  it("takes a mask of the decoder's tokens that has their shape, and among invokes as many rows for both", function()
    local model = tiny "t5"
    local function run(input) return function() return model(input) end end
    for message, call in pairs {
      ["decoder_attention_mask has the shape [1, 1], but the tokens have [1, 3]"] =
        run { input_ids = { 3, 4 }, decoder_input_ids = { 1, 2, 3 }, decoder_attention_mask = { 1 } },
      ["decoder_attention_mask has the shape [1, 2], but the tokens have [1, 1]"] =
        run { input_ids = { 3, 4 }, decoder_attention_mask = { 1, 1 } },
      ["decoder_input_ids is [B, T] or [T] with at least one token, not [1, 0]"] =
        run { input_ids = { 3, 4 }, decoder_input_ids = {} },
      ["need as many rows, but some have 1 and some 2"] = function() -- joined they have three rows each
        model:trace(function(tracer)
          local one, two = { { 3, 4 } }, { { 3, 4 }, { 5, 6 } }
          tracer:invoke({ input_ids = one, decoder_input_ids = two }, function() return model.output.logits end)
          tracer:invoke({ input_ids = two, decoder_input_ids = one }, function() return model.output.logits end)
        end)
      end,
    } do assert.matches(message, support.failure(call).message, 1, true) end
  end)

  it("case 10.2: counts the decoder's tokens in the decoder, and the encoder's in what the decoder reads of it", function()
    local model = tiny "t5"
    local input = { input_ids = { { 3, 4, 5, 6 } }, decoder_input_ids = { { 7, 8 } } }
    local first, last, read, all, keys = model:trace(input, function()
      local crossing = model.decoder.block[0].layer[1].EncDecAttention
      return model.decoder.embed_tokens.input[0][0].t[0], model.decoder.embed_tokens.input[0][0].t[-1],
        model.encoder.embed_tokens.input[0][0].t[-1], crossing.k, crossing.k.t[3]
    end)
    assert.same({ { 7 }, { 8 }, { 6 } }, lists(first, last, read))
    assert.is_true(torch.equal(all[":, :, 3"], keys))
    local err = support.failure(model.trace, model, input, function() return model.output.logits.t[2] end)
    assert.matches("token 2 is out of range: the input has 2 tokens", err.message)
  end)
end)

describe("arguments of one row", function()
  it("case 10.3: are those of all rows of their input, beside other inputs and with beams", function()
    local model = tiny "llama"
    local one = { input_ids = { { 0, 3, 4 }, { 0, 5, 6 } }, attention_mask = { { 0, 1, 1 } } }
    local two = { input_ids = one.input_ids, attention_mask = { { 0, 1, 1 }, { 0, 1, 1 } } }
    local found = {}
    model:trace(function(tracer)
      for i, input in ipairs { one, two } do
        tracer:invoke(input, function() found[i] = model.output.logits:save() end)
      end
      tracer:invoke({ 3, 4, 5, 6 }, function() end)
    end)
    assert.is_true(torch.equal(found[1].value, found[2].value))
    local options = { num_beams = 2, max_new_tokens = 3 }
    assert.same(model:generate(two, options):tolist(), model:generate(one, options):tolist())
  end)
end)

describe("an invoke of several", function()
  it("sees no rows in values without rows, whose sizes are those of a batch by chance (S6)", function()
    local model = tiny "t5"
    local attention = model.encoder.block[0].layer[0].SelfAttention
    for name, read in pairs {
      [".relative_attention_bias.output"] = function() return attention.relative_attention_bias.output end,
      [".input"] = function() return attention.input[1].distance end,
    } do
      local err = support.failure(model.trace, model, function(tracer) -- three rows of three tokens: T S is 3 3
        for _, input in ipairs { { { 5, 6, 7 } }, { { 8, 9 }, { 10, 11 } } } do
          tracer:invoke({ input_ids = input, decoder_input_ids = input }, function() read():save() end)
        end
      end)
      assert.matches("the rows of one invoke cannot be told apart here", err.message)
      assert.equal("encoder.block.0.layer.0.SelfAttention" .. name, err.point)
    end
    local mixtral = tiny "mixtral"
    local asked = {}
    for T = 1, 6 do -- some expert is asked by as many tokens as there are rows
      local ok, err = pcall(mixtral.trace, mixtral, function(tracer)
        for i = 1, 2 do
          local row = {}
          for k = 1, T do row[k] = 2 + (3 * i + k) % 15 end
          tracer:invoke(row, function() mixtral.model.layers[0].mlp.experts.act_fn.output:save() end)
        end
      end)
      asked[T] = not ok and err.message:match "the rows of one invoke cannot be told apart" ~= nil
    end
    assert.same({ true, true, true, true, true, true }, asked)
  end)

  it("sees its own rows of a cache, on the axis that model and layers have them", function()
    for name, path in pairs { llama = "model", gpt_neo = "transformer", mamba = "backbone", t5 = "decoder" } do
      local model = tiny(name)
      local layer = model:get(path)[name == "gpt_neo" and "h" or name == "t5" and "block" or "layers"][0]
      local places = { model, model:get(path), layer }
      if name == "t5" then places[3] = layer.layer[0] elseif name ~= "mamba" then
        places[4] = name == "llama" and layer.self_attn or layer.attn
      end
      local function read(tracer)
        tracer:next()
        local caches = {}
        for i, place in ipairs(places) do caches[i] = place.input[1].cache:clone():save() end
        return caches
      end
      local options, alone, beside = { max_new_tokens = 2, eos_token_id = false }, nil, nil
      model:generate({ 5, 6, 7 }, options, function(tracer) alone = read(tracer) end)
      model:generate(options, function(tracer)
        tracer:invoke({ 8, 9, 10 }, function() model.lm_head.output:save() end)
        tracer:invoke({ 5, 6, 7 }, function() beside = read(tracer) end)
      end)
      for i in ipairs(places) do support.near(alone[i].value, beside[i].value, name .. i, "whole_model") end
    end
  end)
end)

describe("the tokens of what layers hand to an attention", function()
  it("are on its axis of the tokens that read", function()
    local model = tiny "t5"
    local attention = model.encoder.block[0].layer[0].SelfAttention
    local bias, last, again = model:trace({ 5, 6, 7 }, function()
      return attention.output[1], attention.output[1].t[-1], model.encoder.block[0].output[1].t[-1]
    end)
    assert.is_true(torch.equal(bias[":, :, 2"], last))
    assert.is_true(torch.equal(last, again))
    local gpt2 = ls.LanguageModel "models/pretrained/ioi"
    local mask, first = gpt2:trace({ { 5, 6, 7 }, { 8 } }, function()
      local given = gpt2.transformer.h[0].input[1].attention_mask
      return given, given.t[0]
    end)
    assert.is_true(torch.equal(mask["0, :, 0"], first[0]))
    assert.is_true(torch.equal(mask["1, :, 2"], first[1]))
  end)

  it("are the encoder's in what a decoder takes from it, under the names that transformers has", function()
    local model = tiny "t5"
    local function input(ids, mask, of_decoder)
      return { input_ids = { ids }, attention_mask = { mask }, decoder_input_ids = { of_decoder } }
    end
    local function read()
      local block = model.decoder.block[0]
      local states = { model.decoder.input[1].encoder_hidden_states, block.input[1].encoder_hidden_states,
        block.layer[1].input[1].key_value_states, block.layer[1].EncDecAttention.input[1].key_value_states }
      local masks = { model.decoder.input[1].encoder_attention_mask, block.input[1].encoder_attention_mask,
        block.layer[1].input[1].attention_mask, block.layer[1].EncDecAttention.input[1].attention_mask }
      for i = 1, 4 do
        states[i] = { states[i].t[1]:save(), states[i].t["0:"]:save() }
        masks[i] = masks[i].t["0:"]:save()
      end
      return { states = states, masks = masks, own = block.input[1].attention_mask.t[0]:save(),
        there = model.encoder.output.last_hidden_state.t["0:"]:save() }
    end
    local first, second = input({ 5, 6, 7 }, { 1, 1, 1 }, { 0, 3 }), input({ 8, 9 }, { 1, 1 }, { 0, 3, 4, 5 })
    local alone, beside = {}, {}
    for i, given in ipairs { first, second } do model:trace(given, function() alone[i] = read() end) end
    model:trace(function(tracer)
      tracer:invoke(first, function() beside[1] = read() end)
      tracer:invoke(second, function() beside[2] = read() end)
    end)
    for _, all in ipairs { alone, beside } do
      for i, got in ipairs(all) do
        assert.same({ 1, 4 - i, 16 }, got.there.shape:tolist())
        for k = 1, 4 do
          support.near(got.there, got.states[k][2].value, "states", "whole_model")
          support.near(got.there[":, 1"], got.states[k][1].value, "state", "whole_model")
          assert.equal(4 - i, got.masks[k]:sum():item())
        end
        assert.equal(1, got.own:sum():item())
      end
    end
  end)
end)
