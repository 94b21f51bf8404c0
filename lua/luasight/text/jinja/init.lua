--- Compiles chat templates to Lua functions. They are written in Jinja, of which only the part is implemented that chat
--- templates use; another construct raises an error with its name and line. Numbers are Lua's: a number without a fraction
--- is written as an integer.
local binding = require "luasight.ffi"
local expressions = require "luasight.text.jinja.expression"
local lexer = require "luasight.text.jinja.lexer"
local library = require "luasight.text.jinja.library"
local values = require "luasight.text.jinja.values"

local Stream, expression, fail = expressions.Stream, expressions.expression, values.fail

local jinja = {}

-- ---- statements ------------------------------------------------------------------------------------------------------

---Reads the parts of a template up to one of the statements that `stops` names, such as "endif". Returns a function that
---writes the parts' output, the tokens of the statement at which the reading stopped, and the name of that statement.
local block

local function inner(env) return setmetatable({}, { __index = env }) end

---Reads the names to which a `for` or `set` of a template assigns; returns a function that assigns a value to these names.
local function target(s)
  local names = {}
  repeat
    local name = s:name()
    names[#names + 1] = name
    if #names == 1 and s:take "." then
      local field = s:name()
      return function(env, value)
        local space = env[name]
        if not values.is_dict(space) or not space.is_namespace then
          fail("%q is not a namespace, so its fields cannot be set", name)
        end
        values.set(space, field, value)
      end
    end
  until not s:take ","
  if #names == 1 then return function(env, value) env[names[1]] = value end end
  return function(env, value)
    local items = values.items(value)
    if #items ~= #names then fail("the template assigns %d values to %d names", #items, #names) end
    for i, name in ipairs(names) do env[name] = items[i] end
  end
end

local statements = {}

statements["if"] = function(s, parts)
  local branches, word = {}, "if"
  while word ~= "endif" do
    local condition = word ~= "else" and expression(s) or function() return true end
    s:finish()
    local body
    body, s, word = block(parts, word == "else" and { endif = true } or { elif = true, ["else"] = true, endif = true })
    branches[#branches + 1] = { condition, body }
  end
  return function(env, out)
    for _, branch in ipairs(branches) do
      if values.truth(branch[1](env)) then return branch[2](env, out) end
    end
  end
end

local function loop_of(items, i)
  local loop = values.dict()
  local n = #items
  local function item(k) return items[k] == nil and values.undefined "the neighbour of an item at the end" or items[k] end
  for name, value in pairs { index = i, index0 = i - 1, revindex = n - i + 1, revindex0 = n - i, first = i == 1, last = i == n,
    length = n, previtem = item(i - 1), nextitem = item(i + 1) } do
    values.set(loop, name, value)
  end
  values.set(loop, "cycle", function(_, ...) return (select((i - 1) % select("#", ...) + 1, ...)) end)
  return loop
end

statements["for"] = function(s, parts)
  local assign = target(s)
  s:need "in"
  local list = expressions.disjunction(s)
  local only = s:take "if" and expression(s)
  if s:is "recursive" then s:refuse "%s is not implemented in this version of luasight" end
  s:finish()
  local body, otherwise, word
  body, s, word = block(parts, { ["else"] = true, endfor = true })
  if word == "else" then
    s:finish()
    otherwise = block(parts, { endfor = true })
  end
  return function(env, out)
    local items, scope = {}, inner(env)
    for _, item in ipairs(values.items(list(env))) do
      assign(scope, item)
      if not only or values.truth(only(scope)) then items[#items + 1] = item end
    end
    if #items == 0 and otherwise then return otherwise(env, out) end
    for i, item in ipairs(items) do
      scope = inner(env)
      assign(scope, item)
      scope.loop = loop_of(items, i)
      local signal = body(scope, out)
      if signal == "break" then break end
    end
  end
end

statements.set = function(s, parts)
  local assign = target(s)
  if s:take "=" then
    local value = expression(s)
    if s:is "," then s:refuse "%s is not implemented here in this version of luasight" end
    s:finish()
    return function(env) assign(env, value(env)) end
  end
  s:finish()
  local body = block(parts, { endset = true })
  return function(env)
    local out = {}
    body(inner(env), out)
    assign(env, table.concat(out))
  end
end

statements.macro = function(s, parts)
  local name, names, defaults = s:name(), {}, {}
  s:need "("
  while not s:take ")" do
    names[#names + 1] = s:name()
    if s:take "=" then defaults[#names] = expression(s) end
    if not s:is ")" then s:need "," end
  end
  s:finish()
  local body = block(parts, { endmacro = true })
  return function(env)
    env[name] = function(named, ...)
      local scope, out, given = inner(env), {}, { ... }
      for i, argument in ipairs(names) do
        local value = given[i]
        if value == nil then value = named[argument] end
        if value == nil and defaults[i] then value = defaults[i](scope) end
        scope[argument] = value == nil and values.undefined(argument) or value
      end
      body(scope, out)
      return table.concat(out)
    end
  end
end

---The template statement `generation` marks the assistant's part of a text as the part to train on; the text itself is the
---same without the statement.
statements.generation = function(s, parts)
  s:finish()
  return (block(parts, { endgeneration = true }))
end

statements["break"] = function(s)
  s:finish()
  return function() return "break" end
end

statements.continue = function(s)
  s:finish()
  return function() return "continue" end
end

local function statement(part, parts, stops)
  local s = Stream.new(part)
  local word = s:name()
  if stops[word] then return nil, s, word end
  if not statements[word] then
    s.at = 1
    s:refuse "the statement %s is not implemented in this version of luasight, or does not belong here"
  end
  return statements[word](s, parts)
end

block = function(parts, stops)
  local nodes = {}
  while true do
    local part = parts[parts.at]
    if not part then
      if next(stops) then fail("the statement %s is missing at the end", (next(stops))) end
      break
    end
    parts.at = parts.at + 1
    if part.kind == "text" then
      nodes[#nodes + 1] = function(_, out) out[#out + 1] = part.value end
    elseif part.kind == "{{" then
      local s = Stream.new(part)
      local value = expression(s)
      s:finish()
      nodes[#nodes + 1] = function(env, out) out[#out + 1] = values.text(value(env)) end
    else
      local node, s, word = statement(part, parts, stops)
      if not node then
        if word ~= "elif" and word ~= "else" then s:finish() end
        parts.stopped, parts.word = s, word
        break
      end
      nodes[#nodes + 1] = node
    end
  end
  return function(env, out)
    for _, node in ipairs(nodes) do
      local signal = node(env, out)
      if signal then return signal end
    end
  end, parts.stopped, parts.word
end

-- ---- the whole template ----------------------------------------------------------------------------------------------

local function guarded(what, f, ...)
  local ok, result = pcall(f, ...)
  if ok then return result end
  if type(result) == "table" and result.template then
    binding.raise("argument", ("%s: %s"):format(what, (result.template:gsub("%c+", " "))))
  end
  error(result, 0)
end

---Compiles a chat template to a function that takes the template's variables as a table and returns the text.
---@param text string
---@param what string  the name of the template, with which error messages begin
---@return fun(variables: table): string
function jinja.compile(text, what)
  local body = guarded(what, function()
    local parts = lexer.parts(text)
    parts.at = 1
    return (block(parts, {}))
  end)
  return function(variables)
    return guarded(what, function()
      local env, out = inner(library.functions), {}
      for name, value in pairs(variables) do env[name] = values.from_lua(value) end
      body(env, out)
      return table.concat(out)
    end)
  end
end

return jinja
