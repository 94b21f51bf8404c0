-- Standard names: docs/standard-names.md says which model has which, cell by cell; here each cell is held against the code.
local ls = require "luasight"
local support = require "spec.support"
local near = support.near
local loader = require "luasight.lm.loader"
local models = require "luasight.models"
local torch = ls.torch

local families, page = "spec/reference/families/", "docs/standard-names.md"
local heads = { "q", "k", "v", "scores", "pattern", "z" }
local of_model = { embed = true, layers = true, norm = true, head = true }
local modules = { embed = true, layers = true, norm = true, head = true, attn = true, mlp = true }

-- The rows of the page whose name alone does not say which tiny model they mean: the folder, and which layer.
local cases = {
  ["gpt2"] = { "../gpt2/new" }, ["gemma3_text"] = { "gemma3" },
  ["opt without do_layer_norm_before"] = { "opt-old" },
  ["stablelm"] = { "stablelm-old" }, ["stablelm with use_parallel_residual"] = { "stablelm" },
  ["qwen3_moe, a layer with experts"] = { "qwen3_moe", 0 }, ["qwen3_moe, a layer without"] = { "qwen3_moe", 1 },
  ["gpt_neox"] = { "gpt_neox-old" }, ["gpt_neox without use_parallel_residual"] = { "gpt_neox" },
  ["falcon without parallel_attn"] = { "falcon-alibi-old" },
  ["bloom"] = { "bloom-old" }, ["bloom with apply_residual_connection_post_layernorm"] = { "bloom" },
  ["t5, a block of the encoder"] = { "t5", 0, "encoder" },
}

