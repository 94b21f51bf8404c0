--- Batches: joins the inputs of the invokes of one pass into the rows of one call of the model.
local binding = require "luasight.ffi"
local record = require "luasight.nn.record"
local torch = require "luasight.tensor.torch"
local traces = require "luasight.ffi.traces"

local is_handle = binding.is_handle

local batch = {}

---@class luasight.Input  the input of one invoke
---@field index integer     the number of the invoke in the core
---@field network luasight.Network
---@field args table        the arguments of a call of the model, with their number `n`
---@field rows integer      the number of rows that the input adds to the batch
---@field steps integer?     the number of its steps that have run, once the pass has begun
---@field first integer?     the number of its first row in the pass, once the pass has begun
---@field settings luasight.GenerationSettings?  the settings of the generation, nil in a trace without one
---@field pad integer?        the columns of padding that the pass puts in front of the input's tokens
---@field decoder_pad integer?  the same for the tokens of a decoder beside an encoder

---Returns the number of rows of an input: the first size of its first tensor.
---@param args table
---@return integer
function batch.rows(args)
  local function first(v)
    if is_handle(v) then return v:dim() > 0 and v:size(0) or nil end
    if type(v) ~= "table" then return nil end
    for _, inner in pairs(v) do
      local rows = first(inner)
      if rows then return rows end
    end
  end
  for i = 1, args.n do
    local rows = first(args[i])
    if rows then return rows end
  end
  binding.raise("argument", "the input of an invoke needs a tensor with at least one axis, whose elements are its rows")
end

-- ---- joining -----------------------------------------------------------------------------------------------------------

local join

