--- Reads the LuaLS annotations of a source file: its functions with the descriptions of their parameters, and its classes.
local annotations = {}

---@class Tag
---@field name string?  the name of a parameter or field, without the `?` of an optional one
---@field optional boolean
---@field text string   the description, "" where there is none
---@field text string   what is said of it, "" where nothing is

---@class Annotated
---@field doc string[]      the lines of the description
---@field params Tag[]
---@field returns Tag[]
---@field fields Tag[]      the fields of a class
---@field other string[]    tags that are copied unchanged: operators, overloads, generics

---@class AnnotatedFunction: Annotated
---@field owner string      "tracer" for `function tracer:stop()`, "" for a local function
---@field name string
---@field colon boolean
---@field args string       the text between the parentheses

---@class AnnotatedClass: Annotated
---@field name string
---@field parent string?

---@class AnnotatedFile
---@field about string[]    the first comment of the file
---@field functions AnnotatedFunction[]
---@field classes table<string, AnnotatedClass>

-- Types that have another name for the authors of scripts than in the sources.
local public_types = { ["ffi%.cdata%*"] = "luasight.Tensor", ["%f[%w]userdata%f[%W]"] = "luasight.Module" }

local function public(type)
  for from, to in pairs(public_types) do type = type:gsub(from, to) end
  return type
end

-- Splits "integer?  most tokens" into type and text; the type ends at two blanks, or at ` # `.
local function split_type(text)
  local type, rest = text:match "^(.-)%s%s+#?%s*(.*)$"
  if not type then type, rest = text:match "^(.-)%s+#%s*(.*)$" end
  return public((type or text):gsub("%s+$", "")), rest or ""
end

local readers = {}

function readers.param(into, text)
  local name, optional, rest = text:match "^(%.*[%w_]*)(%??)%s+(.*)$"
  local type, said = split_type(rest)
  local may_miss = optional == "?" or type:find "%?$" ~= nil
  into.params[#into.params + 1] = { name = name, optional = may_miss, type = type, text = said }
  return into.params[#into.params]
end

readers["return"] = function(into, text)
  local type, said = split_type(text)
  into.returns[#into.returns + 1] = { type = type, text = said, optional = false }
  return into.returns[#into.returns]
end

function readers.field(into, text)
  if text:find "^private" or text:find "^_" then return {} end -- private fields are not for scripts
  local name, optional, rest = text:match "^(%[.-%])(%??)%s+(.*)$"
  if not name then name, optional, rest = text:match "^([%w_]+)(%??)%s+(.*)$" end
  local type, said = split_type(rest)
  into.fields[#into.fields + 1] = { name = name, optional = optional == "?", type = type, text = said }
  return into.fields[#into.fields]
end

---Reads a block of `---` lines.
local function read_comment(lines)
  local into, last = { doc = {}, params = {}, returns = {}, fields = {}, other = {} }, nil
  for _, line in ipairs(lines) do
    local tag, text = line:match "^%-%-%-@(%w+)%s*(.*)$"
    if tag == "class" then
      into.class, into.parent = text:match "^([%w_.]+)", text:match "^[%w_.]+%s*:%s*([%w_.]+)"
      local _, said = split_type(text)
      if said ~= "" then into.doc[#into.doc + 1] = said end
      last = { text = "" }
    elseif readers[tag] then
      last = readers[tag](into, text)
    elseif tag then
      into.other[#into.other + 1] = "---@" .. tag .. " " .. public(text)
      last = nil
    elseif last then -- the line continues the text of a tag
      last.text = ((last.text or "") .. " " .. line:gsub("^%-%-%-%s*", "")):gsub("^%s+", "")
    else
      into.doc[#into.doc + 1] = (line:gsub("^%-%-%- ?", ""))
    end
  end
  return into
end

local function function_of(line)
  local owner, sign, name, args = line:match "^%s*function ([%w_.]-)([.:]?)([%w_]+)%(([^)]*)%)"
  if name then return owner, sign, name, args end
  name, args = line:match "^%s*local function ([%w_]+)%(([^)]*)%)"
  if name then return "", ".", name, args end
  owner, name, args = line:match "^%s*([%w_]+)[.]([%w_]+) = function%(([^)]*)%)"
  return owner, ".", name, args
end

---@param path string
---@return AnnotatedFile
function annotations.read(path)
  local result, comment, file = { about = {}, functions = {}, classes = {} }, {}, assert(io.open(path, "rb"))
  local first = true
  for line in file:lines() do
    if line:find "^%s*%-%-%-" then
      comment[#comment + 1] = line:gsub("^%s+", "")
    else
      if #comment > 0 then
        local said = read_comment(comment)
        local owner, sign, name, args = function_of(line)
        if first then result.about = said.doc
        elseif said.class then
          said.name = said.class
          result.classes[said.class] = said
        end
        if name and not said.class then
          said.owner, said.colon, said.name, said.args = owner, sign == ":", name, args
          result.functions[#result.functions + 1] = said
        end
      end
      comment, first = {}, false
    end
  end
  file:close()
  return result
end

return annotations
