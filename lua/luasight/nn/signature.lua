--- Signatures of calls: which arguments a module is called with, and the values of those that are not handles. Recordings are
--- kept by them.
local binding = require "luasight.ffi"
local functions = require "luasight.ffi.functions"
local tensors = require "luasight.ffi.tensors"

local is_handle, is_whole = binding.is_handle, tensors.is_whole

local signature = {}

local function is_options(v) return type(v) == "table" and getmetatable(v) == nil and v[1] == nil and next(v) ~= nil end

local ranks = { boolean = 1, number = 2, string = 3 }

local function key_before(a, b)
  local rank, other = ranks[type(a)], ranks[type(b)]
  if rank ~= other then return rank < other end
  if rank == 1 then return not a and b end
  return a < b
end

---Returns the keys of a table in an order that depends on the keys alone.
---@param t table
---@return any[]
function signature.sorted_keys(t)
  local keys = {}
  for k in pairs(t) do
    if not ranks[type(k)] then
      binding.raise("argument", ("a table that has a %s as a key cannot be an argument of a module"):format(type(k)))
    end
    keys[#keys + 1] = k
  end
  table.sort(keys, key_before)
  return keys
end

---Returns a text for a value that is no table and no handle; two values have the same text only if they are the same. The
---text says where it ends, so texts can be joined. Returns nil for a value that cannot be an argument.
local function text_of(v)
  local kind = type(v)
  if kind == "string" then return ("s%d:%s"):format(#v, v) end
  if kind == "number" then return ("n%.17g,"):format(v) end -- 17 digits tell any two numbers apart, and -0 from 0
  if kind == "boolean" then return v and "t" or "f" end
  if kind == "nil" then return "-" end
  if kind == "cdata" and is_whole(v) then return "i" .. tostring(v) .. "," end -- "5LL" or "5ULL"
end

local function refuse_object(v)
  local is_module = rawget(v, "_values") ~= nil
  binding.raise("argument", is_module and "a module cannot be an argument of a module" or
    "a table with a metatable cannot be an argument of a module", { hint = is_module and
    "make it a child or a field of the module that calls it, or an upvalue of its forward" or
    "pass a plain table, or make the object a field of the module" })
end

---Describes one argument of a call: appends its description to `parts`, the texts that together are the key of the signature,
---and the handles in the argument to `inputs`. `around` has the tables in which the argument is.
local function describe(v, parts, inputs, around)
  if is_handle(v) then
    parts[#parts + 1] = "v"
    inputs[#inputs + 1] = v
  elseif type(v) == "table" then
    if getmetatable(v) ~= nil then refuse_object(v) end
    if around[v] then binding.raise("argument", "a table that contains itself cannot be an argument of a module") end
    around[v] = true
    parts[#parts + 1] = "{"
    for _, k in ipairs(signature.sorted_keys(v)) do
      parts[#parts + 1] = text_of(k)
      describe(v[k], parts, inputs, around)
    end
    parts[#parts + 1] = "}"
    around[v] = nil
  else
    parts[#parts + 1] = text_of(v) or
      binding.raise("argument", "a module cannot take a " .. type(v) .. " as argument")
  end
end

---Returns a copy of an argument in which each handle is replaced by a result of `take`, which returns the next input of
---the recorded function.
---@param v any
---@param take fun(): ffi.cdata*
---@return any
function signature.with_inputs(v, take)
  if is_handle(v) then return take() end
  if type(v) ~= "table" then return v end
  local copy = {}
  for _, k in ipairs(signature.sorted_keys(v)) do copy[k] = signature.with_inputs(v[k], take) end
  return copy
end

---Raises an error where a forward has put a value into a table that it was given: it was given a copy, and runs later.
---@param v any  an argument as the forward was given it
---@param given table<any, boolean>  the handles in the arguments, and the tables that were searched
function signature.check_kept(v, given)
  if type(v) ~= "table" or getmetatable(v) ~= nil or given[v] then return end
  given[v] = true
  for _, inner in pairs(v) do
    if is_handle(inner) and not given[inner] then
      binding.raise("state", "a forward puts a value into a table that is an argument of it, where it would be lost", { hint =
        "return the value, or name it with nn.tap, so that a trace can read it" })
    end
    signature.check_kept(inner, given)
  end
end

---@class luasight.signature  the arguments of a call of a module, sorted into handles and other values
---@field key string    the text under which recordings are kept
---@field args table     the positional arguments as given, with their number `n`
---@field options table?  the keyword arguments
---@field inputs table   the handles among the positional arguments
---@field named table    a list of {name, handle} for the keyword arguments

local no_names = {}

---Returns the signature of the call of a module with these arguments.
---@param ... any
---@return luasight.signature
function signature.of(...)
  local n, first = select("#", ...), ...
  if n == 1 and is_handle(first) then
    return { key = "v", args = { first, n = 1 }, inputs = { first }, named = no_names }
  end
  local s = { args = { n = n, ... }, inputs = {}, named = {} }
  local parts, around = {}, {}
  if n > 0 and is_options(s.args[n]) then
    s.options, s.args[n], s.args.n = s.args[n], nil, n - 1
    n = n - 1
  end
  while n > 0 and s.args[n] == nil do n = n - 1 end
  s.args.n = n
  for i = 1, n do describe(s.args[i], parts, s.inputs, around) end
  if s.options then
    for _, name in ipairs(signature.sorted_keys(s.options)) do
      local v = s.options[name]
      parts[#parts + 1] = ";" .. text_of(name)
      if is_handle(v) then
        parts[#parts + 1] = "v"
        s.named[#s.named + 1] = { name, v }
      else
        describe(v, parts, s.inputs, around)
      end
    end
  end
  s.key = table.concat(parts)
  return s
end

---Returns the argument stream of a call: the positional handles, then the keyword arguments.
---@param s luasight.signature
---@return ffi.cdata* stream, integer n
function signature.stream(s) return functions.arguments(s.inputs, s.named) end

return signature
