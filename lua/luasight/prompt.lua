--- Prompts: what a language model is given (text, ids, tensors, named arguments) becomes its named arguments.
local binding = require "luasight.ffi"
local torch = require "luasight.torch"

local ffi, ref_t = binding.ffi, binding.ref_t

local prompt = {}

local function is_tensor(v) return ffi.istype(ref_t, v) end

---Fails unless every id is one that the model knows and the text fits.
local function check_ids(ids, limits, level)
  local shape = ids.shape
  if shape[1] == 0 then
    binding.raise("argument", "the prompt is empty: there is no token to read", level + 1,
      { hint = "give at least one token, for instance the model's first one" })
  end
  if limits.context and shape[1] > limits.context then
    binding.raise("shape", ("the prompt has %d tokens, the model reads at most %d"):format(shape[1], limits.context),
      level + 1, { hint = "shorten it, or give { truncation = true, max_length = " .. limits.context .. " }" })
  end
  local low, high = ids:min():item(), ids:max():item()
  if limits.vocabulary and (low < 0 or high >= limits.vocabulary) then
    binding.raise("index", ("token id %d is out of range: the model knows 0 to %d"):format(low < 0 and low or high,
      limits.vocabulary - 1), level + 1)
  end
end

local integer = { int64 = true, int32 = true, int16 = true, int8 = true, uint8 = true }

---A tensor of ids as [B, T] int64.
local function from_tensor(t, level)
  if not integer[t.dtype] then
    binding.raise("argument", "token ids are whole numbers (int64), this tensor is " .. t.dtype, level + 1)
  end
  local dims = #t.shape
  if dims == 1 then t = t:unsqueeze(0)
  elseif dims ~= 2 then binding.raise("shape", "token ids are [B, T] or [T], this tensor has " .. dims .. " axes", level + 1) end
  return t.dtype == "int64" and t or t:to("int64")
end

---Rows of ids, padded on the left to one length.
local function from_rows(rows, pad, level)
  local longest, shortest = 0, math.huge
  for _, row in ipairs(rows) do
    longest, shortest = math.max(longest, #row), math.min(shortest, #row)
  end
  if shortest == 0 then binding.raise("argument", "the prompt is empty: there is no token to read", level + 1) end
  if longest == shortest then return torch.tensor(rows, { dtype = "int64" }) end
  local padded, mask = {}, {}
  for i, row in ipairs(rows) do
    padded[i], mask[i] = {}, {}
    for k = 1, longest do
      local at = k - (longest - #row)
      padded[i][k] = at > 0 and row[at] or pad
      mask[i][k] = at > 0 and 1 or 0
    end
  end
  return torch.tensor(padded, { dtype = "int64" }), torch.tensor(mask, { dtype = "int64" })
end

local tokenizer_options = { truncation = true, max_length = true, add_special_tokens = true }
prompt.options = { trace = true, invoker_args = true, truncation = true, max_length = true, add_special_tokens = true }

local function options_for(options)
  local out = {}
  for name in pairs(tokenizer_options) do
    out[name] = options[name]
    if options.invoker_args and options.invoker_args[name] ~= nil then out[name] = options.invoker_args[name] end
  end
  return out
end

local function encode(text, tokenizer, options, level)
  if not tokenizer then
    binding.raise("state", "this model has no tokenizer: give token ids, or a tokenizer with { tokenizer = }", level + 1)
  end
  return tokenizer(text, options).input_ids
end

---@class luasight.Limits
---@field context integer?     most tokens the model reads
---@field vocabulary integer?  how many ids there are
---@field pad integer          the id that fills short rows

---The model's named arguments for an input.
---@param level integer
---@param input any
---@param options table
---@param tokenizer table?
---@param limits luasight.Limits
---@return table arguments  input_ids [B, T], attention_mask [B, T] where rows were padded
function prompt.arguments(level, input, options, tokenizer, limits)
  options = options_for(options)
  local ids, mask
  if type(input) == "string" then
    ids = from_rows({ encode(input, tokenizer, options, level + 1) }, limits.pad, level + 1)
  elseif is_tensor(input) then
    ids = from_tensor(input, level + 1)
  elseif type(input) == "table" and input[1] == nil and next(input) ~= nil then
    local arguments = {}
    for name, v in pairs(input) do arguments[name] = v end
    if is_tensor(input.input_ids) then
      arguments.input_ids = from_tensor(input.input_ids, level + 1)
      check_ids(arguments.input_ids, limits, level + 1)
    end
    return arguments
  elseif type(input) == "table" and type(input[1]) == "string" then
    local rows = {}
    for i, text in ipairs(input) do rows[i] = encode(text, tokenizer, options, level + 1) end
    ids, mask = from_rows(rows, limits.pad, level + 1)
  elseif type(input) == "table" and type(input[1]) == "number" then
    ids = from_rows({ input }, limits.pad, level + 1)
  elseif type(input) == "table" and type(input[1]) == "table" then
    ids, mask = from_rows(input, limits.pad, level + 1)
  elseif type(input) == "table" then
    binding.raise("argument", "the input is an empty list", level + 1)
  else
    binding.raise("argument", "the input of a language model is text, token ids or a tensor, not a " .. type(input), level + 1)
  end
  check_ids(ids, limits, level + 1)
  return { input_ids = ids, attention_mask = mask }
end

return prompt
