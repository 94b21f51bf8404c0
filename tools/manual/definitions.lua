--- Makes definition files for LuaLS: the public functions (public.lua) with the annotations of their sources, and every
--- operator with the schemas of the present libtorch. Editors read these files; they are not run.
local annotations = require "manual.annotations"
local api = require "manual.api"
local operators = require "luasight.tensor.operators"
local schemas = require "manual.schemas"

local definitions = {}

local MOST = 400 * 1024 -- the largest size of a file in bytes: LuaLS ignores larger ones of a library

-- ---- public functions --------------------------------------------------------------------------------------------------

local function add(out, ...) out[#out + 1] = table.concat { ... } end

local function tag_lines(out, f)
  for _, line in ipairs(f.doc) do add(out, "---", line) end
  for _, p in ipairs(f.params) do
    local mark = p.optional and not p.type:find "%?$" and "?" or ""
    add(out, "---@param ", p.name, mark, " ", p.type, p.text ~= "" and "  " or "", p.text)
  end
  for _, r in ipairs(f.returns) do add(out, "---@return ", r.type, r.text ~= "" and "  # " or "", r.text) end
  for _, line in ipairs(f.other) do add(out, line) end
end

---Adds the lines of a class; `functions` has the names of fields that are written as functions instead.
local function class_lines(out, class, functions)
  for _, line in ipairs(class.doc) do add(out, "---", line) end
  add(out, "---@class ", class.name, class.parent and not class.parent:find "^ffi" and ": " .. class.parent or "")
  for _, f in ipairs(class.fields) do
    if not functions[f.name] then
      add(out, "---@field ", f.name, f.optional and "? " or " ", f.type, f.text ~= "" and "  " or "", f.text)
    end
  end
  for _, line in ipairs(class.other) do add(out, line) end
end

local function variable(class) return (class:gsub("%.", "_")) end

---Returns the classes, such as tables of options, that the text so far uses and does not define.
local function missing_classes(text, known, have)
  local list = {}
  for name in text:gmatch "[%w_]+%.[%w_.]+" do
    name = name:gsub("%.$", "")
    if known[name] and not have[name] then
      have[name] = true
      list[#list + 1] = known[name]
    end
  end
  for name, class in pairs(known) do
    if not have[name] and not name:find "%." and text:find("%f[%w_.]" .. name .. "%f[^%w_.]") then
      have[name] = true
      list[#list + 1] = class
    end
  end
  table.sort(list, function(a, b) return a.name < b.name end)
  return list
end

---Returns the text of luasight.lua, which has all definitions but those of operators.
---@return string
function definitions.library()
  local out, have, known = {}, {}, {}
  for _, group in ipairs(api.groups()) do
    if not have[group.class] then
      have[group.class] = true
      class_lines(out, group.annotated or { name = group.class, doc = {}, fields = {}, other = {} },
        api.functions(group.class))
      add(out, "local ", variable(group.class), " = {}\n")
    end
    for _, f in ipairs(group.functions) do
      tag_lines(out, f)
      add(out, "function ", variable(group.class), group.call:find ":" and ":" or ".", f.name, "(", f.args, ") end\n")
    end
  end
  for _, path in ipairs(api.files()) do
    for name, class in pairs(annotations.read(path).classes) do known[name] = class end
  end
  local more = missing_classes(table.concat(out, "\n"), known, have)
  while #more > 0 do
    local from = #out
    for _, class in ipairs(more) do
      class_lines(out, class, {})
      add(out, "")
    end
    more = missing_classes(table.concat(out, "\n", from + 1), known, have)
  end
  return table.concat({ "---@meta luasight", "-- Made from the sources of luasight. Read by LuaLS, never run.\n",
    '---@alias luasight.dtype "float32"|"float64"|"float16"|"bfloat16"|"int64"|"int32"|"int16"|"int8"|"uint8"|"bool"|string',
    '---@alias luasight.TensorKind "parameter"|"buffer"|"transient"',
    "---@alias luasight.Body fun(tracer: luasight.Tracer): ...\n" }, "\n") .. "\n"
    .. table.concat(out, "\n") .. "\nreturn luasight\n"
end

-- ---- operators ---------------------------------------------------------------------------------------------------------

local function options_type(arguments)
  local fields = {}
  for i, a in ipairs(arguments) do
    fields[i] = ("%s%s: %s"):format(a.name, (a.default or a.type:find "%?$") and "?" or "", schemas.lua_type(a.type))
  end
  return "{ " .. table.concat(fields, ", ") .. " }"
end

local function is_needed(a) return a.default == nil end

---Returns the ways to write a call of one schema, as lists of { name, type, optional, default }. Arguments with a default
---are in a table at the end, or at their position.
local function forms(schema, first)
  local needed, places, named, forced = {}, {}, {}, false
  for i = first, #schema.arguments do
    local a = schema.arguments[i]
    if a.keyword then
      named[#named + 1] = a
      forced = forced or is_needed(a)
    elseif is_needed(a) then
      needed[#needed + 1] = a
    else
      places[#places + 1] = a
    end
  end
  local function plain(a)
    local may_miss = not is_needed(a) or a.type:find "%?$" ~= nil
    return { name = schemas.lua_name(a.name), type = schemas.lua_type(a.type), optional = may_miss, default = a.default }
  end
  local function with(list, options)
    local form = {}
    for _, a in ipairs(list) do form[#form + 1] = plain(a) end
    if #options > 0 then
      form[#form + 1] = { name = "options", type = options_type(options), optional = not forced, of = options }
    end
    return form
  end
  local all, most = {}, {}
  for _, a in ipairs(places) do all[#all + 1] = a end
  for _, a in ipairs(named) do all[#all + 1] = a end
  for _, a in ipairs(needed) do most[#most + 1] = a end
  for _, a in ipairs(places) do most[#most + 1] = a end
  local list = { with(needed, all) }
  if #places > 0 then list[2] = with(most, named) end
  local front = first == 1 and needed[1] and needed[1].type:find "Tensor" and 1 or 0 -- the tensor stays in front of the table
  if #needed > front then -- for calls such as x:max { dim = 1 }
    local rest = {}
    for i = front + 1, #needed do rest[#rest + 1] = needed[i] end
    for _, a in ipairs(all) do rest[#rest + 1] = a end
    local form = with(front == 1 and { needed[1] } or {}, rest)
    form[#form].optional = false
    list[#list + 1] = form
  end
  return list
end

local function return_types(schema)
  local types = {}
  for i, r in ipairs(schema.returns) do types[i] = schemas.lua_type(r.type) end
  return types
end

local function overload(form, schema, self)
  local parts = {}
  if self then parts[1] = "self: luasight.Tensor" end
  for _, p in ipairs(form) do parts[#parts + 1] = ("%s%s: %s"):format(p.name, p.optional and "?" or "", p.type) end
  local types = return_types(schema)
  return ("---@overload fun(%s)%s"):format(table.concat(parts, ", "), #types > 0 and ": " .. table.concat(types, ", ") or "")
end

local function default_text(p)
  if p.default then return "  " .. p.default .. " unless told" end
  local parts = {}
  for _, a in ipairs(p.of or {}) do
    if a.default and a.default ~= "None" then parts[#parts + 1] = a.name .. " = " .. a.default end
  end
  return #parts > 0 and "  " .. table.concat(parts, ", ") .. " unless told" or ""
end

---Returns the definition of one operator as a function of `torch`, or, with `self`, as a method.
---@param name string
---@param list Schema[]
---@param self boolean
---@return string
function definitions.operator(name, list, self)
  local out, lines, seen, main = {}, {}, {}, nil
  for _, schema in ipairs(list) do
    add(lines, "---    ", schema.text)
    for _, form in ipairs(forms(schema, self and 2 or 1)) do
      local text = overload(form, schema, self)
      if not main then
        main = { form = form, schema = schema }
      elseif not seen[text] then
        add(out, text)
      end
      seen[text] = true
    end
  end
  local at = operators.list_at[name] -- sizes may be separate arguments: x:view(2, 3)
  if at and at == (self and 2 or 1) then
    add(out, ("---@overload fun(%s...: integer): luasight.Tensor"):format(self and "self: luasight.Tensor, " or ""))
  end
  local args, head = {}, {}
  for i, p in ipairs(main.form) do
    args[i] = p.name
    add(head, "---@param ", p.name, p.optional and "?" or "", " ", p.type, default_text(p))
  end
  for i, type in ipairs(return_types(main.schema)) do
    local named = main.schema.returns[i].name
    add(head, "---@return ", type, named and " " .. named or "")
  end
  add(out, ("function %s%s(%s) end"):format(self and "Tensor:" or "torch.", name, table.concat(args, ", ")))
  for _, part in ipairs { head, out } do
    for _, line in ipairs(part) do lines[#lines + 1] = line end
  end
  return table.concat(lines, "\n")
end

---Returns the schemas whose first argument is a tensor: those of methods.
local function of_methods(list)
  local methods = {}
  for _, schema in ipairs(list) do
    local first = schema.arguments[1]
    if first and not first.keyword and schemas.lua_type(first.type) == "luasight.Tensor" then methods[#methods + 1] = schema end
  end
  return methods
end

local function head(name)
  return table.concat({ "---@meta _", "-- Operators, from the schemas of libtorch. Read by LuaLS, never run.\n",
    "---@class luasight." .. name, ("local %s = {}\n"):format(name) }, "\n")
end

local heads = { [false] = head "torch", [true] = head "Tensor" }

---Returns the files of the operators, as pairs of name and text.
---@return { [1]: string, [2]: string }[]
function definitions.operators()
  local taken = { [false] = api.names "luasight.torch", [true] = api.names "luasight.Tensor" }
  local files, open, size, count = {}, {}, {}, { [false] = 0, [true] = 0 }
  local function close(self)
    if not open[self] then return end
    count[self] = count[self] + 1
    files[#files + 1] = { ("operators/%s%d.lua"):format(self and "tensor" or "torch", count[self]),
      heads[self] .. "\n" .. table.concat(open[self], "\n\n") .. "\n" }
    open[self] = nil
  end
  for _, name in ipairs(schemas.names()) do
    local list = schemas.of(name)
    for _, self in ipairs { false, true } do
      local chosen = self and of_methods(list) or list
      if #chosen > 0 and not taken[self][name] then
        local text = definitions.operator(name, chosen, self)
        if open[self] and size[self] + #text > MOST then close(self) end
        if not open[self] then open[self], size[self] = {}, 0 end
        table.insert(open[self], text)
        size[self] = size[self] + #text
      end
    end
  end
  close(false)
  close(true)
  return files
end

return definitions
