--- `luasight lens FOLDER PROMPT`: the logit lens, which shows for each layer the next tokens that the model would predict if it
--- stopped after this layer.
local failure = require "luasight.base.error"

local lens = { about = "what a language model would say if it stopped after each layer", arguments = { "FOLDER", "PROMPT" },
  options = {
    { "--top", "how many tokens of each layer", value = "K", number = true, default = 3 },
    { "--position", "the position that is read; negative ones count from the end", value = "I", number = true, default = -1 },
    { "--device", '"auto", "cpu", "cuda", "cuda:1"', value = "DEVICE", default = "cpu" },
    { "--dtype", "of the weights, that of the file unless told", value = "DTYPE" },
    { "--json", "an object for programs" },
    { "--out", "a heat map of all positions: its name ends in .svg, .png, .html or .txt", value = "FILE" },
  } }

-- ---- reading the model -------------------------------------------------------------------------------------------------

---Returns the model's norm between the last layer and the head; nil where each layer normalizes its own output instead.
local function norm_of(model)
  local has, norm = pcall(function() return model.norm end)
  return has and norm or nil
end

---Returns the probabilities and ids of the k most likely next tokens: at [0] after the embedding, at [i] after i layers.
---`place` is the index into the residual stream (1 T C), such as "0, 5" for position 5.
local function tops_at(model, prompt, k, place)
  local norm, head = norm_of(model), model.head
  local tops = {}
  model:trace(prompt, function()
    local function read(h)
      local x = h[place]
      local values, ids = head(norm and norm(x) or x):float():softmax(-1):topk(k)
      return { values:save(), ids:save() }
    end
    tops[0] = read(model.layers[0].resid_pre)
    for i, layer in model.layers:each() do tops[i + 1] = read(layer.resid_post) end
  end)
  return tops
end

---Returns a list for the embedding and one for each layer: the k most likely next tokens there, each as
---{ token, id, probability }.
local function look(model, prompt, k, position)
  local tops, layers = tops_at(model, prompt, k, ("0, %d"):format(position)), {}
  for i = 0, #tops do
    local values, ids = tops[i][1]:tolist(), tops[i][2]:tolist()
    local list = {}
    for n = 1, k do list[n] = { token = model.tokenizer:decode { ids[n] }, id = ids[n], probability = values[n] } end
    layers[i + 1] = { after = i == 0 and "embedding" or i - 1, top = list }
  end
  return layers
end

---Draws a heat map of the most likely next token after each layer (row) at each position (column), and saves it to `path`.
local function draw(model, prompt, path)
  local tops, tokenizer = tops_at(model, prompt, 1, "0"), model.tokenizer
  local values, text, rows, columns = {}, {}, {}, {}
  for i = 0, #tops do
    values[i + 1], text[i + 1], rows[i + 1] = {}, {}, i == 0 and "embedding" or "layer " .. i - 1
    for k, one in ipairs(tops[i][1]:tolist()) do values[i + 1][k] = one[1] end
    for k, one in ipairs(tops[i][2]:tolist()) do text[i + 1][k] = tokenizer:decode { one[1] } end
  end
  for k, id in ipairs(prompt) do columns[k] = tokenizer:decode { id } end
  local plot = require "luasight.view.plot"
  plot.heatmap(values, { title = "Most likely next token after each layer", rows = rows, columns = columns,
    text = text, x = "after reading", value = "probability", range = { 0, 1 } }):save(path)
end

local function quoted(text) return ("%q"):format(text):gsub("\\\n", "\\n") end

local function columns(text) return select(2, text:gsub("[^\128-\191]", "")) end

local function print_layers(layers)
  local width = 0
  for _, layer in ipairs(layers) do
    for _, guess in ipairs(layer.top) do width = math.max(width, columns(quoted(guess.token))) end
  end
  for _, layer in ipairs(layers) do
    local cells = {}
    for i, guess in ipairs(layer.top) do
      local text = quoted(guess.token)
      cells[i] = ("%s%s %.3f"):format(text, (" "):rep(width - columns(text)), guess.probability)
    end
    print(("%-10s %s"):format(tonumber(layer.after) and "layer " .. layer.after or layer.after, table.concat(cells, "   ")))
  end
end

---Prints the most likely next tokens after each layer, for the model folder and the prompt in `arguments`.
---@param arguments string[]
---@param options { top: number, position: number, device: string, dtype: string?, json: boolean?, out: string? }
function lens.run(arguments, options)
  local folder, prompt = arguments[1], arguments[2]
  local ls, usage = require "luasight", require "luasight.command.options"
  if options.top < 1 or options.top % 1 ~= 0 then usage.fail "lens: --top is a whole number above 0" end
  if options.position % 1 ~= 0 then usage.fail "lens: --position is a whole number" end
  local model = ls.LanguageModel(folder, { device = options.device, dtype = options.dtype })
  local ids = model.tokenizer:encode(prompt)
  if #ids == 0 then failure.raise("argument", "the prompt has no tokens: give a text that is not empty") end
  local position = options.position < 0 and options.position + #ids or options.position
  if position < 0 or position >= #ids then
    failure.raise("index", ("the prompt has %d tokens, so there is no position %d"):format(#ids, options.position))
  end
  local vocabulary = model.config.vocab_size
  if options.top > vocabulary then
    failure.raise("index", ("--top is %d, but the model has only %d tokens"):format(options.top, vocabulary))
  end
  local layers = look(model, ids, options.top, position)
  if options.out then draw(model, ids, options.out) end
  if options.json then
    local tokens = model.tokenizer:convert_ids_to_tokens(ids)
    return print(require "cjson".encode { folder = folder, tokens = tokens, position = position, layers = layers })
  end
  print(("after position %d, %s:"):format(position, quoted(model.tokenizer:decode { ids[position + 1] })))
  print_layers(layers)
end

return lens
