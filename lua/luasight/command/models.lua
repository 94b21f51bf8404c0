--- `luasight models`: lists the families of models that can be loaded.
local models = { about = "lists the families of models that can be loaded", arguments = {},
  options = { { "--json", "a list for programs" } } }

---Prints the names of the families, one on each line or as JSON.
---@param options { json: boolean? }
function models.run(_, options)
  local names = require "luasight.models".names()
  print(options.json and require "cjson".encode(names) or table.concat(names, "\n"))
end

return models
