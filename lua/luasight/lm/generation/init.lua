--- Text generation: a generation run holds the text so far and tells an engine, step by step, to run the model. There are two
--- engines: the model alone (at the end of this file), and a pass of a trace (trace/batch.lua), where a script's body or stored
--- edits act on the model.
---
---     local run = generation.start(net, settings, { input_ids = ids, attention_mask = mask })
---     run:begin(engine)         calls engine:begin(0, arguments)
---     run:take(engine, logits)  adds a token to each text; calls engine:begin(step, arguments) or engine:finish()
---     local text = run:text()
---
--- Step 0 reads the prompt; with a cache, each later step reads one token. Prompt b has the rows from b k to b k + k - 1 of
--- the run, where k is the larger of num_beams and num_return_sequences.
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
local unread = require "luasight.lm.generation.unread"

local generation = { names = settings.names, settings = settings.read, lengths = settings.lengths }

-- ---- memory ----------------------------------------------------------------------------------------------------------

---Returns the view `t:narrow(axis, 0, length)` of the cache `t`. The view's bytes are not counted as new memory, since they are
---the memory of the cache, which is counted already.
local function first(t, axis, length) return operators.call_view(operators.get "narrow", t, axis, 0, length) end

---Returns a tensor with room for N tokens, which begins with the prompt and is filled with `fill` behind it.
local function with_room(prompt, N, fill) -- R T -> R N
  local room = prompt:new_full({ prompt:size(0), N }, fill)
  first(room, 1, prompt:size(1)):copy_(prompt)
  return room
end

-- ---- the run ---------------------------------------------------------------------------------------------------------

---@class luasight.GenerationRun  the state of a generation
---@field rows integer    the number of rows that the model runs
---@field steps integer   the largest number of steps
---@field step integer    the number of steps that have run
---@field prompt integer  T, the number of tokens of the prompt
---@field length integer  S, the number of tokens so far
---@field settings luasight.GenerationSettings
---@field least integer   the number of new tokens before which no text ends
---@field ids any         R N, the tokens so far, and room for further ones
---@field mask any        R N, 0 at padding; nil where there is no padding
---@field net table        the network
---@field encoded table?    the input of the encoder, where there is one: input_ids and attention_mask, R positions
---@field offset integer    the number of the encoder's positions, which are the first in the cache
---@field cache any       see models/luasight/models/parts/cache.lua; nil: there is none, and each step reads the whole text
---@field axes luasight.CacheAxes  the axes of the cache
---@field pads table<integer, true>?  a set, as keys: the numbers of padding tokens that the rows have. From them `rereads`
---  computes the lengths of the texts; nil for a network whose cache is valid at every length
---@field endings any     the ids that end a text; nil where there are none
---@field ended any       R, true where the text has ended; nil: no text can end, or there are beams
---@field before any      R, true where the text had ended before the last step
---@field seed integer?   the seed of sampling
---@field over boolean?      true: all texts have ended
---@field continued boolean?  whether the present step reads the cache
---@field watched boolean?    see generation/unread.lua, as for `uncrossed`
---@field uncrossed integer[]?  the layers that left out the encoder's positions
---@field beams luasight.Beams?  the state of a beam search; nil without one
local Run = {}
Run.__index = Run

local function refuse(message, hint) binding.raise("argument", message, { hint = hint }) end

local function pads_of(mask, T)
  local pads = {}
  for _, real in ipairs(mask and mask:ne(0):sum(-1):tolist() or { T }) do pads[T - real] = true end
  return pads
end

---Raises an error where a row of the mask ends with padding: a decoder chooses the next token at the last column.
local function check_ends(mask)
  local ends = mask:select(1, -1):ne(0)
  if ends:all():item() then return end
  refuse(("a text is continued behind its last token, but the attention_mask of row %d leaves the last column out"):format(
    ends:int():argmin():item()), "pad on the left, or pass lists of ids without a mask: they are padded so")
end

---Makes the state of a generation; the model does not run yet.
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
  if mask and not net.start_token then check_ends(mask) end
  local k, encoded = math.max(s.num_beams, s.num_return_sequences), nil
  if k > 1 then
    ids = ids:repeat_interleave(k, 0)
    mask = mask and mask:repeat_interleave(k, 0)
  end
  if net.start_token then -- the network has an encoder, which reads the prompt
    encoded = { input_ids = ids, attention_mask = mask }
    ids, mask = ids:new_full({ ids:size(0), 1 }, s.start or net:start_token()), nil
  end
  local T = ids:size(1)
  local steps, least = settings.lengths(s, T)
  local R = ids:size(0)
  local run = setmetatable({ net = net, rows = R, steps = steps, step = 0, prompt = T, length = T, settings = s, least = least,
    ids = with_room(ids, T + steps, s.pad), mask = mask and with_room(mask, T + steps, 1),
    encoded = encoded, offset = encoded and encoded.input_ids:size(1) or 0 }, Run)
  if net.new_cache and s.use_cache ~= false then
    run.cache, run.axes = net:new_cache(R, T + steps - 1, run.offset), net.cache_axes
    if s.use_cache and not run.cache then
      refuse("use_cache: the layers differ in the heads of their attentions, and a cache has one size for all",
        "leave the option out: each step then reads the whole text")
    end
    run.axes, run.pads = run.cache and run.axes, run.cache and net.rereads and pads_of(mask, T)
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

---Returns whether the next step has to read the whole text again, because the keys in the cache are wrong for a text of the
---present length. This happens where rotary angles depend on the length of the text.
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
  self.continued = continues
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

---Returns the tokens so far, for repetition_penalty; padding is replaced by a token that the same row contains anyway.
local function history(run) -- R S
  local ids = first(run.ids, 1, run.length)
  if not run.mask then return ids end
  return torch.where(first(run.mask, 1, run.length):ne(0), ids, ids[":, -1:"])
