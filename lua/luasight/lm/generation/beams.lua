--- Beam search, step by step as in transformers: for each prompt, the k best unfinished texts (the beams) are continued, and
--- the k best finished texts are kept.
---
--- Axes: B prompts, k beams of each prompt, R = B k rows of the generation, K candidates of each prompt, N the largest number
--- of tokens, V vocabulary.
local torch = require "luasight.tensor.torch"
local unread = require "luasight.lm.generation.unread"

local beams = {}

local NEVER = -1e9 -- the score of a candidate that cannot be chosen, as in transformers

---@class luasight.Beams  the state of a beam search
---@field run luasight.GenerationRun
---@field scores any    B k, the sums of log probabilities of the unfinished texts
---@field texts any     B k N, the finished texts, the best first
---@field ended any     B k, true where a place of `texts` has a finished text
---@field ranks any     B k, the scores of the finished texts, with length_penalty applied
---@field lengths any   B k, the numbers of new tokens of the finished texts
---@field over any      B 1, true where the search has ended
---@field hope any      B 1, true where an unfinished text could still become one of the k best finished ones
local Beams = {}
Beams.__index = Beams

---Makes the state of a beam search before its first step.
---@param run luasight.GenerationRun
---@return luasight.Beams
function beams.new(run)
  local k, device = run.settings.num_beams, run.ids.device
  local B = run.rows / k
  local function filled(value, dtype) return torch.full({ B, k }, value, { dtype = dtype, device = device }) end
  local scores = filled(NEVER, "float32")
  scores[":, 0"] = 0 -- at first all beams are the prompt, so only the first one is continued
  return setmetatable({ run = run, scores = scores, texts = run.ids:view(B, k, -1), ended = filled(false, "bool"),
    ranks = filled(NEVER, "float32"), lengths = filled(0, "int64"),
    hope = torch.ones({ B, 1 }, { dtype = "bool", device = device }),
    over = torch.zeros({ B, 1 }, { dtype = "bool", device = device }) }, Beams)
end

---Returns for each prompt b the elements of x[b] with the indices at[b], from 0; `of` is the number of elements of x[b].
local function pick(x, at, of) -- B of ..., B n -> B n ...
  local B, n = at.shape[0], at.shape[1]
  local flat = (at + torch.arange(0, B * of, of, { device = at.device }):unsqueeze(1)):flatten()
  return x:flatten(0, 1):index_select(0, flat):unflatten(0, { B, n })
end

---Returns the K best continuations of each prompt's beams by one token: their scores (B K), the indices of the beams that
---they continue (B K, from 0), and their texts (B K N).
local function candidates(self, scores) -- B k V
  local run, s = self.run, self.run.settings
  local k, V = s.num_beams, scores.shape[2]
  local K = math.min(math.max(2, 1 + #s.ends) * k, k * V)
  local best, at = (scores + self.scores:unsqueeze(-1)):flatten(1):topk(K, 1) -- B K
  local from = at:div(V, { rounding_mode = "floor" }) -- B K, the index of the beam that each candidate continues
  local texts = pick(run.ids:unflatten(0, { scores.shape[0], k }), from, k) -- B K N
  texts:select(2, run.length):copy_(at:remainder(V))
  return best, from, texts
end

---Keeps the k best finished texts of each prompt: candidates that end here (true in `ends`) replace finished texts with a lower
---score.
local function keep_ended(self, best, texts, ends)
  local run, s = self.run, self.run.settings
  local k, new = s.num_beams, run.step + 1
  local now = ends:clone() -- B K, true for candidates that have ended and are among the k best
  now:narrow(1, k, now.shape[1] - k):fill_(false)
  local ranks = best / new ^ s.length_penalty
  local closed = self.hope:logical_not()
  if s.early_stopping == true then closed = closed:logical_or(self.ended:all(1, true)) end
  ranks = ranks + closed:logical_or(now:logical_not()):float() * NEVER
  local order
  self.ranks, order = torch.cat({ self.ranks, ranks }, 1):topk(k, 1) -- B k
  self.texts = pick(torch.cat({ self.texts, texts }, 1), order, k + now.shape[1])
  self.ended = torch.cat({ self.ended, now }, 1):gather(1, order)
  self.lengths = torch.cat({ self.lengths, torch.full_like(best, new, { dtype = "int64" }) }, 1):gather(1, order)
end

---Updates the field `hope`, which says for each prompt whether an unfinished text can still become one of the k best finished
---texts. The answer is an estimate unless the option early_stopping is "never".
local function update_hope(self)
  local run, s = self.run, self.run.settings
  local length = s.early_stopping == "never" and s.length_penalty > 0 and run.steps or run.step
  local possible = self.scores[":, :1"] / length ^ s.length_penalty -- B 1
  local worst = self.ranks:amin(1, true):masked_fill(self.ended:logical_not(), NEVER) -- B k
  self.hope = self.hope:logical_and(possible:gt(worst):any(1, true))
end

---Replaces the cache by a new tensor with the rows in the order `rows`, so that views of the old cache that a trace has saved
---stay unchanged.
local function reorder(run, rows)
  if torch.equal(rows, torch.arange(run.rows, { device = rows.device })) then return end
  local axes, moved = run.axes, run.cache:new_empty(run.cache.shape)
  local function filled(t) return axes.positions and t:narrow(axes.positions, 0, run.offset + run.length - 1) or t end
  torch.index_select(filled(run.cache), axes.rows, rows, { out = filled(moved) })
  if run.watched and axes.positions then unread.fill(moved, run.offset + run.length - 1) end
  run.cache:release()
  run.cache = moved
end

---Appends one token to every beam; returns whether the beam search continues.
---@param run luasight.GenerationRun
---@param scores any  R V, log probabilities
---@return boolean
function Beams:append(run, scores)
  local k = run.settings.num_beams
  local best, from, texts = candidates(self, scores:unflatten(0, { run.rows / k, k }))
  local last = run.step + 1 == run.steps
  local ends = last and torch.ones_like(best, { dtype = "bool" })
    or run:endings_of(texts:flatten(0, 1):narrow(1, 0, run.length + 1))
  ends = ends and ends:view_as(best) or torch.zeros_like(best, { dtype = "bool" }) -- B K
  local on = best + ends:float() * NEVER
  local order
  on, order = on:topk(k, 1) -- B k
  keep_ended(self, best, texts, ends)
  self.scores = on
  run.ids = pick(texts, order, best.shape[1]):flatten(0, 1)
  run.length, run.step = run.length + 1, run.step + 1
  update_hope(self)
  local complete = run.settings.early_stopping == true and self.ended:all(1, true) -- B 1
  if last or complete and complete:all():item() or not self.hope:any():item() or ends:all():item() then return false end
  self.over = self.over:logical_or(ends:all(1, true)):logical_or(self.hope:logical_not())
  if complete then self.over = self.over:logical_or(complete) end
  if run.cache then
    local rows = from:gather(1, order) + torch.arange(0, run.rows, k, { device = from.device }):unsqueeze(1)
    reorder(run, rows:flatten())
  end
  return true
end

---Returns the num_return_sequences best texts of each prompt.
---@return any  # (B num_return_sequences) x (T + new tokens), token ids
function Beams:text()
  local run = self.run
  if not run.over then return run.ids:narrow(1, 0, run.length) end
  local n = run.settings.num_return_sequences
  local longest = self.lengths:narrow(1, 0, n):max():item()
  return self.texts:narrow(1, 0, n):flatten(0, 1):narrow(1, 0, run.prompt + longest)
end

return beams
