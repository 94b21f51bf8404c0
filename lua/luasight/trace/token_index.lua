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
---@field axis integer         the axis of the tokens
---@field columns integer[][]  the columns of the tokens of each row, from 0, within the row's own input
---@field width integer        the number of columns of the input
---@field same boolean         whether all rows have the same columns
---@field invoke integer
---@field step integer
---@field moves boolean        whether the pass may put more padding in front of the tokens
---@field from_end boolean     whether columns are counted from the end, since what is in front of them is known only later

local function no_tokens()
  binding.raise("state", "x.t[i] counts the tokens of a language model's input, but this value has no tokens",
    { hint = "x:t() transposes, and x[i] takes a row" })
end

---Returns the columns of the tokens in an input's rows, as the pass reads them in step 0.
local function read_columns(input, of_decoder)
  input.tokens = input.tokens or {}
  local known = input.tokens[of_decoder]
  if not known then
    local columns, width = input.network.tokens(input.args, of_decoder)
    if not columns then no_tokens() end
    known = { columns = columns, width = width }
    input.tokens[of_decoder] = known
  end
  return known.columns, known.width
end

---Returns the columns of the tokens that a step reads, and the number of columns. A step behind step 0 reads one new token
---where there is a cache, and otherwise the text so far.
local function columns_of(input, of_decoder, step)
  local columns, width = read_columns(input, of_decoder)
  local settings, module = input.settings, input.network.module
  if not settings then return columns, width end
  local copies, grown = math.max(settings.num_beams, settings.num_return_sequences), {}
  local cached = settings.use_cache ~= false and module.new_cache
  local grows = step > 0 and (of_decoder or not module.start_token) -- an encoder reads the prompt in each step
  for row, own in ipairs(columns) do
    local list = own
    if grows then
      list = cached and {} or { unpack(own) }
      for k = cached and step or 1, step do list[#list + 1] = width + k - 1 end
    end
    for copy = 1, copies do grown[(row - 1) * copies + copy] = list end
  end
  return grown, width + (grows and step or 0)
end

local function same(columns)
  for _, list in ipairs(columns) do
    if #list ~= #columns[1] then return false end
    for k, column in ipairs(list) do
      if column ~= columns[1][k] then return false end
    end
  end
  return true
end

---@return luasight.Tokens
local function tokens_of(node)
  local recording = trace.recording_of(node)
  local axis, invoke, step, of_decoder = nodes.token_axis(node)
  local input = recording and recording.invokes[invoke]
  if axis < 0 or not input then no_tokens() end
  local columns, width = columns_of(input, of_decoder, step)
  local moves = input.kind ~= traces.WHOLE
  return { axis = axis, columns = columns, width = width, same = same(columns), invoke = invoke, step = step,
    moves = moves and step == 0 and not of_decoder, from_end = step > 0 or moves and of_decoder }
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
  if t.from_end then return offset - t.width end
  if not t.moves then return offset end
  return nodes.padded(node, t.invoke, t.step, offset)
end

local function everything(axis)
  local index = {}
  for i = 1, axis do index[i] = {} end
  return index
end

---Returns the columns of tokens a to b - 1, which are tokens of a row, as a tensor.
local function list_of(t, row, a, b)
  local list = {}
  for k = a + 1, b do list[k - a] = t.columns[row][k] - (t.from_end and t.width or 0) end
  return torch.tensor(list, { dtype = "int64" })
end

---Returns an index such that node[index] is x.t[i], where all rows have the same columns.
local function plain_index(node, t, i)
  local index, list = everything(t.axis), t.columns[1]
  if type(i) ~= "string" then
    index[#index + 1] = column(node, t, list[position(i, #list) + 1])
    return index
  end
  local from, to = read_range(i)
  local a, b = bounds(from, to, #list)
  local first, last = list[a + 1], list[b]
  if a == b then index[#index + 1] = { 0, 0 }
  elseif last - first + 1 > b - a then -- there are holes between the tokens
    local at = list_of(t, 1, a, b)
    index[#index + 1] = t.moves and torch.add(at, column(node, t, 0)) or at
  elseif t.from_end and last + 1 == t.width then index[#index + 1] = { first - t.width }
  else index[#index + 1] = { column(node, t, first), column(node, t, last + 1) } end
  return index
end

---Returns an index such that y[index] is x.t[i] where rows have different columns; y is the node with the token axis behind the
---row axis. The index has one column, or several, for each row.
local function row_index(node, t, i)
  local rows, at = torch.arange(#t.columns), {}
  local from, to, count
  if type(i) == "string" then from, to = read_range(i) end
  for r, list in ipairs(t.columns) do
    local a, b
    if type(i) == "string" then a, b = bounds(from, to, #list)
    else
      a = position(i, #list)
      b = a + 1
    end
    if count and b - a ~= count then
      binding.raise("index", ("the range %q does not have the same number of tokens in each row"):format(i))
    end
    at[r], count = list_of(t, r, a, b), b - a
  end
  at = torch.stack(at, 0) -- rows, tokens
  if type(i) == "string" then rows = rows:unsqueeze(1) else at = at:squeeze(1) end
  if t.moves then at = torch.add(at, column(node, t, 0)) end
  return { rows, at }
end

local function check_index(i)
  if type(i) ~= "number" and type(i) ~= "string" or type(i) == "number" and i % 1 ~= 0 then
    binding.raise("index", ("an index of x.t is a whole number or a range like \"1:3\", not %s"):format(tostring(i)))
  end
end

---@param node ffi.cdata*
---@param i integer|string
---@return ffi.cdata*
function values.hooks.token_index(node, i)
  check_index(i)
  local t = tokens_of(node)
  if t.same then return node[plain_index(node, t, i)] end
  if t.axis == 1 then return node[row_index(node, t, i)] end
  local found = node:transpose(1, t.axis)[row_index(node, t, i)]
  return type(i) == "string" and found:transpose(1, t.axis) or found
end

---@param node ffi.cdata*
---@param i integer|string
---@param value any
function values.hooks.set_token_index(node, i, value)
  check_index(i)
  local t = tokens_of(node)
  if t.same then
    node[plain_index(node, t, i)] = value
    return
  end
  local view, index = node, row_index(node, t, i)
  if t.axis ~= 1 then
    view = node:transpose(1, t.axis)
    if type(i) == "string" then -- the value has the axes of x.t[i]
      value = torch.zeros_like(view[index]:transpose(1, t.axis)):add(value):transpose(1, t.axis)
    end
  end
  view[index] = value
end