local function join_tables(list, where)
  local out = {}
  for key in pairs(list[1]) do
    local parts = {}
    for i, t in ipairs(list) do parts[i] = t[key] end
    out[key] = join(parts, #list, ("%s%s"):format(where == "" and "" or where .. ".", tostring(key)))
  end
  for _, t in ipairs(list) do
    for key in pairs(t) do
      if out[key] == nil then
        binding.raise("argument", ("invokes of one pass take the same arguments, but only some have %q"):format(tostring(key)))
      end
    end
  end
  return out
end

---Joins the values that one argument of the model has in `n` inputs into one value, a batch. `where` names the argument in
---errors.
join = function(list, n, where)
  for i = 1, n do
    if (list[i] == nil) ~= (list[1] == nil) or type(list[i]) ~= type(list[1]) then
      binding.raise("argument", ("the invokes of one pass take the same arguments, but %s differs"):format(
        where == "" and "what is named" or where))
    end
  end
  local first = list[1]
  if is_handle(first) then
    for i = 2, n do
      local a, b = first.shape, list[i].shape
      if first.dtype ~= list[i].dtype then
        binding.raise("argument", ("the inputs of the invokes cannot be one batch: %s has the dtypes %s and %s"):format(where,
          first.dtype, list[i].dtype), { hint = "convert one of them, for instance by x:to(y.dtype), or trace them apart" })
      end
      for axis = 1, math.max(#a, #b) - 1 do
        if #a ~= #b or a[axis] ~= b[axis] then
          binding.raise("shape", ("the inputs of the invokes cannot be one batch: %s has the shapes %s and %s"):format(where,
            tostring(a), tostring(b)), { hint = "in the invokes of one pass, all axes but the first must have the same size" })
        end
      end
    end
    return torch.cat(list, 0)
  elseif type(first) == "table" then
    return join_tables(list, where)
  end
  for i = 2, n do
    if list[i] ~= first then
      binding.raise("argument", ("invokes of one pass cannot differ in %s: one has %s, another %s"):format(where,
        tostring(first), tostring(list[i])))
    end
  end
  return first
end

---Raises an error where a tensor among the arguments of an invoke does not have the invoke's rows.
local function check_rows(v, rows)
  if is_handle(v) and v.shape then
    if v:dim() > 0 and v:size(0) == rows then return end
    binding.raise("shape", ("among several invokes each tensor of an input has the input's rows on its first axis; one has the "
      .. "shape %s beside %d row%s"):format(tostring(v.shape), rows, rows == 1 and "" or "s"),
      { hint = "expand it to the rows, or trace this input alone" })
  elseif type(v) == "table" then
    for _, inner in pairs(v) do check_rows(inner, rows) end
  end
end

---Joins the inputs of several invokes along the first axis.
---@param members luasight.Input[]
---@return table args  the arguments of one call, with their number `n`
function batch.concatenate(members)
  local n = 0
  for _, member in ipairs(members) do
    n = math.max(n, member.args.n)
    if members[2] then
      for i = 1, member.args.n do check_rows(member.args[i], member.rows) end
    end
  end
  local args = { n = n }
  for i = 1, n do
    local parts = {}
    for k, member in ipairs(members) do parts[k] = member.args[i] end
    args[i] = join(parts, #members, type(members[1].args[i]) == "table" and "" or "argument " .. i)
  end
  return args
end

-- ---- passes ------------------------------------------------------------------------------------------------------------

---Returns the inputs of a pass in the order in which the script wrote them.
local function members_of(recording, pass)
  local members = {}
  for index, input in pairs(recording.invokes) do
    if traces.pass(recording.graph, index) == pass then members[#members + 1] = input end
  end
  table.sort(members, function(a, b) return a.index < b.index end)
  return members
end

---@class luasight.Pass: luasight.GenerationEngine  a pass that runs: the steps of a generation, or one step
---@field recording luasight.Recording
---@field number integer
---@field members luasight.Input[]
---@field module table    the module that runs
---@field rows integer    the number of rows in each step
---@field generation luasight.GenerationRun?
local Pass = {}
Pass.__index = Pass

local function all_of(flags, from, to)
  for i = from, to do
    if not flags[i] then return false end
  end
  return true
end

---Begins a step of the pass. An invoke whose texts have all ended has no part in it, as it would have none alone.
---@param step integer
---@param ... any  the arguments of the model
function Pass:begin(step, ...)
  local ended = step > 0 and self.members[2] and self.generation:ended_rows()
  for i, member in ipairs(self.members) do
    local behind = self.members[i + 1]
    if ended and all_of(ended, member.first + 1, behind and behind.first or self.rows) then
      traces.rows(self.recording.graph, member.index, member.first, 0)
    else
      member.steps = step + 1
    end
  end
  if self.generation and self.recording.sets then self.generation:watch() end
  local program, stream, n = record.prepare(self.module, ...)
  traces.begin(self.recording.graph, self.number, step, program, stream, n, self.rows)
end

---Ends the pass, so that no further step runs, and hands the token ids of a generation to the core.
function Pass:finish()
  traces.end_steps(self.recording.graph, self.generation and self.generation:text():clone())
end

---Raises an error where several inputs in one batch would change each other's values.
local function refuse_mixing(module)
  local mixing = record.mixing(module)
  if not mixing then return end
  binding.raise("state", ("several inputs cannot be one batch: %s computes with mean and variance of all rows"):format(
    mixing._class_name), { hint = mixing.running_mean and "call net:eval(), which takes the running ones, or trace the "
    .. "inputs one by one" or "trace the inputs one by one" })
end

---Begins a pass, of one step or of a generation, with the joined inputs of the invokes that run in it.
---@param recording luasight.Recording
---@param number integer
function batch.begin(recording, number)
  local members = members_of(recording, number)
  local network, total, copies = members[1].network, 0, 1
  if #members > 1 then refuse_mixing(network.module) end
  local args = network.merge(members)
  for _, member in ipairs(members) do total = total + member.rows end
  local settings = members[1].settings
  local generation = settings and network.start_generation(settings, args[1])
  if generation then copies = generation.rows / total end
  local first = 0
  for _, member in ipairs(members) do
    member.first = first
    traces.rows(recording.graph, member.index, first, member.rows * copies, member.pad)
    first = first + member.rows * copies
  end
  local pass = setmetatable({ recording = recording, number = number, members = members, module = network.module,
    rows = first, generation = generation }, Pass)
  recording.pass = pass
  if generation then generation:begin(pass) else pass:begin(0, unpack(args, 1, args.n)) end
end

---Continues a pass after one of its steps has run: begins the next step of a generation, or ends the pass.
---@param pass luasight.Pass
---@param result any  the model's output
function batch.take(pass, result)
  if pass.generation then pass.generation:take(pass, result.logits) else pass:finish() end
end

return batch
