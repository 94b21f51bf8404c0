-- The model in the box while it is trained: its shape, the recipe, one step, and notes to go on from.
local ls = require "luasight"
local gpt2 = require "luasight.models.gpt2"
local Corpus = require "data.corpus"
local Random = require "data.random"

local torch, nn, optim = ls.torch, ls.nn, ls.optim

---@class Trainee
---@field net table the GPT-2
---@field step integer steps done
---@field steps integer steps in all
---@field loss number smoothed over about fifty steps
---@field random integer[] state of the text generator before the next step
---@field whole boolean false while an update is half done
local Trainee = {}
Trainee.__index = Trainee

local trainee = { steps = 8400 }

local shape = { layers = 4, width = 128, heads = 4, context = 64 }
local optimizer = { lr = 2e-3, betas = { 0.9, 0.99 }, weight_decay = 0.1, warmup = 100, min_lr = 1e-4 }
local spread = { tokens = 0.1, positions = 0.15, weights = 0.088 } -- of what training begins with

-- Short rows first: there the relations and the copying of repeated tokens form soonest.
local phases = {
  { share = 0.07, stories = 5, induction = 13, relations = 6, length = 32, period = 16 },
  { share = 0.30, stories = 6, induction = 16, relations = 2, length = 32, period = 16 },
  { share = 1.00, stories = 10, induction = 12, relations = 2, length = 64, period = 32 },
}

---@return table # the content of config.json
local function config_of(vocabulary)
  return {
    architectures = { "GPT2LMHeadModel" }, model_type = "gpt2", vocab_size = vocabulary, n_positions = shape.context,
    n_embd = shape.width, n_layer = shape.layers, n_head = shape.heads, activation_function = "gelu_new",
    layer_norm_epsilon = 1e-5, resid_pdrop = 0, embd_pdrop = 0, attn_pdrop = 0, tie_word_embeddings = true,
    bos_token_id = vocabulary - 1, eos_token_id = vocabulary - 1, dtype = "float32",
  }
end

local function write(path, text)
  local file = assert(io.open(path .. ".part", "w"))
  assert(file:write(text))
  file:close()
  assert(os.rename(path .. ".part", path))
end

--- Learns the tokenizer from a sample of the text and writes tokenizer.json and tokenizer_config.json.
---@param folder string
---@param seed integer
function trainee.write_tokenizer(folder, seed)
  local corpus, texts = Corpus.new(Random.new(seed + 1)), {}
  for i = 1, 16000, 2 do
    texts[i], texts[i + 1] = table.concat((corpus:story())), table.concat((corpus:examples(6)))
  end
  write(folder .. "/tokenizer.json", ls.tokenizer_trainer.train(texts, { vocab_size = 2000 }):json())
  write(folder .. "/tokenizer_config.json", ([[
{
  "tokenizer_class": "GPT2TokenizerFast",
  "model_max_length": %d,
  "add_prefix_space": false,
  "bos_token": "<|endoftext|>",
  "eos_token": "<|endoftext|>",
  "unk_token": "<|endoftext|>"
}
]]):format(shape.context))
end

--- The number of token ids: the end of text is the last.
---@param tokenizer table
---@return integer
function trainee.vocabulary(tokenizer)
  return tokenizer:encode("<|endoftext|>")[1] + 1
end

-- Positions begin as sines and cosines, so that "the token before" is easy to find.
local function sinusoids()
  local rows, half = {}, shape.width / 2
  for position = 0, shape.context - 1 do
    local row = {}
    for i = 0, half - 1 do
      local angle = position * 1000 ^ (-i / half)
      row[i + 1], row[half + i + 1] = spread.positions * math.sin(angle), spread.positions * math.cos(angle)
    end
    rows[position + 1] = row
  end
  return torch.tensor(rows) -- T C
end

