--- Compiles the expressions of a Jinja template: each becomes a function that takes the template's variables, a table by
--- name, and returns the expression's value.
local library = require "luasight.text.jinja.library"
local values = require "luasight.text.jinja.values"

local none, fail, truth, text_of = values.none, values.fail, values.truth, values.text

---@class luasight.jinja.Stream
local Stream = {}
Stream.__index = Stream

---Makes a reader of the tokens of a part of a template, which begins at the first token.
---@param part table  a statement or an expression of the template, as lexer.parts returns it
function Stream.new(part) return setmetatable({ tokens = part.tokens, at = 1, line = part.line }, Stream) end

function Stream:peek() return self.tokens[self.at] end

function Stream:is(value, ahead)
  local token = self.tokens[self.at + (ahead or 0)]
  return token ~= nil and token.kind ~= "string" and token.value == value
end

function Stream:take(value)
  if not self:is(value) then return false end
  self.at = self.at + 1
  return true
end

function Stream:refuse(what)
  local token = self:peek()
  local line = token and token.line or self.line
  fail("line %d of the template: %s", line, what:format(token and ("%q"):format(tostring(token.value)) or "the end"))
end

function Stream:need(value)
  if not self:take(value) then self:refuse(("%q is missing before %%s"):format(value):gsub("\n", "")) end
end

function Stream:name()
  local token = self:peek()
  if not token or token.kind ~= "name" then self:refuse "a name is missing before %s" end
  self.at = self.at + 1
  return token.value
end

function Stream:finish()
  if self:peek() then self:refuse "%s is not expected here" end
end

-- ---- calls -----------------------------------------------------------------------------------------------------------

local expression, unary

local function constant(v) return function() return v end end