local function cells_of(line)
  local cells = {}
  for cell in line:gmatch "|([^|]+)" do cells[#cells + 1] = cell:match "^%s*(.-)%s*$":gsub("`", "") end
  return cells
end

---The rows of the big table, each by column, and what its letters mean.
local function read_page()
  local rows, reasons, columns = {}, {}, nil
  for line in io.lines(page) do
    local letter, reason = line:match "^%- (%l): (.*)"
    if letter then reasons[letter] = reason end
    if line:find "^| model |" then
      columns = cells_of(line)
    elseif columns and line:find "^| `" then
      local row = {}
      for i, cell in ipairs(cells_of(line)) do row[columns[i]] = cell end
      rows[#rows + 1] = row
    end
  end
  return rows, reasons
end

---The cells of a row by single names.
local function each_name(row)
  local names = {}
  for column, cell in pairs(row) do
    if column == "q ... z" then
      for _, name in ipairs(heads) do names[name] = cell end
    elseif column ~= "model" and column ~= "added" then
      names[column] = cell
    end
  end
  return names
end

-- So small a model is slower with several threads.
local threads
setup(function()
  threads = torch.get_num_threads()
  torch.set_num_threads(1)
end)
teardown(function() torch.set_num_threads(threads) end)

local rows, reasons = read_page()

describe("the page of standard names", function()
  it("has a row for every family", function()
    local known = {}
    for _, row in ipairs(rows) do known[row.model:match "^[%w_]+"] = true end
    for _, name in ipairs(models.names()) do assert.is_true(known[name], name) end
  end)
end)

for _, row in ipairs(rows) do
  describe("the standard names of " .. row.model, function()
    local case = cases[row.model] or { row.model }
    local function open()
      local model = ls.LanguageModel(loader.network(families .. case[1], { dtype = "float32" }))
      local ids = torch.tensor({ { 5, 3, 7, 4, 6 } }, { dtype = "int64" })
      if row.model:find "^t5" then ids = { input_ids = ids, decoder_input_ids = ids["0:1, :3"] } end
      local layers = case[3] and model[case[3]].block or model.layers
      return model, layers[case[2] or 0], ids
    end

    ---Reads and sets a place: the output changes. Outside of a trace modules are there and values are not.
    local function is_there(name, model, place, ids, before)
      if name == "layers" then
        return assert.equal(model.config.num_hidden_layers or model.config.n_layer or model.config.num_decoder_layers,
          #place[name])
      end
      local after = model:trace(ids, function()
        local at, key = place, name
        if modules[name] then at, key = place[name], "output" end
        if name == "attn" then at, key = at.output, 0 end
        at[key] = at[key]:roll(1, -1)
        return model.output.logits
      end)
      assert.is_true((before - after):abs():max():item() > 1e-5, name)
      if modules[name] then return assert.equal("userdata", type(place[name])) end
      local ok, err = pcall(function() return place[name] end)
      assert.is_false(ok, name)
      assert.matches("only inside the body of a trace", err.message, nil, nil, name)
    end

    local function is_refused(name, model, place, ids, reason)
      local function refused(f)
        local ok, err = pcall(f)
        assert.is_false(ok, name)
        assert.equal("name", err.code)
        assert.equal(("this module has no %s: %s"):format(name, reason), err.message)
      end
      refused(function() return place[name] end)
      model:trace(ids, function()
        refused(function() return place[name] end)
        refused(function() place[name] = 0 end)
      end)
    end

    it("are there to read and to set, or refused with the reason", function()
      local model, layer, ids = open()
      local before = model(ids).logits
      for name, cell in pairs(each_name(row)) do
        local place = of_model[name] and model or layer
        if cell == "yes" then is_there(name, model, place, ids, before)
        else is_refused(name, model, place, ids, assert(reasons[cell], cell)) end
      end
    end)

    local adds = row.added ~= "otherwise"
    local _ = adds and it("leave the residual stream as it was where both parts are set to 0: " .. row.added, function()
      local model, layer, ids = open()
      local pre, mid, post = model:trace(ids, function()
        layer.attn_out = layer.attn_out * 0
        layer.mlp_out = layer.mlp_out * 0
        return layer.resid_pre, row.added ~= "side by side" and layer.resid_mid or nil, layer.resid_post
      end)
      if mid then assert.is_true(torch.equal(pre, mid)) end
      if row.added ~= "first only" then assert.is_true(torch.equal(pre, post)) end
    end)

    it("hold what they say: " .. row.added, function()
      local model, layer, ids = open()
      local v = {}
      model:trace(ids, function()
        for name, cell in pairs(each_name(row)) do
          if cell == "yes" and not modules[name] then v[name] = layer[name]:save() end
        end
      end)
      for name, proxy in pairs(v) do v[name] = proxy.value end
      if v.z then
        local groups = v.q.shape[1] / v.v.shape[1]
        near(v.z, v.pattern:matmul(v.v:repeat_interleave(groups, 1)), "pattern @ v = z")
        near(v.pattern, v.scores:softmax(-1), "softmax(scores) = pattern")
      end
      local function middle() near(v.resid_mid, v.resid_pre + v.attn_out, "resid_pre + attn_out = resid_mid") end
      local function last() near(v.resid_post, v.resid_mid + v.mlp_out, "resid_mid + mlp_out = resid_post") end
      local function both() near(v.resid_post, v.resid_pre + v.attn_out + v.mlp_out, "all = resid_post") end
      if row.added == "in turn" then
        middle()
        last()
      elseif row.added == "side by side" then
        both()
      elseif row.added == "first only" then
        middle()
        assert.is_false((pcall(last)))
      else
        assert.equal("otherwise", row.added)
        if v.mlp_out then assert.is_false((pcall(both))) end
      end
    end)
  end)
end

describe("standard names in a generation with a cache", function()
  for _, case in ipairs { "mistral", "bloom", "gpt_neox", "gemma2", "mamba", "t5" } do
    it("are what the whole text has at the new position, in each step: " .. case, function()
      local model = ls.LanguageModel(loader.network(families .. case, { dtype = "float32" }))
      local names = case == "mamba" and { "resid_pre", "resid_post" } or { "resid_mid", "mlp_post", "mlp_out", "z", "pattern" }
      local prompt, seen = { 5, 3, 7, 4 }, {}
      local function read()
        local values = {}
        for i, name in ipairs(names) do values[i] = model.layers[-1][name]:save() end
        return values
      end
      local text = model:generate(prompt, { max_new_tokens = 4, eos_token_id = false }, function(tracer)
        for step in tracer:iter(0, 4) do seen[step] = read() end
        return model.generator.output
      end)
      for step = 0, 3 do
        local so_far = text:narrow(1, 0, text.shape[1] - 4 + step)
        local whole
        model:trace(case == "t5" and { input_ids = { prompt }, decoder_input_ids = so_far } or so_far,
          function() whole = read() end)
        for i, name in ipairs(names) do
          local want, got = whole[i].value, seen[step][i].value
          local axis = (name == "z" or name == "pattern") and 2 or 1
          near(want:narrow(axis, -1, 1), got:narrow(axis, -1, 1), name, "whole_model")
          if step > 0 then assert.equal(1, got.shape[axis]) end
        end
      end
    end)
  end
end)
