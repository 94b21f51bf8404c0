--- Text generation: a run that is driven step by step, by a trace or by the loop at the end of this file.
---
---     local run = generation.start(net, settings, { input_ids = ids, attention_mask = mask })
---     local arguments = run:arguments()
---     while arguments do arguments = run:advance(net(arguments).logits) end
---     local text = run:text()
---
--- Step 0 reads the prompt; with a cache, each later step reads one token. Row b of the prompt has the rows b k .. b k + k
--- - 1 of the run, where k is num_beams or num_return_sequences.
---
--- Axes: B prompts, R rows of the run, T prompt, S tokens so far, N the largest number of tokens, V vocabulary.
local beams = require "luasight.lm.generation.beams"
local binding = require "luasight.ffi"
local choose = require "luasight.lm.generation.choose"
local operators = require "luasight.tensor.operators"
local pieces = require "luasight.lm.generation.detokenizer"
local record = require "luasight.nn.record"
local settings = require "luasight.lm.generation.settings"
local torch = require "luasight.tensor.torch"

local generation = { names = settings.names, settings = settings.read, lengths = settings.lengths }

-- ---- memory ----------------------------------------------------------------------------------------------------------

---Returns `t:narrow(axis, 0, length)` as a handle whose bytes are not counted: they belong to the cache, which is counted
---once.
local function first(t, axis, length) return operators.call_view(operators.get "narrow", t, axis, 0, length) end

---Returns a tensor for N tokens that begins with the prompt.
local function with_room(prompt, N, fill) -- R T -> R N
  local room = prompt:new_full({ prompt:size(0), N }, fill)
  first(room, 1, prompt:size(1)):copy_(prompt)
  return room
end

-- ---- the run ---------------------------------------------------------------------------------------------------------

---@class luasight.GenerationRun
---@field rows integer    the number of rows that the model runs
---@field steps integer   the largest number of steps
---@field step integer    the number of steps that have run
---@field prompt integer  T
---@field length integer  S
---@field settings luasight.GenerationSettings
---@field least integer   the number of new tokens before which no text ends
---@field ids any         R N
---@field mask any        R N, 0 at padding; nil where there is no padding
---@field net table        the network
---@field encoded table?    the input of the encoder, where there is one: input_ids and attention_mask, R positions
---@field offset integer    the number of the encoder's positions, which are the first in the cache
---@field cache any       see models/cache.lua; nil: each step reads the whole text
---@field axes luasight.CacheAxes  the axes of the cache
---@field pads table<integer, true>?  the numbers of padding tokens in rows; nil: the cache serves texts of any length
---@field endings any     the ids that end a text; nil where there are none
---@field ended any       R, true where the text has ended; nil: no text can end, or there are beams
---@field before any      R, true where the text had ended before the last step
---@field seed integer?   the seed of sampling
---@field over boolean?
---@field beams luasight.Beams?
local Run = {}
Run.__index = Run

local function refuse(message, hint) binding.raise("argument", message, { hint = hint }) end

local function pads_of(mask, T)
  local pads = {}
  for _, real in ipairs(mask and mask:ne(0):sum(-1):tolist() or { T }) do pads[T - real] = true end
  return pads
end

