--- x.t[i]: positions counted in an input's own tokens, however much padding is in front of them. 0 is the first real token.
---
--- The padding in front of an input is known only when its pass begins, so the position is a number computed in the graph.
local binding = require "luasight.ffi"
local nodes = require "luasight.ffi.nodes"
local torch = require "luasight.tensor.torch"
local trace = require "luasight.trace"
local traces = require "luasight.ffi.traces"
local values = require "luasight.tensor.values"

---@class luasight.Tokens  the positions of the tokens in a value
---@field axis integer      the axis of the tokens
---@field lengths integer[] the number of tokens of each row
---@field before integer[]  the number of columns of padding before each row's first token, within its own input
---@field same boolean      whether all rows have the same number of tokens
---@field invoke integer
---@field step integer
---@field moves boolean     whether the pass may put more padding in front of the tokens

local function no_tokens()
  binding.raise("state", "x.t[i] counts the tokens of a language model's input, but this value has no tokens",
    { hint = "x:t() transposes, and x[i] takes a row" })
end

---@return luasight.Tokens
local function tokens_of(node)
  local recording = trace.recording_of(node)
  local axis, invoke, step = nodes.token_axis(node)
  local input = recording and recording.invokes[invoke]
  if axis < 0 or not input then no_tokens() end
  if not input.lengths then input.lengths, input.width = input.network.lengths(input.args) end
  if not input.lengths then no_tokens() end
  local t = { axis = axis, lengths = input.lengths, before = {}, same = true }
  t.invoke, t.step, t.moves = invoke, step, input.kind ~= traces.WHOLE and step == 0
  if step > 0 then -- each step after step 0 has one new token in each row
    t.lengths = {}
    for i in ipairs(input.lengths) do t.lengths[i] = 1 end
  end
  for i, length in ipairs(t.lengths) do
    t.before[i] = step > 0 and 0 or input.width - length
    t.same = t.same and length == t.lengths[1]
  end
  return t
end

local function beyond(i, length)
  binding.raise("index", ("token %d is out of range: the input has %d token%s"):format(i, length, length == 1 and "" or "s"))
end

---Returns the position of token i in a row of `length` tokens, counted from 0; a negative i counts from the end.
local function position(i, length)
  if i < -length or i >= length then beyond(i, length) end
  return i < 0 and i + length or i
end

local function read_range(text)
  local from, to = text:match "^%s*(%-?%d*)%s*:%s*(%-?%d*)%s*$"
  if not from then
    binding.raise("index", ("an index of x.t is a number or a range like \"1:3\", not %q"):format(text))
  end
  return tonumber(from), tonumber(to)
end

---Returns the position of the first token of a range in a row of `length` tokens, and the position behind its last token.
local function bounds(from, to, length)
  local a, b = from or 0, to or length
  if a < 0 then a = a + length end
  if b < 0 then b = b + length end
  if a < 0 or a > length then beyond(from, length) end
  if b < 0 or b > length then beyond(to, length) end
  return a, math.max(a, b)
end

---Returns the column of the pass's batch in which column `offset` of the input is: a number, or a node where the padding that
---the pass puts in front of the input is known only later.
local function column(node, t, offset)
  if not t.moves then return offset end
  return nodes.padded(node, t.invoke, t.step, offset)
end

local function everything(axis)
  local index = {}
  for i = 1, axis do index[i] = {} end
  return index
end

---Returns a node and an index such that node[index] is x.t[i], where all rows have the same number of tokens. The index then
---has one column, or one range of columns, for all rows.
local function plain_index(node, t, i)
  local index, length, before = everything(t.axis), t.lengths[1], t.before[1]
  if type(i) == "string" then
    local from, to = read_range(i)
    local a, b = bounds(from, to, length)
    index[#index + 1] = { column(node, t, before + a), column(node, t, before + b) }
  else
    index[#index + 1] = column(node, t, before + position(i, length))
  end
  return node, index
end

---Returns a node and an index such that node[index] is x.t[i], where rows have different numbers of tokens. In this node the
---token axis follows the row axis; the index has one column, or several, for each row.
local function row_index(node, t, i)
  local columns, count = {}, 1
  local from, to
  if type(i) == "string" then from, to = read_range(i) end
  for r, length in ipairs(t.lengths) do
    if type(i) == "string" then
      local a, b = bounds(from, to, length)
      if r > 1 and b - a ~= count then
        binding.raise("index", ("the range %q does not have the same number of tokens in each row"):format(i))
      end
      columns[r], count = t.before[r] + a, b - a
    else
      columns[r] = t.before[r] + position(i, length)
    end
  end
  local rows = torch.arange(#columns)
  local at = torch.tensor(columns, { dtype = "int64" })
  if type(i) == "string" then
    rows, at = rows:unsqueeze(1), at:unsqueeze(1) + torch.arange(count):unsqueeze(0)
  end
  if t.moves then at = torch.add(at, column(node, t, 0)) end
  return t.axis == 1 and node or node:transpose(1, t.axis), { rows, at }
end

local function index_of(node, i)
  if type(i) ~= "number" and type(i) ~= "string" or type(i) == "number" and i % 1 ~= 0 then
    binding.raise("index", ("an index of x.t is a whole number or a range like \"1:3\", not %s"):format(tostring(i)))
  end
  local t = tokens_of(node)
  return (t.same and plain_index or row_index)(node, t, i)
end

---@param node ffi.cdata*
---@param i integer|string
---@return ffi.cdata*
function values.hooks.token_index(node, i)
  local x, index = index_of(node, i)
  return x[index]
end

---@param node ffi.cdata*
---@param i integer|string
---@param value any
function values.hooks.set_token_index(node, i, value)
  local x, index = index_of(node, i)
  x[index] = value
end