end

---Returns for each row the score of every token of the vocabulary as the next one. The repetition penalty and the least length
---have been applied to the scores (choose.adjust); the filters of sampling, such as top_k, have not.
local function scores_of(run, logits) -- R T V -> R V
  local s, last = run.settings, logits:select(1, -1)
  if run.beams then last = last:float():log_softmax(-1)
  elseif s.do_sample or s.repetition_penalty ~= 1 then last = last:float() end
  return choose.adjust(last, s.repetition_penalty ~= 1 and history(run) or nil, run.step < run.least, s)
end

---Returns a list that says for each row of `ids` (R S) whether its last token completes a stop string; nil where none does.
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

---Returns for each row of token ids whether the row's last token ends the row's text.
---@param ids any  R S
---@return any     # R, booleans; nil where no text ends
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

---Chooses a token for every row from the logits and appends it; returns whether any text continues.
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

---Chooses the next tokens by the logits of the step that has run, and appends them to the texts.
---@param logits any  R T V; those of the last position are used
---@return table?     # the model's arguments for the next step; nil: all texts have ended
function Run:advance(logits)
  if self.over then binding.raise("state", "this generation has already ended: start a new one") end
  local goes_on = torch.no_grad(append, self, logits)
  self.over = not goes_on
  return goes_on and self:arguments() or nil
end

---@class luasight.GenerationEngine  runs the model for a generation
---@field begin fun(engine: luasight.GenerationEngine, step: integer, arguments: table)  called before each step, with the
---  model's arguments for the step
---@field finish fun(engine: luasight.GenerationEngine)  called after the last step

---Calls an engine's method `begin` for the first step.
---@param engine luasight.GenerationEngine
function Run:begin(engine) engine:begin(0, self:arguments()) end

---Watches the next step, and those behind it, for reads of what no step has written to the cache.
function Run:watch() unread.watch(self) end

---Appends the tokens that follow from the logits of the step that ran; then calls the engine's method `begin` for the next
---step, or `finish` where all texts have ended.
---@param engine luasight.GenerationEngine
---@param logits any  R T V
function Run:take(engine, logits)
  unread.check(self, logits)
  local arguments = self:advance(logits)
  if arguments then engine:begin(self.step, arguments) else engine:finish() end
end

---Returns the prompts with the new tokens; rows whose text ended early are filled with the pad token.
---@return any  # (B num_return_sequences) x (T + new tokens), token ids
function Run:text()
  if self.beams then return self.beams:text() end
  return first(self.ids, 1, self.length)
end

---Returns a list that says for each row whether its text, or with beams the search for it, has ended; nil where none can.
---@return boolean[]?
function Run:ended_rows()
  if self.beams then return self.beams.over:repeat_interleave(self.settings.num_beams, 0):flatten():tolist() end
  return self.ended and self.ended:tolist()
end

---Returns the ids of the tokens that the last step appended, one for each row; false for a row whose text had ended before.
---@return (integer|false)[]
function Run:new_tokens()
  if self.beams then refuse("a search with beams has no tokens before it has ended", "use num_beams = 1") end
  local ids, ended = self.ids:select(1, self.length - 1):tolist(), self.before and self.before:tolist()
  for i = 1, ended and #ids or 0 do
    if ended[i] then ids[i] = false end
  end
  return ids
end

-- ---- the model alone -------------------------------------------------------------------------------------------------

---@class luasight.GenerationSteps  a generation whose steps run one by one
---@field run luasight.GenerationRun
---@field step fun(steps: luasight.GenerationSteps): boolean  runs one step; returns false where no step is left

---@class luasight.ModelAlone: luasight.GenerationEngine, luasight.GenerationSteps  runs the model without a trace
---@field arguments table?  the model's arguments for the next step; nil after the last step
local Alone = {}
Alone.__index = Alone

function Alone:begin(_, arguments) self.arguments = arguments end
function Alone:finish() self.arguments = nil end

---Runs one step; only the logits of the last position are computed where the network can leave out the others.
function Alone:step()
  local net, arguments = self.run.net, self.arguments
  if not arguments then return false end
  if net.new_cache and not arguments.continues then arguments.logits_to_keep = 1 end
  self.run:take(self, record.run(net, arguments).logits)
  return true
end

---Begins a generation without a trace, in which no body and no stored edits act on the model.
---@param net table
---@param s luasight.GenerationSettings
---@param inputs { input_ids: any, attention_mask: any? }
---@return luasight.GenerationSteps
function generation.alone(net, s, inputs)
  local steps = setmetatable({ run = generation.start(net, s, inputs) }, Alone)
  steps.run:begin(steps)
  return steps
end

-- ---- text and tokens of the steps -------------------------------------------------------------------------------------

---Runs all steps of a generation; returns the texts.
---@param steps luasight.GenerationSteps
---@return any  # (B num_return_sequences) x (T + new tokens), token ids
function generation.text(steps)
  while steps:step() do end -- luacheck: ignore
  return steps.run:text()
end

---Iterates over the steps of a generation of one text: `for id, text in ...` gets each new token and the new text. The text has
---whole characters only: it is "" while a character is not complete and for special tokens. Without a tokenizer it is nil.
---@param steps luasight.GenerationSteps
---@return fun(): integer?, string?
function generation.tokens(steps)
  local run = steps.run
  if run.beams or run.rows > 1 then refuse("a stream generates one text, not several", "use model:generate for several") end
  local text = run.settings.tokenizer and pieces.new(run.settings.tokenizer())
  return function()
    if not steps:step() then return nil end
    local id = run:new_tokens()[1]
    return id, text and text:add(id, run.over)
  end
end

return generation
