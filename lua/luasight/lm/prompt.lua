--- Converts the input of a language model (texts, token ids, tensors or named arguments) to the named arguments of the model's
--- forward.
local binding = require "luasight.ffi"
local check_list = require "luasight.base.list".check
local options_of = require "luasight.base.options"
local torch = require "luasight.tensor.torch"

local is_handle = binding.is_handle

local prompt = {}

---@class luasight.Reader  the properties of the model that reads a prompt
---@field names string[]             the names of the model's arguments
---@field tokenizer fun(): any       returns the tokenizer; raises an error where there is none
---@field pad fun(): integer         returns the id of the token that fills short rows
---@field context integer?           the largest number of tokens in a text when the model was trained
---@field reads_beyond boolean?      whether the model can read longer texts than in training
---@field vocabulary integer?        the number of token ids that the model knows
---@field folder string?             the folder of the model
---@field device string

local function is_named(v) return type(v) == "table" and getmetatable(v) == nil and v[1] == nil and next(v) ~= nil end

local function empty(what)
  binding.raise("argument", what .. " is empty: there is no token to read",
    { hint = "pass at least one token, for instance the model's first one" })
end

-- ---- options ---------------------------------------------------------------------------------------------------------

local tokenizer_options = { truncation = true, max_length = options_of.count, add_special_tokens = "boolean" }
prompt.invoke_options = { invoker_args = "table" }
prompt.options = { trace = "boolean", invoker_args = "table" }
for _, known in ipairs { prompt.invoke_options, prompt.options } do
  for name, kind in pairs(tokenizer_options) do known[name] = kind end
end

---Returns the tokenizer's options for a trace or an invoke: those in the option invoker_args, and those that `options` has
---itself, which take precedence.
local function options_for(options, reader)
  if next(options) == nil then return options end
  local out, inner = {}, options.invoker_args
  for name, v in pairs(options_of.read("invoker_args", inner, tokenizer_options)) do out[name] = v end
  for name in pairs(tokenizer_options) do
    if options[name] ~= nil then out[name] = options[name] end
  end
  local most = out.max_length
  if most and not out.truncation then
    binding.raise("argument", "the option max_length shortens a prompt only together with truncation = true")
  elseif out.truncation and not most then
    if not reader.context then
      binding.raise("argument", "the option truncation needs max_length, because this model sets no limit itself")
    end
    out.max_length = reader.context
  end
  return out
end

-- ---- rows of ids -----------------------------------------------------------------------------------------------------

local function encode(text, options, reader)
  local ids = reader.tokenizer()(text, options).input_ids
  if is_handle(ids) then ids = ids:flatten():tolist() end
  return ids
end

local function check_row(row, what)
  for i = 1, #row do
    local id = row[i]
    if type(id) ~= "number" or id % 1 ~= 0 then
      binding.raise("argument", ("%s: element %d is %s; token ids are whole numbers"):format(what, i,
        type(id) == "number" and tostring(id) or "a " .. type(id)))
    end
  end
  if #row == 0 then empty(what) end
end

---Returns an input as a list of rows of token ids; nil where the input is neither a text nor a list. The second result says
---whether a tokenizer made the ids.
---@return integer[][]? rows, boolean text
local function rows_of(input, options, reader)
  if type(input) == "string" then return { encode(input, options, reader) }, true end
  if type(input) ~= "table" or getmetatable(input) ~= nil then return nil, false end
  if #input == 0 then binding.raise("argument", "the input of the model is an empty list, so there is nothing to read") end
  check_list("the model's input", input)
  local kind = type(input[1])
  if kind == "number" then return { input }, false end
  local rows = {}
  for i, element in ipairs(input) do
    if type(element) ~= kind or kind ~= "string" and kind ~= "table" then
      binding.raise("argument", ("element %d of the model's input is a %s"):format(i, is_handle(element) and "tensor" or
        type(element)), { hint = "a list holds token ids, or texts, or lists of token ids" })
    end
    rows[i] = kind == "string" and encode(element, options, reader) or element
  end
  return rows, kind == "string"
end