---Begins a generation; the model has not run yet.
---@param net table                              the network; its method `new_cache`, if there is one, makes the cache
---@param s luasight.GenerationSettings
---@param inputs { input_ids: any, attention_mask: any? }  B T; int64 ids; the mask is 0 at padding, which is on the left
---@return luasight.GenerationRun
function generation.start(net, s, inputs)
  for name in pairs(inputs) do
    if name ~= "input_ids" and name ~= "attention_mask" then
      refuse(("a generation has no input %s"):format(tostring(name)), "its inputs are input_ids and attention_mask")
    end
  end
  local ids, mask = inputs.input_ids, inputs.attention_mask
  if not ids then refuse "a generation needs input_ids" end
  local k, encoded = math.max(s.num_beams, s.num_return_sequences), nil
  if k > 1 then
    ids = ids:repeat_interleave(k, 0)
    mask = mask and mask:repeat_interleave(k, 0)
  end
  if net.start_token then -- the network has an encoder, which reads the prompt
    encoded = { input_ids = ids, attention_mask = mask }
    ids, mask = ids:new_full({ ids:size(0), 1 }, net:start_token()), nil
  end
  local T = ids:size(1)
  local steps, least = settings.lengths(s, T)
  local R = ids:size(0)
  local run = setmetatable({ net = net, rows = R, steps = steps, step = 0, prompt = T, length = T, settings = s, least = least,
    ids = with_room(ids, T + steps, s.pad), mask = mask and with_room(mask, T + steps, 1),
    encoded = encoded, offset = encoded and encoded.input_ids:size(1) or 0 }, Run)
  if net.new_cache and s.use_cache ~= false then
    run.cache, run.axes = net:new_cache(R, T + steps - 1, run.offset), net.cache_axes
    run.pads = net.rereads and pads_of(mask, T)
  end
  if #s.ends > 0 then run.endings = torch.tensor(s.ends, { dtype = "int64", device = ids.device }) end
  if s.num_beams > 1 then
    run.beams = beams.new(run)
  elseif #s.ends > 0 or #s.stop_strings > 0 then
    run.ended = torch.zeros({ R }, { dtype = "bool", device = ids.device })
  end
  if s.do_sample then run.seed = s.seed or choose.seed() end
  return run
end

---Returns whether the cache does not serve a text of this length, so that the text has to be read again.
local function rereads(run)
  for pad in pairs(run.pads or {}) do
    if run.net:rereads(run.length - pad) then return true end
  end
  return false
end

---Returns the arguments of the model for the next step.
---@return table  # input_ids, attention_mask where rows are padded, cache and continues where there is a cache
function Run:arguments()
  local S, continues = self.length, self.cache and self.step > 0 and not rereads(self) or nil
  local ids = continues and self.ids:narrow(1, S - 1, 1) or first(self.ids, 1, S)
  local cache, axis = self.cache, self.axes and self.axes.positions
  if axis then cache = first(cache, axis, self.offset + S) end
  local encoded = self.encoded
  return {
    input_ids = encoded and encoded.input_ids or ids,
    decoder_input_ids = encoded and ids,
    attention_mask = encoded and encoded.attention_mask or self.mask and first(self.mask, 1, S),
    cache = cache,
    continues = continues,
  }
end

---Returns the tokens so far; in place of padding it has a token that the row contains anyway.
local function history(run) -- R S
  local ids = first(run.ids, 1, run.length)
  if not run.mask then return ids end
  return torch.where(first(run.mask, 1, run.length):ne(0), ids, ids[":, -1:"])
end

---Returns the scores of the next token, adjusted but not yet filtered.
local function scores_of(run, logits) -- R T V -> R V
  local s, last = run.settings, logits:select(1, -1)
  if run.beams then last = last:float():log_softmax(-1)
  elseif s.do_sample or s.repetition_penalty ~= 1 then last = last:float() end
  return choose.adjust(last, s.repetition_penalty ~= 1 and history(run) or nil, run.step < run.least, s)
end

---Returns which rows of `ids` (R S) a stop string ends, as a list of numbers for a tensor; nil where no row ends.
local function stopped(run, ids)
  local s, found = run.settings, nil
  local reach = math.min(pieces.reach(s.stop_strings), ids:size(1))
  local flags, tokenizer = {}, s.tokenizer()
  for i, row in ipairs(ids:narrow(1, -reach, reach):tolist()) do
    flags[i] = pieces.stops(tokenizer, s.stop_strings, row)
    found = found or flags[i]
  end
  return found and flags or nil
end

