--- `luasight generate FOLDER PROMPT`: continues a text and prints each token as soon as it is generated.
local failure = require "luasight.base.error"
local usage = require "luasight.command.options"

local generate = { about = "continues a text with a language model, token by token as they come",
  arguments = { "FOLDER", "PROMPT" },
  options = {
    { "--max-new-tokens", "how many tokens at most; as the folder says, else 20", value = "N", number = true },
    { "--max-length", "the same with the prompt's", value = "N", number = true },
    { "--min-new-tokens", "the text does not end before", value = "N", number = true },
    { "--min-length", "the same with the prompt's", value = "N", number = true },
    { "--do-sample", "draws tokens by their probability, instead of the most likely one" },
    { "--temperature", "above 1 more even, below 1 less", value = "X", number = true },
    { "--top-k", "only the K most likely are drawn; 0: all", value = "K", number = true },
    { "--top-p", "only the most likely that together have this share", value = "P", number = true },
    { "--seed", "of the drawing: the same seed gives the same text", value = "N", number = true },
    { "--repetition-penalty", "above 1: tokens that were there are less likely", value = "X", number = true },
    { "--num-beams", "a search with so many beams", value = "N", number = true },
    { "--num-return-sequences", "several texts", value = "N", number = true },
    { "--length-penalty", "of beams: above 0 for longer texts", value = "X", number = true },
    { "--early-stopping", "of beams: ends with the first whole ones" },
    { "--stop-strings", "ends behind this text; may be given several times", value = "TEXT", list = true },
    { "--eos-token-id", "the token that ends a text; may be given several times", value = "ID", number = true, list = true },
    { "--pad-token-id", "what fills texts that ended early", value = "ID", number = true },
    { "--no-cache", "reads the whole text at every step" },
    { "--device", '"auto", "cpu", "cuda", "cuda:1"', value = "DEVICE", default = "cpu" },
    { "--dtype", "of the weights, that of the file unless told", value = "DTYPE" },
    { "--json", "an object for programs, once all is there" },
  } }

local not_of_generation = { device = true, dtype = true, json = true, ["no-cache"] = true }

-- Returns the options of the command as options of model:generate, under the names used there.
local function settings_of(options)
  local settings = {}
  if options["no-cache"] then settings.use_cache = false end
  for name, value in pairs(options) do
    if not not_of_generation[name] then settings[(name:gsub("-", "_"))] = value end
  end
  return settings
end

-- Calls `f`, and turns its error about a wrong argument into an error that names the command's options.
local function checked(f, ...)
  local function hand_on(ok, ...)
    if ok then return ... end
    local e = ...
    if failure.is(e) and e.code == "argument" then
      local text = failure.line(e):gsub("^a generation: ", "") -- the error begins with the command's name instead
      usage.fail("generate: " .. usage.translate(generate, text))
    end
    error(e, 0)
  end
  return hand_on(pcall(f, ...))
end

-- ---- one text, printed as it is generated ------------------------------------------------------------------------------

---Generates one text and calls `show` with each new part of the text; returns the generated text and its token ids.
---@param model userdata
---@param ids integer[]
---@param settings table
---@param show fun(piece: string)
---@return { text: string, ids: integer[] }
local function stream(model, ids, settings, show)
  local pieces, new = {}, {}
  for id, piece in checked(model.stream, model, ids, settings) do
    new[#new + 1], pieces[#pieces + 1] = id, piece
    show(piece)
  end
  return { text = table.concat(pieces), ids = new }
end

-- ---- several texts -----------------------------------------------------------------------------------------------------

---Generates several texts, or one with beam search; returns each generated text with its token ids.
---@param model userdata
---@param ids integer[]
---@param settings table
---@return { text: string, ids: integer[] }[]
local function several(model, ids, settings)
  local texts = {}
  for i, row in ipairs(checked(model.generate, model, ids, settings):tolist()) do
    local new = { unpack(row, #ids + 1) }
    texts[i] = { text = model.tokenizer:decode(new, { skip_special_tokens = true }), ids = new }
  end
  return texts
end

-- ---- the command -------------------------------------------------------------------------------------------------------

local function write(text)
  io.write(text)
  io.flush()
end

local function nothing() end

---Continues the prompt `arguments[2]` with the model in the folder `arguments[1]`, and prints the text.
---@param arguments string[]
---@param options table
function generate.run(arguments, options)
  local prompt = arguments[2]
  local folder = require "luasight.lm.hub".locate(arguments[1], { model = true, weights = true, tokenizer = true })
  local ls = require "luasight"
  local model = ls.LanguageModel(folder, { device = options.device, dtype = options.dtype })
  local ids, settings = model.tokenizer:encode(prompt), settings_of(options)
  if #ids == 0 then failure.raise("argument", "the prompt has no tokens: give a text that is not empty") end
  local checkpoint = require "luasight.files.checkpoint"
  local usual = checkpoint.generation_config(folder) or checkpoint.config(folder)
  local function one(name) return (settings[name] or usual[name] or 1) == 1 end
  local texts
  if one "num_beams" and one "num_return_sequences" then
    texts = { stream(model, ids, settings, options.json and nothing or write) }
    if not options.json then print() end
  else
    texts = several(model, ids, settings)
    for _, text in ipairs(options.json and {} or texts) do print(text.text) end
  end
  if options.json then
    print(require "cjson".encode { folder = folder, prompt = prompt, prompt_ids = ids, texts = texts })
  end
end

return generate
