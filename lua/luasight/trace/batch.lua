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
---@field rows integer
---@field lengths integer[]? the number of tokens of each row, where the model counts tokens
---@field steps integer?     the number of steps that have run, once the pass has begun
---@field settings luasight.GenerationSettings?  the settings, in a generation
---@field width integer?    the length of the longest row, to which the input pads its rows on the left

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
        binding.raise("argument", ("the invokes of one pass take the same arguments; only some have %q"):format(tostring(key)))
      end
    end
  end
  return out
end

---Joins the values of one argument from several inputs into one value.
join = function(list, n, where)
  for i = 1, n do
    if (list[i] == nil) ~= (list[1] == nil) or type(list[i]) ~= type(list[1]) then
      binding.raise("argument", ("the invokes of one pass take the same arguments, but the argument %s differs"):format(where))
    end
  end
  local first = list[1]
  if is_handle(first) then
    for i = 2, n do
      local a, b = first.shape, list[i].shape
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

---Joins the inputs along the first axis.
---@param members luasight.Input[]
---@return table args  the arguments of one call, with their number `n`
function batch.concatenate(members)
  local n = 0
  for _, member in ipairs(members) do n = math.max(n, member.args.n) end
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

local function note_steps(members, steps)
  for _, member in ipairs(members) do member.steps = steps end
end

---Begins a pass with the inputs of several invokes, or a generation.
---@param recording luasight.Recording
---@param pass integer
function batch.begin(recording, pass)
  local members = members_of(recording, pass)
  local network, total, copies = members[1].network, 0, 1
  local args = network.merge(members)
  for _, member in ipairs(members) do total = total + member.rows end
  recording.network, recording.generation, recording.members = network, nil, members
  note_steps(members, 1)
  if members[1].settings then
    recording.generation = network.start_generation(members[1].settings, args[1])
    copies, args = recording.generation.rows / total, { n = 1, recording.generation:arguments() }
  end
  local first = 0
  for _, member in ipairs(members) do
    traces.rows(recording.graph, member.index, first, member.rows * copies, member.pad)
    first = first + member.rows * copies
  end
  local program, stream, n = record.prepare(network.module, unpack(args, 1, args.n))
  traces.begin(recording.graph, pass, 0, program, stream, n, first)
end

---Continues after a step of a generation: begins the next step, or ends the generation.
---@param recording luasight.Recording
---@param pass integer
---@param step integer
---@param result any  the model's output
function batch.next_step(recording, pass, step, result)
  local generation = recording.generation
  local args = generation and generation:advance(result.logits)
  if not args then
    traces.end_steps(recording.graph, generation and generation:text():clone())
    return
  end
  note_steps(recording.members, step + 2)
  local program, stream, n = record.prepare(recording.network.module, args)
  traces.begin(recording.graph, pass, step + 1, program, stream, n, generation.rows)
end

return batch
