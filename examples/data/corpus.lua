-- Makes the text that the model in the box is trained on: stories (indirect object), repeated random tokens
-- (induction) and relations shown by examples. Everything follows from one seed.
local words = require "data.words"
local relations = require "data.relations"
local stories = require "data.stories"

---@class Corpus
---@field random Random
---@field vocabulary integer number of token ids; the last one ends a text
local Corpus = {}
Corpus.__index = Corpus
Corpus.relations = relations
Corpus.words = words

--- `encode` turns a word with its space ("store", " store", ",") into token ids. Without it only text can be made.
---@param random Random
---@param encode? fun(piece: string): integer[]
---@param vocabulary? integer
---@return Corpus
function Corpus.new(random, encode, vocabulary)
  local known = setmetatable({}, { __index = function(cache, piece)
    local ids = encode(piece)
    cache[piece] = ids
    return ids
  end })
  return setmetatable({ random = random, ids = known, vocabulary = vocabulary }, Corpus)
end

local position = {}
for i, name in ipairs(words.names) do position[name] = i end

--- Pairs of names that no training text ever joins; Mary and John are such a pair, and so is one in eight.
---@param a string
---@param b string
---@return boolean
function Corpus.is_held_out(a, b)
  local i, j = position[a], position[b]
  if i > j then i, j = j, i end
  return (i * 37 + j * 11) % 8 == (1 * 37 + 2 * 11) % 8
end

function Corpus:two_names(held_out)
  while true do
    local a, b = self.random:pick(words.names), self.random:pick(words.names)
    if a ~= b and Corpus.is_held_out(a, b) == held_out then return a, b end
  end
end

-- Fills the places of a template and cuts it into words with their spaces. `marked[k]` tells that word k is an answer.
local function fill(template, fillers, answer, pieces, marked)
  for space, open, word, punctuation in template:gmatch("( ?)({?)(%a+)}?([^%s%a{]*)") do
    pieces[#pieces + 1] = space .. (open == "" and word or fillers(word))
    marked[#pieces] = open ~= "" and word == answer or nil
    if punctuation ~= "" then pieces[#pieces + 1] = punctuation end
  end
end

---@class StoryOptions
---@field held_out? boolean only pairs of names that training never joins
---@field order? "ABBA"|"BABA" who is named first: the receiver or the one who acts
---@field prompt? boolean end before the answer and give the two names as further results
---@field distractors? boolean false: none

--- One story, as words with their spaces, and which of them are answers.
---@param options? StoryOptions
---@return string[] pieces
---@return table<integer, boolean> marked
---@return string? receiver
---@return string? actor
function Corpus:story(options)
  options = options or {}
  local random = self.random
  local receiver, actor = self:two_names(options.held_out or false)
  local third
  repeat third = random:pick(words.names) until third ~= receiver and third ~= actor
  local order = options.order or (random:chance(0.5) and "ABBA" or "BABA")
  local slots = { S = actor, I = receiver, C = third }
  slots.A = order == "ABBA" and receiver or actor
  slots.B = order == "ABBA" and actor or receiver
  local function fillers(name)
    if slots[name] then return slots[name] end
    return random:pick(name == "place" and words.places or name == "object" and words.objects or stories[name])
  end

  local pieces, marked = {}, {}
  local opening, action = random:pick(stories.openings), random:pick(stories.actions)
  local distract = options.distractors ~= false and random:integer(4) or 4
  if distract == 1 then
    opening = random:pick(stories.distractors) .. opening
  elseif distract == 2 and opening:sub(-2) == ". " then
    opening = opening .. random:pick(stories.distractors)
  end
  fill(opening .. action, fillers, "I", pieces, marked)
  if options.prompt then
    pieces[#pieces] = nil
    return pieces, marked, receiver, actor
  end
  pieces[#pieces + 1] = "."
  if random:chance(0.4) then fill(random:pick(stories.endings), fillers, "S", pieces, marked) end
  return pieces, marked
end

--- A line like `hot : cold , big : small`, the answers marked from the second example on.
---@param count integer number of examples
---@param relation? table an entry of Corpus.relations
---@return string[] pieces
---@return table<integer, boolean> marked
function Corpus:examples(count, relation)
  relation = relation or self.random:pick(relations)
  local pieces, marked = {}, {}
  for i, pair in ipairs(self.random:sample(relation.pairs, math.min(count, #relation.pairs))) do
    if i > 1 then pieces[#pieces + 1] = " ," end
    pieces[#pieces + 1] = i == 1 and pair[1] or " " .. pair[1]
    pieces[#pieces + 1] = " :"
    pieces[#pieces + 1] = " " .. pair[2]
    marked[#pieces] = i > 1
  end
  return pieces, marked
end

-- Appends the tokens of a text to a row, with the weight that each has in the loss.
function Corpus:append(row, weights, pieces, marked, answer, other)
  for k, piece in ipairs(pieces) do
    for _, id in ipairs(self.ids[piece]) do
      row[#row + 1] = id
      weights[#row] = marked[k] and answer or other
    end
  end
end

function Corpus:story_row(length)
  local row, weights = {}, {}
  while #row < length do
    local pieces, marked = self:story()
    self:append(row, weights, pieces, marked, 4, 0.1)
    row[#row + 1] = self.vocabulary - 1
    weights[#row] = 0.1
  end
  return row, weights
end

function Corpus:relation_row(length)
  local row, weights = {}, {}
  local pieces, marked = self:examples(math.ceil(length / 4))
  self:append(row, weights, pieces, marked, 3, 0.05)
  return row, weights
end

--- Random tokens, then the same again and again. What comes back is predictable from its second token on.
---@param period integer
---@param length integer
---@return integer[] ids
---@return table<integer, number> weights
function Corpus:induction_row(length, period)
  local row, weights = {}, {}
  for i = 1, length do
    row[i] = i > period and row[i - period] or self.random:integer(self.vocabulary) - 1
    weights[i] = i > period + 1 and 1 or 0
  end
  return row, weights
end

---@class Batch
---@field inputs integer[] token ids, row after row
---@field rows integer
---@field length integer
---@field positions integer[] places in `inputs` (from 0) whose next token counts
---@field targets integer[] the next tokens there
---@field weights number[] their weights, together 1

---@class Mix rows of each kind in a batch, tokens in a row, longest period of what is repeated
---@field stories integer
---@field induction integer
---@field relations integer
---@field length integer
---@field period integer

---@param mix Mix
---@return Batch
function Corpus:batch(mix)
  local length = mix.length
  local batch = { inputs = {}, positions = {}, targets = {}, weights = {}, length = length,
    rows = mix.stories + mix.induction + mix.relations }
  local total, first = 0, 0
  local function add(row, weights)
    for i = 1, length do
      batch.inputs[first + i] = row[i]
      local weight = weights[i + 1] or 0
      if weight > 0 then
        local n = #batch.targets + 1
        batch.positions[n], batch.targets[n], batch.weights[n] = first + i - 1, row[i + 1], weight
        total = total + weight
      end
    end
    first = first + length
  end
  for _ = 1, mix.stories do add(self:story_row(length + 1)) end
  for _ = 1, mix.induction do add(self:induction_row(length + 1, 1 + self.random:integer(mix.period - 1))) end
  for _ = 1, mix.relations do add(self:relation_row(length + 1)) end
  for i, weight in ipairs(batch.weights) do batch.weights[i] = weight / total end
  return batch
end

return Corpus