---Returns rows of token ids as a tensor [B, T], padded on the left; an attention mask, or nil where there is no padding; and
---the least and the greatest id.
local function from_rows(rows, options, reader)
  local longest, shortest, low, high, padded, mask = 0, math.huge, math.huge, -math.huge, {}, {}
  for i, row in ipairs(rows) do
    check_row(row, #rows == 1 and "the prompt" or "prompt " .. i)
    if options.truncation and #row > options.max_length then
      rows[i] = { unpack(row, 1, options.max_length) }
    end
    row = rows[i]
    longest, shortest = math.max(longest, #row), math.min(shortest, #row)
    for k = 1, #row do low, high = math.min(low, row[k]), math.max(high, row[k]) end
  end
  if longest == shortest then return torch.tensor(rows, { dtype = "int64" }), nil, low, high end
  local pad = reader.pad()
  for i, row in ipairs(rows) do
    local missing = longest - #row
    padded[i], mask[i] = {}, {}
    for k = 1, longest do
      padded[i][k] = row[k - missing] or pad
      mask[i][k] = k > missing and 1 or 0
    end
  end
  return torch.tensor(padded, { dtype = "int64" }), torch.tensor(mask, { dtype = "int64" }), low, high
end

-- ---- tensors ---------------------------------------------------------------------------------------------------------

local integer = { int64 = true, int32 = true, int16 = true, int8 = true, uint8 = true }

---Returns a tensor of token ids, [B, T] or [T], as an int64 tensor [B, T].
local function from_tensor(t, options)
  t = t.value -- `t` may be a value saved in an earlier trace, whose field `value` is the tensor
  if not integer[t.dtype] then
    binding.raise("argument", "token ids are whole numbers (int64), this tensor is " .. t.dtype)
  end
  local dims = t:dim()
  if dims == 1 then t = t:unsqueeze(0)
  elseif dims ~= 2 then binding.raise("shape", "token ids are [B, T] or [T], this tensor has " .. dims .. " axes") end
  if options.truncation and t:size(1) > options.max_length then t = t:narrow(1, 0, options.max_length) end
  return t.dtype == "int64" and t or t:to("int64")
end

---Raises an error unless all token ids, of which `low` is the least and `high` the greatest, are in the model's vocabulary
---and the text is not too long. `text` says whether a tokenizer made the ids.
local function check_ids(ids, reader, text, low, high)
  local rows, length = ids:size(0), ids:size(1)
  if rows == 0 or length == 0 then empty "the prompt" end
  if reader.context and not reader.reads_beyond and length > reader.context then
    binding.raise("shape", ("the prompt has %d tokens, the model reads at most %d"):format(length, reader.context),
      { hint = "shorten the prompt, or pass { truncation = true, max_length = " .. reader.context .. " }" })
  end
  if not low then
    low, high = ids:aminmax()
    low, high = low:item(), high:item()
  end
  if reader.vocabulary and text and high >= reader.vocabulary then
    local tokenizer = reader.tokenizer()
    local from = type(tokenizer) == "userdata" and tokenizer.folder
    binding.raise("index", ("%s makes the token id %d, but vocab_size of %s is %d"):format(
      from and "the tokenizer of " .. from or "the tokenizer", high,
      reader.folder and reader.folder .. "/config.json" or "the model", reader.vocabulary),
      { hint = "this model was trained with another tokenizer: take both from the same folder" })
  elseif reader.vocabulary and (low < 0 or high >= reader.vocabulary) then
    binding.raise("index", ("token id %d is out of range: the model knows the ids 0 to %d"):format(low < 0 and low or high,
      reader.vocabulary - 1))
  end
end

---Returns the input's token ids as a tensor [B, T], and an attention mask where rows were padded.
local function ids_of(input, options, reader)
  if is_handle(input) then
    local ids = from_tensor(input, options)
    check_ids(ids, reader, false)
    return ids
  end
  local rows, text = rows_of(input, options, reader)
  if not rows then
    binding.raise("argument", "the input of a language model is text, token ids or a tensor, not a " .. type(input))
  end
  local ids, mask, low, high = from_rows(rows, options, reader)
  check_ids(ids, reader, text, low, high)
  return ids, mask
end

-- ---- named arguments -------------------------------------------------------------------------------------------------

---Raises an error for a number in a list that is not whole.
local function check_whole(name, list)
  for i, v in ipairs(list) do
    if type(v) == "table" then check_whole(name, v)
    elseif type(v) == "number" and v % 1 ~= 0 then
      binding.raise("argument", ("the argument %s: element %d is %s; a list has whole numbers"):format(name, i, tostring(v)),
        { hint = "a tensor may have others" })
    end
  end
end

---Returns the argument `name`, which has one value for each token, as a tensor [B, T] with `rows` rows; T is `length` where it
---is given.
local function like_ids(name, v, rows, length)
  if type(v) == "table" then
    check_whole(name, v)
    v = torch.tensor(type(v[1]) == "table" and v or { v }, { dtype = "int64" })
  end
  if not is_handle(v) then
    binding.raise("argument", ("the argument %s is a tensor or a list, not a %s"):format(name, type(v)))
  end
  v = v.value
  if v:dim() == 1 then v = v:unsqueeze(0) end
  if length and (v:dim() ~= 2 or v:size(0) ~= rows and v:size(0) ~= 1 or v:size(1) ~= length) then
    binding.raise("shape", ("the argument %s has the shape %s, but the tokens have [%d, %d]"):format(name, tostring(v.shape),
      rows, length))
  elseif v:dim() ~= 2 or v:size(1) == 0 then
    binding.raise("shape", ("the argument %s is [B, T] or [T] with at least one token, not %s"):format(name, tostring(v.shape)))
  end
  if rows and v:size(0) == 1 and rows > 1 then v = v:expand(rows, -1) end -- one row for all
  return v
end

local argument = { noun = "argument" }

local function from_names(input, options, reader)
  local known, result = {}, {}
  for _, name in ipairs(reader.names) do known[name] = true end
  for name, v in pairs(options_of.read("this model", input, known, argument)) do result[name] = v end
  local mask
  if input.input_ids ~= nil then result.input_ids, mask = ids_of(input.input_ids, options, reader) end
  local embeds = input.inputs_embeds
  if embeds ~= nil then
    if not is_handle(embeds) then
      binding.raise("argument", "the argument inputs_embeds is a tensor [B, T, C], not a " .. type(embeds))
    end
    embeds = embeds.value
    if embeds:dim() ~= 3 then
      binding.raise("shape", "the argument inputs_embeds is [B, T, C], not " .. tostring(embeds.shape))
    end
  end
  local rows, length
  if result.input_ids or embeds then
    local first = result.input_ids or embeds
    rows, length = first:size(0), first:size(1)
  end
  for _, name in ipairs { "attention_mask", "position_ids", "token_type_ids" } do
    if input[name] ~= nil then result[name] = like_ids(name, input[name], rows, length) end
  end
  if input.decoder_input_ids ~= nil then
    result.decoder_input_ids = like_ids("decoder_input_ids", input.decoder_input_ids, rows)
  end
  if input.decoder_attention_mask ~= nil then
    local own = result.decoder_input_ids -- without them the decoder reads one token, with which it begins
    result.decoder_attention_mask = like_ids("decoder_attention_mask", input.decoder_attention_mask,
      own and own:size(0) or rows, own and own:size(1) or 1)
  end
  if mask and result.attention_mask then
    binding.raise("argument", "attention_mask is made by luasight where the rows of input_ids differ in length",
      { hint = "leave attention_mask out, or pad the rows yourself" })
  end
  result.attention_mask = result.attention_mask or mask
  if reader.context and not reader.reads_beyond and result.position_ids then
    local last = result.position_ids:max():item()
    if last >= reader.context or result.position_ids:min():item() < 0 then
      binding.raise("index", ("position_ids: position %d is out of range: the positions are 0 to %d"):format(last,
        reader.context - 1))
    end
  end
  return result
end

---Returns the model's named arguments for an input: input_ids [B, T], and attention_mask [B, T] where rows were padded.
---@param input any
---@param options table
---@param reader luasight.Reader
---@return table<string, any>
function prompt.arguments(input, options, reader)
  options = options_for(options, reader)
  local result
  if is_named(input) then
    result = from_names(input, options, reader)
  else
    local ids, mask = ids_of(input, options, reader)
    result = { input_ids = ids, attention_mask = mask }
  end
  if reader.device ~= "cpu" then
    for name, v in pairs(result) do
      if is_handle(v) then result[name] = v:to(reader.device) end
    end
  end
  return result
end

-- ---- several inputs as one batch --------------------------------------------------------------------------------------

---Returns for each row of an input the columns of its tokens, from 0: all columns but those that the mask leaves out.
---@param args table  the arguments of the model's forward; the first is the table of named arguments
---@param of_decoder boolean?  true: the tokens that a decoder beside an encoder reads
---@return integer[][]? columns, integer? width  # width: the length of the rows, padding included
function prompt.tokens(args, of_decoder)
  local named = args[1]
  local first = named.input_ids or named.inputs_embeds
  local like, mask = first, named.attention_mask
  if of_decoder then like, mask = named.decoder_input_ids, named.decoder_attention_mask end
  if not first then return nil end
  local rows, width = first:size(0), like and like:size(1) or 1 -- a decoder without ids reads one token, with which it begins
  local real, columns = mask and mask:ne(0):tolist(), {}
  for row = 1, rows do
    local list = {}
    for column = 1, width do
      if not real or (real[row] or real[1])[column] then list[#list + 1] = column - 1 end
    end
    columns[row] = list
  end
  return columns, width
end

local function pad_left(v, missing, fill)
  if missing == 0 then return v end
  local pads = { 0, 0 }
  if v:dim() == 2 then pads = {} end
  pads[#pads + 1], pads[#pads + 2] = missing, 0
  return torch.constant_pad_nd(v, pads, fill)
end

-- The two texts that a model can read, by the names of their ids, of their mask, and of what has a value for each token too.
local texts = {
  { "input_ids", "attention_mask", "inputs_embeds", "position_ids", "token_type_ids" },
  { "decoder_input_ids", "decoder_attention_mask" },
}

---Joins what several inputs say about one text to `args`; shorter rows are padded on the left. Returns for each input the
---number of its columns of padding.
local function merge_text(members, reader, text, args)
  local longest, uneven, names, widths, pads = 0, false, {}, {}, {}
  for i, member in ipairs(members) do
    local named = member.args[1]
    for _, name in ipairs(text) do
      if named[name] ~= nil then
        names[name] = true
        widths[i] = widths[i] or named[name]:size(1)
      end
    end
    uneven = uneven or widths[i] and longest > 0 and widths[i] ~= longest or named[text[2] ] ~= nil
    longest = math.max(longest, widths[i] or 0)
  end
  if next(names) == nil then return pads end
  if uneven then names[text[2] ] = true end
  for name in pairs(names) do
    local parts, fill = {}, name == text[1] and reader.pad() or 0
    for i, member in ipairs(members) do
      local v = member.args[1][name]
      if v == nil and (name ~= text[2] or not widths[i]) then
        binding.raise("argument", ("all invokes of one pass must have the same arguments, but only some have %q"):format(name))
      end
      v = v or torch.ones(member.rows, widths[i], { dtype = "int64", device = reader.device })
      if members[2] and v:size(0) ~= member.rows then
        local a, b = math.min(v:size(0), member.rows), math.max(v:size(0), member.rows)
        binding.raise("shape", ("the arguments of one invoke need as many rows, but some have %d and some %d"):format(a, b),
          { hint = "repeat the rows of the shorter ones, or trace this input alone" })
      end
      pads[i] = longest - widths[i]
      parts[i] = pad_left(v, pads[i], fill)
    end
    args[name] = torch.cat(parts, 0)
  end
  return pads
end

---Joins the inputs of several invokes to one batch.
---@param members luasight.Input[]
---@param reader luasight.Reader
---@return table args  the arguments of the model's forward, with their number `n`
function prompt.merge(members, reader)
  local args = { n = 1, {} }
  local pads, of_decoder = merge_text(members, reader, texts[1], args[1]), merge_text(members, reader, texts[2], args[1])
  for i, member in ipairs(members) do member.pad, member.decoder_pad = pads[i], of_decoder[i] or 0 end
  return args
end

return prompt
