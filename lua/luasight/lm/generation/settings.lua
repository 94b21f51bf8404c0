--- The options of a text generation, named as in transformers: their defaults, and the checks of their values and of options
--- that contradict each other.
local failure = require "luasight.base.error"
local length_of = require "luasight.base.list".length
local options = require "luasight.base.options"

local settings = {}

-- ---- kinds of options ------------------------------------------------------------------------------------------------

local function is_number(v) return type(v) == "number" and v == v end

local function all(list, test)
  if type(list) ~= "table" or #list == 0 or select(2, length_of(list)) then return false end
  for _, v in ipairs(list) do
    if not test(v) then return false end
  end
  return true
end

local is_id = options.size[2]
local function is_stop(v) return type(v) == "string" and v ~= "" end

local flag = { "true or false", function(v) return type(v) == "boolean" end }
local count, size, share = options.count, options.size, options.share
local above_zero = { "a number above 0", function(v) return is_number(v) and v > 0 and v < math.huge end }
local number = { "a number", function(v) return is_number(v) and math.abs(v) < math.huge end }

---@class luasight.GenerationOptions  named as in transformers; the defaults are those of the folder's
---  generation_config.json
---@field max_new_tokens integer?        the largest number of new tokens (20 where nothing else limits the length)
---@field max_length integer?            the largest number of tokens, the prompt included; not with max_new_tokens
---@field min_new_tokens integer?        the least number of new tokens (0)
---@field min_length integer?            the least number of tokens, the prompt included (0)
---@field do_sample boolean?             true: draws each token at random; false: chooses the most likely token (false)
---@field temperature number?            divides the scores before sampling (1)
---@field top_k integer?                 samples from the k most likely tokens (50); 0: from all
---@field top_p number?                  samples from the most likely tokens with this total probability (1)
---@field seed integer?                  the seed of sampling: the same seed makes the same text
---@field repetition_penalty number?     above 1, lowers the scores of tokens that occurred before (1)
---@field num_beams integer?             the number of beams of a beam search (1: no beam search)
---@field num_return_sequences integer?  the number of texts for each prompt (1); several need sampling or beam search
---@field length_penalty number?         beam search divides a text's score by its length to this power (1)
---@field early_stopping boolean|"never"?  when a beam search stops: true, with num_beams finished texts; false, when a better
---  one is unlikely; "never", when none is possible (false)
---@field eos_token_id integer|integer[]|false?  the token ids that end a text; false: no token ends a text
---@field pad_token_id integer?          the token id that fills rows whose text ended early
---@field stop_strings string|string[]?  strings that end a text
---@field use_cache boolean?             whether to use a cache (true where the network has one)

---The kind of values that each option takes, by the name of the option.
local kinds = {
  do_sample = flag, temperature = above_zero, top_k = size, top_p = share, seed = size,
  repetition_penalty = above_zero,
  num_beams = count, num_return_sequences = count, length_penalty = number,
  early_stopping = { 'true, false or "never"', function(v) return type(v) == "boolean" or v == "never" end },
  max_new_tokens = count, max_length = count, min_new_tokens = size, min_length = size,
  eos_token_id = { "a token id, a list of them, or false for none",
    function(v) return v == false or is_id(v) or all(v, is_id) end },
  pad_token_id = { "a token id", is_id },
  stop_strings = { "a text or a list of texts", function(v) return is_stop(v) or all(v, is_stop) end },
  use_cache = flag,
}

---The names of all options of a generation, as the keys of a table.
---@type table<string, true>
settings.names = {}
for name in pairs(kinds) do settings.names[name] = true end

-- The settings of a model's files that are not implemented, each with the value that switches the setting off.
local neutral = {
  no_repeat_ngram_size = 0, encoder_no_repeat_ngram_size = 0, encoder_repetition_penalty = 1, typical_p = 1, min_p = 0,
  top_h = 1, epsilon_cutoff = 0, eta_cutoff = 0, diversity_penalty = 0, num_beam_groups = 1, guidance_scale = 1,
  renormalize_logits = false, remove_invalid_values = false, penalty_alpha = 0, token_healing = false,
  forced_bos_token_id = {}, forced_eos_token_id = {}, bad_words_ids = {}, force_words_ids = {}, constraints = {},
  suppress_tokens = {}, begin_suppress_tokens = {}, sequence_bias = {}, exponential_decay_length_penalty = {},
  watermarking_config = {}, prompt_lookup_num_tokens = {}, dola_layers = {}, max_time = {},
  force_bos_token_to_be_generated = false,
}