---Reads the arguments of a call in a template, behind its opening bracket. Returns a function of the template's variables,
---which returns the named arguments as a table, and then the positional arguments.
local function arguments(s)
  local positional, named = {}, {}
  while not s:take ")" do
    if s:is("=", 1) then
      local name = s:name()
      s:need "="
      named[#named + 1] = { name, expression(s) }
    else
      positional[#positional + 1] = expression(s)
    end
    if not s:is ")" then s:need "," end
  end
  return function(env)
    local by_name, list = {}, {}
    for i, pair in ipairs(named) do by_name[i], by_name[pair[1]] = pair[1], pair[2](env) end
    for i, argument in ipairs(positional) do list[i] = argument(env) end
    return by_name, unpack(list, 1, #positional)
  end
end

local function no_arguments() return {} end

---Calls the method `name` of a value: a method of strings or dictionaries (library.lua), else a function in a field.
local function call_method(line, object, name, named, ...)
  local methods = type(object) == "string" and library.text_methods or values.is_dict(object) and library.dict_methods
  if methods and methods[name] then return methods[name](object, ...) end
  local value = values.index(object, name)
  if type(value) == "function" then return value(named, ...) end
  fail("line %d: the method %q of %s is not implemented in this version of luasight", line, name, values.kind(object))
end

-- ---- single values -----------------------------------------------------------------------------------------------------

local function list_until(s, close)
  local items = {}
  while not s:take(close) do
    items[#items + 1] = expression(s)
    if not s:is(close) then s:need "," end
  end
  return function(env)
    local out = {}
    for i, item in ipairs(items) do out[i] = item(env) end
    return values.list(out)
  end
end

local function dictionary(s)
  local entries = {}
  while not s:take "}" do
    local key = expression(s)
    s:need ":"
    entries[#entries + 1] = { key, expression(s) }
    if not s:is "}" then s:need "," end
  end
  return function(env)
    local dict = values.dict()
    for _, entry in ipairs(entries) do values.set(dict, entry[1](env), entry[2](env)) end
    return dict
  end
end

local words = { ["true"] = true, True = true, ["false"] = false, False = false, none = none, None = none }

local function atom(s)
  local token = s:peek()
  if not token then s:refuse "a value is missing before %s" end
  s.at = s.at + 1
  if token.kind == "string" then
    local text = token.value
    while s:peek() and s:peek().kind == "string" do
      text = text .. s:peek().value
      s.at = s.at + 1
    end
    return constant(text)
  elseif token.kind == "number" then
    return constant(token.value)
  elseif token.kind == "name" then
    if words[token.value] ~= nil then return constant(words[token.value]) end
    local name = token.value
    return function(env)
      local value = env[name]
      if value == nil then return values.undefined(name) end
      return value
    end
  elseif token.value == "(" then
    if s:take ")" then return function() return values.tuple {} end end
    local first = expression(s)
    if s:take ")" then return first end
    s:need ","
    local rest = list_until(s, ")")
    return function(env)
      local out = { first(env) }
      for _, item in ipairs(rest(env)) do out[#out + 1] = item end
      return values.tuple(out)
    end
  elseif token.value == "[" then
    return list_until(s, "]")
  elseif token.value == "{" then
    return dictionary(s)
  end
  s.at = s.at - 1
  s:refuse "%s is not expected here"
end

local function subscript(s, object)
  local parts, colons = {}, 0
  local function part() return (s:is ":" or s:is "]") and constant(none) or expression(s) end
  parts[1] = part()
  while s:take ":" do
    colons = colons + 1
    parts[colons + 1] = part()
  end
  s:need "]"
  if colons == 0 then return function(env) return values.index(object(env), parts[1](env)) end end
  local step = parts[3] or constant(none)
  return function(env) return values.slice(object(env), parts[1](env), parts[2](env), step(env)) end
end

---Reads `.name`, `[index]` and calls behind a value; `filtered` and `tested` read filters and tests, which bind less tightly.
local function postfix(s, value)
  while true do
    local token, object = s:peek(), value
    local line = token and token.line
    if s:take "." then
      local key = s:peek() and s:peek().kind == "number" and s:peek().value
      if key then s.at = s.at + 1 end
      local name = key or s:name()
      if s:take "(" then
        local given = arguments(s)
        value = function(env) return call_method(line, object(env), name, given(env)) end
      else
        value = function(env) return values.index(object(env), name) end
      end
    elseif s:take "[" then
      value = subscript(s, object)
    elseif s:take "(" then
      local given = arguments(s)
      value = function(env)
        local f = object(env)
        if type(f) ~= "function" then fail("line %d of the template: %s cannot be called", line, values.kind(f)) end
        return f(given(env))
      end
    else
      return value
    end
  end
end

local function known(s, what, name)
  if library[what .. "s"][name] then return library[what .. "s"][name] end
  s.at = s.at - 1
  s:refuse(("the %s %%s is not implemented in this version of luasight"):format(what))
end

---Reads the filters behind a value (`value | name(argument)`); returns the function that applies them to the value.
local function filtered(s, value)
  while s:take "|" do
    local object, filter = value, known(s, "filter", s:name())
    local given = s:take "(" and arguments(s) or no_arguments
    value = function(env)
      return filter(object(env), given(env))
    end
  end
  return value
end

---Reads the tests behind a value (`value is name(argument)`); the argument of a test may be written without brackets.
local function tested(s, value)
  while s:take "is" do
    local object, negated = value, s:take "not"
    local name = s:peek() and s:peek().value == "==" and s:take "==" and "==" or s:name()
    local test, given = known(s, "test", name), no_arguments
    if s:take "(" then given = arguments(s)
    elseif name == "==" or name == "equalto" or name == "eq" or name == "ne" or name == "divisibleby" or name == "in" then
      local argument = unary(s)
      given = function(env) return {}, argument(env) end
    end
    value = function(env)
      local v = object(env)
      return truth(test(v, select(2, given(env)))) ~= negated
    end
  end
  return value
end

-- ---- operators ---------------------------------------------------------------------------------------------------------

local function number(v, sign)
  if type(v) == "boolean" then return v and 1 or 0 end
  if type(v) ~= "number" then fail("%s cannot be used with the operator %s", values.kind(v), sign) end
  return v
end

local function add(a, b)
  if type(a) == "string" and type(b) == "string" then return a .. b end
  if values.is_list(a) and values.is_list(b) then
    local out = { unpack(a) }
    for _, item in ipairs(b) do out[#out + 1] = item end
    return values.list(out)
  end
  return number(a, "+") + number(b, "+")
end

local function multiply(a, b)
  if type(a) == "string" and type(b) == "number" then return a:rep(b) end
  if type(b) == "string" and type(a) == "number" then return b:rep(a) end
  return number(a, "*") * number(b, "*")
end

local function less(a, b)
  if type(a) == "string" and type(b) == "string" then return a < b end
  return number(a, "<") < number(b, "<")
end

local operators = {
  ["+"] = add, ["*"] = multiply,
  ["-"] = function(a, b) return number(a, "-") - number(b, "-") end,
  ["/"] = function(a, b) return number(a, "/") / number(b, "/") end,
  ["//"] = function(a, b) return math.floor(number(a, "//") / number(b, "//")) end,
  ["%"] = function(a, b) return number(a, "%") % number(b, "%") end,
  ["**"] = function(a, b) return number(a, "**") ^ number(b, "**") end,
  ["~"] = function(a, b) return text_of(a) .. text_of(b) end,
  ["=="] = values.equal,
  ["!="] = function(a, b) return not values.equal(a, b) end,
  ["<"] = less,
  [">"] = function(a, b) return less(b, a) end,
  ["<="] = function(a, b) return not less(b, a) end,
  [">="] = function(a, b) return not less(a, b) end,
}

local function binary(inner, signs)
  return function(s)
    local value = inner(s)
    while true do
      local sign
      for _, one in ipairs(signs) do sign = sign or s:take(one) and one end
      if not sign then return value end
      local a, b, operator = value, inner(s), operators[sign]
      value = function(env) return operator(a(env), b(env)) end
    end
  end
end

local function power(s)
  local value = postfix(s, atom(s))
  if not s:take "**" then return value end
  local exponent = unary(s)
  return function(env) return operators["**"](value(env), exponent(env)) end
end

local function signed(s)
  if s:take "-" then
    local value = signed(s)
    return function(env) return -number(value(env), "-") end
  end
  s:take "+"
  return power(s)
end

---Reads a value of an expression, with the filters and tests behind it.
unary = function(s) return tested(s, filtered(s, signed(s))) end

local product = binary(function(s) return unary(s) end, { "*", "//", "/", "%" })
local joined = binary(product, { "~" })
local sum = binary(joined, { "+", "-" })

local comparisons = { "==", "!=", "<=", ">=", "<", ">" }

---Reads a chain of comparisons such as `1 < x < 5`, which is true where each of its comparisons is true.
local function comparison(s)
  local first, links = sum(s), {}
  while true do
    local link
    for _, sign in ipairs(comparisons) do link = link or s:take(sign) and operators[sign] end
    if not link and s:take "in" then
      link = function(a, b) return values.contains(b, a) end
    elseif not link and s:is "not" and s:is("in", 1) then
      s.at = s.at + 2
      link = function(a, b) return not values.contains(b, a) end
    end
    if not link then break end
    links[#links + 1] = { link, sum(s) }
  end
  if #links == 0 then return first end
  return function(env)
    local left = first(env)
    for _, link in ipairs(links) do
      local right = link[2](env)
      if not link[1](left, right) then return false end
      left = right
    end
    return true
  end
end

local function negation(s)
  if not s:take "not" then return comparison(s) end
  local value = negation(s)
  return function(env) return not truth(value(env)) end
end

local function conjunction(s)
  local value = negation(s)
  while s:take "and" do
    local a, b = value, negation(s)
    value = function(env)
      local v = a(env)
      if truth(v) then return b(env) end
      return v
    end
  end
  return value
end

local function disjunction(s)
  local value = conjunction(s)
  while s:take "or" do
    local a, b = value, conjunction(s)
    value = function(env)
      local v = a(env)
      if truth(v) then return v end
      return b(env)
    end
  end
  return value
end

---Reads an expression, which may have the form `a if b else c`.
expression = function(s)
  local value = disjunction(s)
  while s:take "if" do
    local yes, condition = value, disjunction(s)
    local no = s:take "else" and expression(s) or constant(values.undefined "a value without else")
    value = function(env)
      if truth(condition(env)) then return yes(env) end
      return no(env)
    end
  end
  return value
end

return { Stream = Stream, expression = expression, disjunction = disjunction }
