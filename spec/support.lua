--- What many specs need: errors that are expected, and the model in the box with all recorded that generations record.
local luassert = require "luassert"
local ls = require "luasight"

local support = {}

---Runs `f`, which must fail, and gives its error.
---@param f fun()
---@return any
function support.failure(f)
  local ok, err = pcall(f)
  luassert.is_false(ok)
  return err
end

support.john = "When Mary and John went to the store, John gave a drink to"
support.mary = "When Mary and John went to the store, Mary gave a drink to"
support.short = "hot : cold , big :"

---The model in the box. What is recorded for a way of calling it stays with the model, so it is called in each of these ways.
---@return userdata
function support.generating_box()
  local john, mary, short = support.john, support.mary, support.short
  local model = ls.LanguageModel "models/pretrained/ioi"
  for _, input in ipairs { john, { john, mary }, { john, short } } do
    model(input)
    model:generate(input, { max_new_tokens = 2, eos_token_id = false })
    model:generate(input, { max_new_tokens = 2, eos_token_id = false }, function() return model.generator.output end)
  end
  for _ = 1, 2 do
    model:generate({ max_new_tokens = 2, eos_token_id = false }, function(tracer)
      for _, text in ipairs { john, mary, short } do
        tracer:invoke(text, function() return model.transformer.wte.output, model.generator.output end)
      end
    end)
  end
  return model
end

return support