-- ---- checks ----------------------------------------------------------------------------------------------------------

local function refuse(message, hint) failure.raise("argument", message, { hint = hint }) end

---The kinds of the settings that a file can have.
local file_kinds = { decoder_start_token_id = { "a token id", is_id }, bos_token_id = { "a token id", is_id } }
for name, kind in pairs(kinds) do
  if name ~= "seed" then file_kinds[name] = kind end
end

local function check_config(config, file)
  for name, v in pairs(config) do
    local kind, off = file_kinds[name], neutral[name]
    if kind and not kind[2](v) and not (name:find "_token_id$" and (v == -1 or v == false)) then
      failure.raise("format", ("%s: the setting %s is %s, not %s"):format(file, name, kind[1], options.text(v)),
        { hint = "correct the setting in the file" })
    elseif off ~= nil and v ~= off and not (type(v) == "table" and next(v) == nil) then
      failure.raise("format", ("%s: the setting %s = %s is not implemented"):format(file, name, options.text(v)),
        { hint = "take the setting out of the file to generate without it" })
    end
  end
end

---Raises an error where a given option acts only in sampling or only in beam search and this is switched off, and where options
---contradict each other.
local function check_together(given, s)
  local function only(names, condition, what)
    for _, name in ipairs(names) do
      if given[name] ~= nil and not condition then refuse(("%s acts only with %s"):format(name, what)) end
    end
  end
  only({ "temperature", "top_k", "top_p", "seed" }, s.do_sample, "do_sample = true")
  only({ "length_penalty", "early_stopping" }, s.num_beams > 1, "num_beams above 1")
  if given.max_new_tokens and given.max_length then
    refuse("max_new_tokens and max_length both limit the length of the text; pass one of them")
  elseif given.min_new_tokens and given.min_length then
    refuse("min_new_tokens and min_length both set the least length of the text; pass one of them")
  end
  if s.num_beams > 1 and s.do_sample then
    refuse(("sampling with beams is not implemented: do_sample = true, num_beams = %d"):format(s.num_beams),
      "num_beams = 1 samples, do_sample = false searches")
  elseif s.num_beams > 1 and s.num_return_sequences > s.num_beams then
    refuse(("num_return_sequences is %d, but a search with num_beams = %d has only as many texts as beams"):format(
      s.num_return_sequences, s.num_beams))
  elseif s.num_beams == 1 and s.num_return_sequences > 1 and not s.do_sample then
    refuse(("num_return_sequences is %d, but without sampling or beams all texts would be the same"):format(
      s.num_return_sequences), "use do_sample = true or num_beams")
  end
end

-- ---- reading ---------------------------------------------------------------------------------------------------------

local function list(v)
  if v == nil or v == false then return {} end
  return type(v) == "table" and v or { v }
end

