--- Makes the reference as Markdown: every public function with its annotations, and the schemas of all operators.
local api = require "manual.api"
local public = require "manual.public"
local schemas = require "manual.schemas"

local reference = {}

---Quotes a line of prose, so that Markdown only sees the marks of code in it.
local function prose(text)
  local parts, code = {}, false
  for part, tick in (text .. "`"):gmatch "([^`]*)(`)" do
    parts[#parts + 1] = code and "`" .. part .. tick or part:gsub("[*_<>%[%]|]", "\\%0")
    code = not code
  end
  return table.concat(parts)
end

local function description(out, doc)
  for _, line in ipairs(doc) do out[#out + 1] = line:find "^    " and line or prose(line) end
  if #doc > 0 then out[#out + 1] = "" end
end

local function with_text(head, text) return text ~= "" and head .. ": " .. prose(text) or head end

local function code(text) return "`" .. text .. "`" end

---Returns the overload "fun(self: luasight.Model, input: any, body: fun(...): ...): ..." as "model:trace(input, body)".
local function way_to_call(call, name, overload)
  local inside, names, depth = overload:match "^%-%-%-@overload fun(%b())", {}, 0
  for part in (inside:sub(2, -2) .. ","):gmatch "[^,]*," do
    if depth == 0 and not part:find "^%s*self:" then names[#names + 1] = part:match "^%s*([%w_.]+%??)" end
    depth = depth + select(2, part:gsub("[({]", "")) - select(2, part:gsub("[)}]", ""))
  end
  return ("%s%s(%s)"):format(call, name, table.concat(names, ", "))
end

local function function_text(out, group, f)
  out[#out + 1] = "### " .. code(("%s%s(%s)"):format(group.call, f.name, f.args)) .. "\n"
  local ways = {}
  for _, line in ipairs(f.other) do
    if line:find "^%-%-%-@overload fun" then ways[#ways + 1] = way_to_call(group.call, f.name, line) end
  end
  if #ways > 0 then out[#out + 1] = ("```text\n%s\n```\n"):format(table.concat(ways, "\n")) end
  description(out, f.doc)
  for _, p in ipairs(f.params) do
    local name = p.name .. (p.optional and not p.type:find "%?$" and "?" or "")
    out[#out + 1] = with_text(("- %s %s"):format(code(name), code(p.type)), p.text)
  end
  for _, r in ipairs(f.returns) do out[#out + 1] = with_text("- gives " .. code(r.type), r.text) end
  out[#out + 1] = ""
end

---Returns the Markdown of one page of public.lua.
---@param page PublicPage
---@return string
function reference.page(page)
  local out = { "# " .. page.title, "" }
  for _, listed in ipairs(page.groups) do
    local group = api.group(listed)
    out[#out + 1] = "## " .. group.title .. "\n"
    if group.about then out[#out + 1] = group.about .. "\n" end
    local own, functions = listed.fields and group.annotated, api.functions(group.class)
    if own then
      local doc = { ((own.doc[1] or ""):gsub("^%l", string.upper)) }
      for i = 2, #own.doc do doc[i] = own.doc[i] end
      if own.doc[1] then description(out, doc) end
      local any = false
      for _, f in ipairs(own.fields) do
        if not functions[f.name] then
          any = true
          out[#out + 1] = with_text(("- %s %s"):format(code(f.name), code(f.type)), f.text)
        end
      end
      if any then out[#out + 1] = "" end
    end
    for _, f in ipairs(group.functions) do function_text(out, group, f) end
  end
  return table.concat(out, "\n")
end

local about_operators = [[
# Operators

Every operator is a function of `torch`, and a method of its first argument where that is a tensor: `torch.softmax(x, -1)`,
`x:softmax(-1)`, `x:softmax { dim = -1 }`. What stands behind the star can only be given by its name, in a table at the end.
These are the operators of the libtorch that this manual was built with, without the internal ones.
]]

---Returns the Markdown of all operators of the present libtorch, as their schemas.
---@return string
function reference.operators()
  local out, letters, letter = { about_operators, "" }, {}, nil
  for _, name in ipairs(schemas.names()) do
    local list = schemas.of(name)
    if #list > 0 then
      local first = name:sub(1, 1):lower()
      if first ~= letter then
        out[#out + 1] = (letter and "```\n\n" or "") .. ("## %s\n\n```text"):format(first)
        letter = first
        letters[#letters + 1] = ("[%s](#%s)"):format(first, first)
      end
      for _, schema in ipairs(list) do out[#out + 1] = schema.text end
    end
  end
  out[2] = table.concat(letters, "\n") .. "\n"
  return table.concat(out, "\n") .. "\n```\n"
end

---Returns the pages: the name, the title, and a function that returns the Markdown.
---@return { name: string, title: string, text: fun(): string }[]
function reference.pages()
  local list = {}
  for i, page in ipairs(public) do
    list[i] = { name = "reference/" .. page.name, title = page.title, text = function() return reference.page(page) end }
  end
  list[#list + 1] = { name = "reference/operators", title = "Operators", text = reference.operators }
  return list
end

return reference
