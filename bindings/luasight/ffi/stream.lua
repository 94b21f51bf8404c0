--- Lua arguments as an argument stream of the core: an array of ls_value that is reused by the next call.
---
--- Nothing may allocate between the encoding and the call of the core that reads the stream: the collector does not see
--- the handles in it.
local floor = math.floor

local OPEN, KEY = 10, 11
local BOOL, INT, FLOAT, STRING, TENSOR, LIST, NODE = 1, 2, 3, 4, 5, 7, 9
local REDUCTIONS = { none = 0, mean = 1, sum = 2 }

---@param binding luasight.binding
return function(binding)
  local ffi, ref_t = binding.ffi, binding.ref_t
  local istype = ffi.istype
  local int64_t, uint64_t = ffi.typeof "int64_t", ffi.typeof "uint64_t"

  local capacity = 0
  local values, refs, kinds, ints, floats, texts -- one memory, seen as each of its fields
  local has_node                           -- a node was encoded since the last `encode_args`

  local function grow(at_least)
    local bigger = math.max(64, capacity * 2, at_least)
    local new = ffi.new("ls_value[?]", bigger)
    if values then ffi.copy(new, values, capacity * ffi.sizeof "ls_value") end
    values, capacity = new, bigger
    kinds, ints, floats = ffi.cast("int32_t *", new), ffi.cast("int64_t *", new), ffi.cast("double *", new)
    texts, refs = ffi.cast("const char **", new), ffi.cast("ls_ref *", new)
  end
  grow(64)

  local stream = {}
  local put

  local function put_list(n, list, aux)
    if getmetatable(list) ~= nil then
      binding.raise("argument", "an object is no argument of an operator", 4)
    end
    local length = #list
    if length == 0 and next(list) ~= nil then
      binding.raise("argument", ("names (%s =) can only stand in the last argument"):format(tostring((next(list)))), 4)
    end
    kinds[4 * n], kinds[4 * n + 1], ints[2 * n + 1] = OPEN, aux, length
    n = n + 1
    for i = 1, length do n = put(n, list[i], aux) end
    return n
  end

  ---Writes one value at place n and gives the next place. A Lua list becomes a sequence of kind `aux` (LS_LIST).
  ---@param n integer
  ---@param v any
  ---@param aux integer?
  ---@return integer
  put = function(n, v, aux)
    if n + 1 >= capacity then grow(n + 2) end
    local t = type(v)
    if t == "cdata" then
      if istype(ref_t, v) then
        local kind = v._kind
        if kind == NODE then
          has_node = true
        elseif kind < TENSOR then
          binding.raise("state", "this value has been released", 4)
        end
        refs[n] = v
      elseif istype(int64_t, v) or istype(uint64_t, v) then
        kinds[4 * n], ints[2 * n + 1] = INT, v
      else
        binding.raise("argument", ("%s is no argument of an operator"):format(tostring(v)), 4)
      end
    elseif t == "number" then
      if v == floor(v) and v >= -2 ^ 63 and v < 2 ^ 63 then
        kinds[4 * n], ints[2 * n + 1] = INT, v
      else
        kinds[4 * n], floats[2 * n + 1] = FLOAT, v
      end
    elseif t == "nil" then
      kinds[4 * n] = 0
    elseif t == "boolean" then
      kinds[4 * n], ints[2 * n + 1] = BOOL, v and 1 or 0
    elseif t == "string" then
      kinds[4 * n], texts[2 * n + 1] = STRING, v
    elseif t == "table" then
      return put_list(n, v, aux or LIST)
    else
      binding.raise("argument", ("a %s is no argument of an operator"):format(t), 4)
    end
    return n + 1
  end

  local function put_keywords(n, options)
    for name, v in pairs(options) do
      if type(name) ~= "string" then
        binding.raise("argument", "a table of keyword arguments has names only", 4)
      end
      if name == "reduction" and type(v) == "string" then
        v = REDUCTIONS[v] or binding.raise("argument", ("reduction is none, mean or sum, not %q"):format(v), 4)
      end
      n = stream.put_key(n, name, v)
    end
    return n
  end

  ---The arguments of an operator: a trailing table without a list part holds keyword arguments.
  ---@param ... any
  ---@return ffi.cdata* stream, integer n, boolean has_node
  function stream.encode_args(...)
    local count = select("#", ...)
    local a, b, c, d = ...
    local last = d
    if count <= 1 then last = a elseif count == 2 then last = b elseif count == 3 then last = c
    elseif count > 4 then last = select(count, ...) end
    local options
    if type(last) == "table" and #last == 0 and next(last) ~= nil and getmetatable(last) == nil then
      options, count = last, count - 1
    end
    if type(last) == "nil" or options then
      while count > 0 and type((select(count, ...))) == "nil" do count = count - 1 end
    end
    local n = 0
    has_node = false
    if count > 0 then n = put(n, a) end
    if count > 1 then n = put(n, b) end
    if count > 2 then n = put(n, c) end
    if count > 3 then n = put(n, d) end
    for i = 5, count do n = put(n, (select(i, ...))) end
    if options then n = put_keywords(n, options) end
    return values, n, has_node
  end

  ---Two values.
  ---@param a any
  ---@param b any
  ---@return ffi.cdata* stream, integer n, boolean has_node
  function stream.encode_two(a, b)
    has_node = false
    local n = put(put(0, a), b)
    return values, n, has_node
  end

  ---One value; a Lua list takes several places (n > 1).
  ---@param v any
  ---@return ffi.cdata* stream, integer n, boolean has_node
  function stream.encode_one(v)
    has_node = false
    local n = put(0, v)
    return values, n, has_node
  end

  ---The elements of one sequence of kind `aux`, Lua lists inside becoming such sequences too.
  ---@param aux integer  LS_TUPLE or LS_LIST
  ---@param ... any
  ---@return ffi.cdata* stream, integer n, boolean has_node
  function stream.encode_sequence(aux, ...)
    local count, n = select("#", ...), 1
    has_node = false
    kinds[0], kinds[1], ints[1] = OPEN, aux, count
    for i = 1, count do n = put(n, (select(i, ...)), aux) end
    return values, n, has_node
  end

  ---The scratch array after the last encoding; it moves when it grows.
  ---@return ffi.cdata*
  function stream.scratch() return values end

  ---Writes a bare stream item (LS_SLICE, LS_ELLIPSIS, LS_OPEN, ...).
  ---@param n integer
  ---@param kind integer
  ---@param aux integer
  ---@param count integer
  ---@return integer
  function stream.put_item(n, kind, aux, count)
    if n + 1 >= capacity then grow(n + 2) end
    kinds[4 * n], kinds[4 * n + 1], ints[2 * n + 1] = kind, aux, count
    return n + 1
  end

  ---Writes a named value: an element of a struct, a keyword argument.
  ---@param n integer
  ---@param name string
  ---@param v any
  ---@return integer
  function stream.put_key(n, name, v)
    if n + 1 >= capacity then grow(n + 2) end
    kinds[4 * n], texts[2 * n + 1] = KEY, name
    return put(n + 1, v)
  end

  ---Whether a node was encoded since `restart`.
  ---@return boolean
  function stream.has_node() return has_node end
  function stream.restart() has_node = false end

  ---Writes `value` at place n of an array of the caller's.
  ---@param array ffi.cdata*  ls_value *
  ---@param n integer
  ---@param value any
  ---@return integer
  function stream.encode(array, n, value)
    local stop = put(0, value)
    ffi.copy(array + n, values, stop * ffi.sizeof "ls_value")
    return n + stop
  end

  stream.put = put
  return stream
end
