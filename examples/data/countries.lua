-- Prompts about countries that have both a capital and a language among the relations: "Spain : Spanish , France :".
local relations = require "data.relations"

local countries = { capital = {}, language = {} }
for _, pair in ipairs(relations[1].pairs) do countries.capital[pair[1]] = pair[2] end
local both = {}
for _, pair in ipairs(relations[2].pairs) do
  if countries.capital[pair[1]] then
    countries.language[pair[1]] = pair[2]
    both[#both + 1] = pair[1]
  end
end

-- Two halves, one to make something from, one to try it on.
local half = math.floor(#both / 2)
countries.seen, countries.unseen = { unpack(both, 1, half) }, { unpack(both, half + 1) }

--- One prompt for each country of a list; three others of the list are its examples.
---@param list string[]
---@param kind "capital"|"language"  what the examples show
---@return string[]
function countries.prompts(list, kind)
  local all = {}
  for i, country in ipairs(list) do
    local text = ""
    for k = 3, 9, 3 do
      local other = list[(i + k - 1) % #list + 1]
      text = ("%s%s : %s , "):format(text, other, countries[kind][other])
    end
    all[i] = text .. country .. " :"
  end
  return all
end

--- The share of next tokens (a list of ids) that are the capital, or the language, of the countries of a list.
---@param ids integer[]
---@param list string[]
---@param kind "capital"|"language"
---@param tokenizer any
---@return number
function countries.share(ids, list, kind, tokenizer)
  local right = 0
  for i, country in ipairs(list) do
    if tokenizer:decode { ids[i] } == " " .. countries[kind][country] then right = right + 1 end
  end
  return right / #list
end

return countries