---Returns the token ids that end a text: those `given` as an option, else the `default` from a file, without ids that are not
---in the model's vocabulary.
local function end_ids(given, default, vocabulary)
  local ids = {}
  for _, id in ipairs(list(given == nil and default or given)) do
    if not vocabulary or id < vocabulary then
      ids[#ids + 1] = id
    elseif given ~= nil then
      refuse(("eos_token_id: there is no token %d, the model knows 0 to %d"):format(id, vocabulary - 1))
    end
  end
  return ids
end

local function pad_id(given, default, ids, reader)
  local vocabulary = reader.vocabulary
  if given and vocabulary and given >= vocabulary then
    refuse(("pad_token_id: there is no token %d, the model knows 0 to %d"):format(given, vocabulary - 1))
  end
  if given == nil and default and default >= 0 and (not vocabulary or default < vocabulary) then given = default end
  return given or reader.pad and reader.pad() or ids[1] or 0
end

---@class luasight.GenerationSettings  the checked options of a generation with their defaults, from `settings.read`
---@field do_sample boolean
---@field temperature number
---@field top_k integer               0: sampling draws from all tokens
---@field top_p number
---@field seed integer?               nil: a seed is drawn
---@field repetition_penalty number
---@field num_beams integer
---@field num_return_sequences integer
---@field length_penalty number
---@field early_stopping boolean|"never"
---@field max_new_tokens integer?     nil where the option was not given
---@field max_length integer?         nil where the option was not given
---@field usual_new_tokens integer?   max_new_tokens of the files, used where no limit was given
---@field usual_length integer?       max_length of the files, used where no limit was given; it includes the prompt
---@field min_new_tokens integer
---@field min_length integer
---@field ends integer[]              the token ids that end a text
---@field pad integer                 the token id that fills rows whose text ended early
---@field start integer?              the token with which a decoder beside an encoder begins; nil: the network says it
---@field stop_strings string[]
---@field use_cache boolean?          nil: a cache is used where the network has one
---@field tokenizer (fun(): any)?
---@field context integer?            the largest number of tokens that the model reads

---Checks the options of a generation and returns them with their defaults. The default of an option is the value in the model's
---generation_config.json, or in its config.json where there is no generation_config.json, else that of transformers
---(max_new_tokens is 20). As in transformers, a generation_config.json that is silent does not leave the word to config.json.
---@param given table?
---@param net table             the network; its `generation_config`, or `config_file` or `config`, are read where it has them
---@param reader? luasight.Reader
---@return luasight.GenerationSettings
function settings.read(given, net, reader)
  given, reader = given or {}, reader or {}
  if net.cannot_generate then
    failure.raise("state", "this model does not generate text: " .. net.cannot_generate)
  end
  options.read("a generation", given, kinds)
  local from_file, file = net.generation_config, "generation_config.json"
  if type(from_file) ~= "table" then from_file, file = net.config_file or net.config, "config.json" end
  if type(from_file) ~= "table" then from_file = {} end
  check_config(from_file, file)
  local function default(name)
    if name ~= "seed" then return from_file[name] end
  end
  local function value(name, otherwise)
    if given[name] ~= nil then return given[name] end
    local v = default(name)
    if v == nil then return otherwise end
    return v
  end
  local ends = end_ids(given.eos_token_id, default "eos_token_id", reader.vocabulary)
  local s = {
    do_sample = value("do_sample", false),
    temperature = value("temperature", 1), top_k = value("top_k", 50), top_p = value("top_p", 1), seed = value "seed",
    repetition_penalty = value("repetition_penalty", 1),
    num_beams = value("num_beams", 1), num_return_sequences = value("num_return_sequences", 1),
    length_penalty = value("length_penalty", 1), early_stopping = value("early_stopping", false),
    max_new_tokens = given.max_new_tokens, max_length = given.max_length,
    usual_new_tokens = default "max_new_tokens", usual_length = default "max_length",
    min_new_tokens = value("min_new_tokens", 0), min_length = value("min_length", 0),
    ends = ends, pad = pad_id(given.pad_token_id, default "pad_token_id", ends, reader),
    start = net.start_token and (default "decoder_start_token_id" or default "bos_token_id") or nil,
    stop_strings = list(value "stop_strings"), use_cache = given.use_cache,
    tokenizer = reader.tokenizer, context = not reader.reads_beyond and reader.context or nil,
  }
  if s.use_cache == nil and default "use_cache" == false then s.use_cache = false end
  check_together(given, s)
  if s.use_cache and not net.new_cache then refuse("use_cache: this model has no cache", "leave the option out") end
  if #s.stop_strings > 0 and not s.tokenizer then
    refuse("stop_strings needs a tokenizer, and this model has none", "use eos_token_id, which ends texts at token ids")
  end
  return s
end

-- ---- lengths ---------------------------------------------------------------------------------------------------------

---Returns the largest and the least number of tokens that a generation adds to a prompt of T tokens.
---@param s luasight.GenerationSettings
---@param T integer
---@return integer most, integer least
function settings.lengths(s, T)
  local most = s.max_new_tokens
  if s.max_length then
    most = s.max_length - T
    if most < 1 then
      refuse(("max_length is %d, but the prompt alone has %d tokens"):format(s.max_length, T),
        "use max_new_tokens, which counts new tokens")
    end
  end
  local room = s.context and s.context + 1 - T -- + 1: the model does not read the last new token
  if most and room and most > room then
    refuse(("the prompt has %d tokens and %d new tokens are asked for, but the model reads at most %d"):format(
      T, most, s.context), ("max_new_tokens = %d fits"):format(room))
  end
  if not most then
    most = s.usual_new_tokens or s.usual_length and math.max(1, s.usual_length - T) or 20
    if room then most = math.min(most, room) end
  end
  local least = s.min_new_tokens > 0 and s.min_new_tokens or math.max(0, s.min_length - T)
  if least > most then
    refuse(("at least %d new tokens are asked for, and at most %d"):format(least, most))
  end
  return most, least
end

return settings