-- A word with and without the space before it begin alike, but for one vector that all such pairs share; without this
-- the model learns slowly that "Mary" at the beginning of a text is the " Mary" to answer with.
local function align_words(embedding, tokenizer, vocabulary)
  local all, with, without, id_of = {}, {}, {}, {}
  for id = 0, vocabulary - 1 do all[id + 1] = id end
  local tokens = tokenizer:convert_ids_to_tokens(all)
  for i, token in ipairs(tokens) do id_of[token] = i - 1 end
  for i, token in ipairs(tokens) do
    local spaced = id_of["Ġ" .. token]
    if spaced then with[#with + 1], without[#without + 1] = spaced, i - 1 end
  end
  local from, to = torch.tensor(with, { dtype = "int64" }), torch.tensor(without, { dtype = "int64" })
  local difference = torch.randn(1, shape.width) * spread.tokens
  embedding:index_copy_(0, to, embedding:index_select(0, from) + difference)
end

local function initialize(net, tokenizer, vocabulary)
  local small = spread.weights / math.sqrt(2 * shape.layers) -- what is added to the residual stream
  torch.no_grad(function()
    for name, parameter in net:named_parameters() do
      if name:find("wte", 1, true) then
        nn.init.normal_(parameter, { mean = 0, std = spread.tokens })
        align_words(parameter, tokenizer, vocabulary)
      elseif name:find("wpe", 1, true) then
        parameter:copy_(sinusoids())
      elseif name:find("bias$") then
        nn.init.zeros_(parameter)
      elseif not name:find("ln_", 1, true) and not name:find("lm_head", 1, true) then
        nn.init.normal_(parameter, { mean = 0, std = name:find("c_proj", 1, true) and small or spread.weights })
      end
    end
  end)
end

local function new(vocabulary, options)
  local self = setmetatable({ steps = options.steps, step = 0, loss = nil, whole = true }, Trainee)
  self.net = gpt2.new(config_of(vocabulary))
  self.vocabulary = vocabulary
  self.parameters = self.net:parameters()
  self.optimizer = optim.AdamW(self.parameters, { lr = optimizer.lr, betas = optimizer.betas,
    weight_decay = optimizer.weight_decay })
  self.schedule = optim.cosine(self.optimizer, { warmup = math.min(optimizer.warmup, options.steps), steps = options.steps,
    min_lr = optimizer.min_lr })
  return self
end

--- A model that knows nothing yet.
---@param tokenizer table
---@param options { steps: integer, seed: integer }
---@return Trainee
function trainee.start(tokenizer, options)
  torch.manual_seed(options.seed)
  local self = new(trainee.vocabulary(tokenizer), options)
  initialize(self.net, tokenizer, self.vocabulary)
  self.random = Random.new(options.seed).state
  return self
end

---@return integer
function Trainee:parameter_count()
  local count = 0
  for _, parameter in ipairs(self.parameters) do count = count + parameter:numel() end
  return count
end

function Trainee:mix()
  for _, phase in ipairs(phases) do
    if self.step < phase.share * self.steps then return phase end
  end
  return phases[#phases]
end

--- One step: a batch, its gradient, an update.
---@param corpus Corpus
function Trainee:advance(corpus)
  corpus.random = Random.resume(self.random)
  local batch = corpus:batch(self:mix())
  local ids = torch.tensor(batch.inputs, { dtype = "int64" }):view(batch.rows, batch.length)
  local at = torch.tensor(batch.positions, { dtype = "int64" })
  local targets = torch.tensor(batch.targets, { dtype = "int64" })
  local weights = torch.tensor(batch.weights)

  local hidden = self.net.transformer(ids).last_hidden_state:flatten(0, 1) -- (rows length) C
  local logits = self.net.lm_head(hidden:index_select(0, at)) -- only where something is predictable
  local losses = torch.cross_entropy_loss(logits, targets, { reduction = 0 })
  local loss = (losses * weights):sum()
  self.optimizer:zero_grad()
  loss:backward()
  optim.clip_grad_norm(self.parameters, 1)
  local now = loss:item()

  self.whole = false
  self.optimizer:step()
  self.schedule:step()
  self.step, self.random = self.step + 1, corpus.random.state
  self.loss = self.loss and self.loss * 0.98 + now * 0.02 or now
  self.whole = true
end

-- The notes are one file, written whole or not at all: weights, the optimizer's two moments, and the numbers in its
-- metadata.
local function numbers_of(text)
  local list = {}
  for word in text:gmatch("%S+") do list[#list + 1] = tonumber(word) end
  return list
end

--- Writes all that is needed to go on.
---@param path string
function Trainee:save(path)
  local tensors = {}
  for name, parameter in self.net:named_parameters() do tensors["model." .. name] = parameter:detach() end
  for name, tensor in pairs(self.optimizer:state_dict()) do tensors["optimizer." .. name] = tensor end
  ls.safetensors.save(path, tensors, { metadata = {
    step = tostring(self.step), steps = tostring(self.steps), vocabulary = tostring(self.vocabulary),
    loss = ("%.17g"):format(self.loss or 0), random = table.concat(self.random, " "),
  } })
end

--- A model as `save` left it. The number of steps is that of the notes: the schedule hangs on it.
---@param path string
---@return Trainee
function trainee.resume(path)
  local file = ls.safetensors.open(path)
  local notes, state = file:metadata(), {}
  local self = new(tonumber(notes.vocabulary), { steps = tonumber(notes.steps) })
  torch.no_grad(function()
    for name, parameter in self.net:named_parameters() do parameter:copy_(file:get("model." .. name)) end
  end)
  for _, name in ipairs(file:keys()) do
    local key = name:match("^optimizer%.(.*)")
    if key then state[key] = file:get(name) end
  end
  self.optimizer:load_state_dict(state)
  self.step, self.loss, self.random = tonumber(notes.step), tonumber(notes.loss), numbers_of(notes.random)
  for _ = 1, self.step do self.schedule:step() end
  return self
end

--- Writes config.json and model.safetensors as transformers would.
---@param folder string
function Trainee:write_model(folder)
  local tensors, lines, config = {}, {}, config_of(self.vocabulary)
  for name, parameter in self.net:named_parameters() do
    if name ~= "lm_head.weight" then tensors[name] = parameter:detach() end -- tied to the embedding
  end
  ls.safetensors.save(folder .. "/model.safetensors", tensors, { metadata = { format = "pt" } })
  for key, value in pairs(config) do
    local text = type(value) == "string" and ('"%s"'):format(value) or type(value) == "table" and ('["%s"]'):format(value[1])
      or type(value) == "number" and ("%.12g"):format(value) or tostring(value)
    lines[#lines + 1] = ('  "%s": %s'):format(key, text)
  end
  table.sort(lines)
  write(folder .. "/config.json", "{\n" .. table.concat(lines, ",\n") .. "\n}\n")
end

return trainee
