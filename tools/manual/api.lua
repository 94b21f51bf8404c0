--- The public functions: for each class in public.lua the group of its functions, with the annotations of their sources.
local annotations = require "manual.annotations"
local public = require "manual.public"

local api = {}

---@class ApiGroup
---@field title string
---@field class string
---@field call string
---@field about string?
---@field annotated AnnotatedClass?
---@field functions AnnotatedFunction[]

local files = {}

local function read(path)
  files[path] = files[path] or annotations.read(path)
  return files[path]
end

local function set_of(list)
  local set = {}
  for _, name in ipairs(list or {}) do set[name] = true end
  return set
end

local function functions_of(source)
  local list, only = {}, source.only and set_of(source.only)
  for _, f in ipairs(read(source[1]).functions) do
    if f.owner == source[2] and (only and only[f.name] or not only and not f.name:find "^_") then
      f.args = f.args:gsub("^self,?%s*", "")
      list[#list + 1] = f
    end
  end
  return list
end

---Returns the constructors of the classes of modules in a file.
local function constructors_of(path)
  local file, list = read(path), {}
  for _, f in ipairs(file.functions) do
    local class = file.classes["luasight.nn." .. f.owner]
    if f.name == "init" and class then
      local made = { type = class.name, text = "", optional = false }
      local doc = { unpack(class.doc) } -- what the class is, then what its constructor adds
      for _, line in ipairs(f.doc) do doc[#doc + 1] = line end
      list[#list + 1] = { owner = "nn", name = f.owner, colon = false, args = f.args, doc = doc, params = f.params,
        returns = { made }, fields = {}, other = f.other }
    end
  end
  return list
end

---Returns one group of public.lua with its functions.
---@param group PublicGroup
---@return ApiGroup
function api.group(group)
  local functions = group.layers and constructors_of(group.layers) or {}
  for _, source in ipairs(group.sources) do
    for _, f in ipairs(functions_of(source)) do functions[#functions + 1] = f end
  end
  local annotated = group.fields and read(group.fields).classes[group.class]
  for _, source in ipairs(group.sources) do annotated = annotated or read(source[1]).classes[group.class] end
  return { title = group.title, class = group.class, call = group.call, about = group.about, functions = functions,
    annotated = annotated }
end

---Returns all groups in the order of the reference.
---@return ApiGroup[]
function api.groups()
  local list = {}
  for _, page in ipairs(public) do
    for _, group in ipairs(page.groups) do list[#list + 1] = api.group(group) end
  end
  return list
end

---Returns the names of the functions of a class.
---@param class string
---@return table<string, true>
function api.functions(class)
  local names = {}
  for _, group in ipairs(api.groups()) do
    for _, f in ipairs(group.class == class and group.functions or {}) do names[f.name] = true end
  end
  return names
end

---Returns the names of the functions and fields of a class.
---@param class string
---@return table<string, true>
function api.names(class)
  local names = api.functions(class)
  for _, group in ipairs(api.groups()) do
    if group.class == class then
      for _, f in ipairs(group.annotated and group.annotated.fields or {}) do names[f.name] = true end
    end
  end
  return names
end

---Returns the files that public.lua names.
---@return string[]
function api.files()
  local list, seen = {}, {}
  local function add(path)
    if path and not seen[path] then
      seen[path] = true
      list[#list + 1] = path
    end
  end
  for _, page in ipairs(public) do
    for _, group in ipairs(page.groups) do
      add(group.fields)
      add(group.layers)
      for _, source in ipairs(group.sources) do add(source[1]) end
    end
  end
  return list
end

return api