---Returns which rows end with the last of these tokens.
---@param ids any  R S
---@return any     # R, booleans; nil where no text can end
function Run:endings_of(ids)
  local ends
  if self.endings then ends = torch.isin(ids:select(1, -1), self.endings) end
  if #self.settings.stop_strings > 0 then
    local flags = stopped(self, ids)
    if flags then
      flags = torch.tensor(flags, { device = ids.device })
      ends = ends and ends:logical_or(flags) or flags
    end
  end
  return ends
end

local function next_of_rows(run, scores)
  local s = run.settings
  if not s.do_sample then return scores:argmax(-1) end
  local left, ids = choose.filter(scores, s)
  return choose.draw(left, ids, choose.uniform(run.seed, run.rows, run.step))
end

---Appends one token to every row; returns whether any text continues.
local function append(run, logits)
  local scores = scores_of(run, logits)
  if run.beams then return run.beams:append(run, scores) end
  local chosen = next_of_rows(run, scores) -- R
  run.before = run.ended
  if run.ended then chosen = chosen:masked_fill(run.ended, run.settings.pad) end
  run.ids:select(1, run.length):copy_(chosen)
  run.length, run.step = run.length + 1, run.step + 1
  if not run.ended then return run.step < run.steps end
  local ends = run:endings_of(first(run.ids, 1, run.length))
  if ends then run.ended = run.ended:logical_or(ends) end
  return run.step < run.steps and not run.ended:all():item()
end

---Takes the logits of the step that has run, and appends the tokens.
---@param logits any  R T V; those of the last position are used
---@return table?     # the arguments for the next step; nil: all texts have ended
function Run:advance(logits)
  if self.over then binding.raise("state", "this generation has already ended") end
  local goes_on = torch.no_grad(append, self, logits)
  self.over = not goes_on
  return goes_on and self:arguments() or nil
end

---Returns the prompt with the new tokens; rows that ended early are filled with the pad token.
---@return any  # B num_return_sequences, T + new
function Run:text()
  if self.beams then return self.beams:text() end
  return first(self.ids, 1, self.length)
end

---Returns the tokens of the last step, one for each row; false for a text that had ended before.
---@return (integer|false)[]
function Run:new_tokens()
  if self.beams then refuse("a search with beams has no tokens before it has ended", "use num_beams = 1") end
  local ids, ended = self.ids:select(1, self.length - 1):tolist(), self.before and self.before:tolist()
  for i = 1, ended and #ids or 0 do
    if ended[i] then ids[i] = false end
  end
  return ids
end

-- ---- without a trace -------------------------------------------------------------------------------------------------

---Runs the model once; returns its logits, only those of the last position where the network can.
local function forward(net, arguments)
  if net.new_cache and not arguments.continues then arguments.logits_to_keep = 1 end
  return record.run(net, arguments).logits
end

---Runs a generation to its end.
---@param net table
---@param s luasight.GenerationSettings
---@param inputs { input_ids: any, attention_mask: any? }
---@return any  # B num_return_sequences, T + new
function generation.generate(net, s, inputs)
  local run = generation.start(net, s, inputs)
  local arguments = run:arguments()
  while arguments do arguments = run:advance(forward(net, arguments)) end
  return run:text()
end

---Iterates over the steps of a generation of one text: `for id, text in ...`. The text has whole characters only: it is ""
---while a character is not complete and for special tokens, and nil where there is no tokenizer.
---@param net table
---@param s luasight.GenerationSettings
---@param inputs { input_ids: any, attention_mask: any? }
---@return fun(): integer?, string?
function generation.stream(net, s, inputs)
  local run = generation.start(net, s, inputs)
  if run.beams or run.rows > 1 then refuse("a stream generates one text, not several", "use model:generate for several") end
  local arguments, text = run:arguments(), s.tokenizer and pieces.new(s.tokenizer())
  return function()
    if not arguments then return nil end
    arguments = run:advance(forward(net, arguments))
    local id = run:new_tokens()[1]
    return id, text and text:add(id, not arguments)
  end
end

return generation
