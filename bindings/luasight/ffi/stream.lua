--- Writes Lua arguments as an argument stream of the core: an array of ls_value that later calls reuse.
---
--- An encoder holds two arrays: one for the arguments of a call, one for its results. A caller of the core takes an
--- encoder, uses it alone, and returns it once the results are handles:
---
---     local e = take()
---     local values, n, has_node = e.encode_args(...)
---     C.ls_op_call(op, values, n, site, e.results, e.count)
---     ... handles of e.results
---     put_back(e)
---
--- A finalizer may run at any moment in between, even from compiled code, and may call operators itself: it takes another
--- encoder. An encoder that is not returned because of an error is replaced when the next one is taken. The collector does
--- not see the handles in the array: the arguments of the Lua call keep them alive.
local constants = require "luasight.ffi.constants"
local length_of = require "luasight.ffi.list".length

local floor = math.floor
local BEYOND = 2ULL ^ 63 -- above the largest whole number that the core can hold

local OPEN, KEY, LIST = constants.LS_OPEN, constants.LS_KEY, constants.LS_LIST
local BOOL, INT, FLOAT, STRING = constants.LS_BOOL, constants.LS_INT, constants.LS_FLOAT, constants.LS_STRING
local NONE, TENSOR, NODE = constants.LS_NONE, constants.LS_TENSOR, constants.LS_NODE
local DEEPEST = 64 -- no tensor has more axes
local REDUCTIONS = { none = 0, mean = 1, sum = 2 }

---@param binding luasight.binding
return function(binding)
  local ffi, ref_t = binding.ffi, binding.ref_t
  local istype = ffi.istype
  local int64_t, uint64_t = ffi.typeof "int64_t", ffi.typeof "uint64_t"
  local modes, recordings = binding.modes, binding.recordings
  local idle -- an encoder that is not in use, or false

  local stream = {}

  local function new()
    local capacity = 0
    local values, refs, kinds, ints, floats, texts -- the array of ls_value, and pointers to its fields
    local has_node                           -- whether the call may be recorded

    local function grow(at_least)
      local size = math.max(64, capacity * 2, at_least)
      local bigger = ffi.new("ls_value[?]", size)
      if values then ffi.copy(bigger, values, capacity * ffi.sizeof "ls_value") end
      values, capacity = bigger, size
      kinds, ints, floats = ffi.cast("int32_t *", bigger), ffi.cast("int64_t *", bigger), ffi.cast("double *", bigger)
      texts, refs = ffi.cast("const char **", bigger), ffi.cast("ls_ref *", bigger)
    end
    grow(64)

    local results = ffi.new("ls_value[?]", constants.LS_RESULTS)
    ---@class luasight.Encoder  the arguments of a call, and memory for its results
    local e = { results = results, handles = ffi.cast("ls_ref *", results), count = ffi.new "int32_t[1]" }
    local put

    local depth = 0 -- how many lists are around the value that is being written

    local function refuse(code, message)
      idle, depth = e, 0
      binding.raise(code, message)
    end

    local function put_list(n, list, aux)
      if getmetatable(list) ~= nil then
        refuse("argument", "an object with a metatable cannot be an argument of an operator")
      end
      local length, wrong, name = length_of(list)
      if wrong and name then
        refuse("argument", ("named arguments (%s = ...) belong in a table at the end"):format(tostring(name)))
      elseif wrong then
        refuse("argument", wrong .. "; ls.tuple(x, nil) holds nil")
      end
      kinds[4 * n], kinds[4 * n + 1], ints[2 * n + 1] = OPEN, aux, length
      n = n + 1
      depth = depth + 1
      if depth > DEEPEST then refuse("argument", "a list is nested too deeply, or contains itself") end
      for i = 1, length do n = put(n, list[i], aux) end
      depth = depth - 1
      return n
    end

    ---Writes one value at place n of the stream and returns the next free place. A Lua list becomes a sequence of the kind
    ---`aux`, by default LS_LIST.
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
            refuse("state", "this value has been released, so it cannot be used any more")
          end
          refs[n] = v
        elseif istype(int64_t, v) or istype(uint64_t, v) and v < BEYOND then
          kinds[4 * n], ints[2 * n + 1] = INT, v
        elseif istype(uint64_t, v) then
          refuse("argument", ("%s is above 2^63 - 1, the largest whole number of an operator"):format(tostring(v)))
        else
          refuse("argument", ("%s cannot be an argument of an operator"):format(tostring(v)))
        end
      elseif t == "number" then
        if v == floor(v) and v >= -2 ^ 63 and v < 2 ^ 63 and (v ~= 0 or 1 / v > 0) then -- -0.0 keeps its sign
          kinds[4 * n], ints[2 * n + 1] = INT, v
        else
          kinds[4 * n], floats[2 * n + 1] = FLOAT, v
        end
      elseif t == "nil" then
        kinds[4 * n] = NONE
      elseif t == "boolean" then
        kinds[4 * n], ints[2 * n + 1] = BOOL, v and 1 or 0
      elseif t == "string" then
        if v:find("\0", 1, true) then refuse("argument", ("the text %q has a zero byte, where C ends a text"):format(v)) end
        kinds[4 * n], texts[2 * n + 1] = STRING, v
      elseif t == "table" then
        return put_list(n, v, aux or LIST)
      else
        refuse("argument", ("a %s cannot be an argument of an operator"):format(t))
      end
      return n + 1
    end

    local function put_keywords(n, options)
      for name, v in pairs(options) do
        if type(name) ~= "string" then
          refuse("argument", "a table of keyword arguments can only have names as keys")
        end
        if name == "reduction" and type(v) == "string" then
          v = REDUCTIONS[v] or refuse("argument", ("the argument reduction is none, mean or sum, not %q"):format(v))
        end
        n = e.put_key(n, name, v)
      end
      return n
    end

    ---Writes the arguments of an operator as an argument stream. If the last argument is a table whose keys are all names, the
    ---table has the keyword arguments.
    ---@param ... any
    ---@return ffi.cdata* stream, integer n, boolean has_node
    function e.encode_args(...)
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
      has_node = recordings.active
      if count > 0 then n = put(n, a) end
      if count > 1 then n = put(n, b) end
      if count > 2 then n = put(n, c) end
      if count > 3 then n = put(n, d) end
      for i = 5, count do n = put(n, (select(i, ...))) end
      if options then n = put_keywords(n, options) end
      return values, n, has_node
    end

    ---Writes two values as an argument stream.
    ---@param a any
    ---@param b any
    ---@return ffi.cdata* stream, integer n, boolean has_node
    function e.encode_two(a, b)
      has_node = recordings.active
      local n = put(put(0, a), b)
      return values, n, has_node
    end

    ---Writes one value as an argument stream; a Lua list takes several places of the stream (n > 1).
    ---@param v any
    ---@return ffi.cdata* stream, integer n, boolean has_node
    function e.encode_one(v)
      has_node = recordings.active
      local n = put(0, v)
      return values, n, has_node
    end

    ---Writes values as the elements of one sequence of kind `aux`; Lua lists among the values become sequences of the same
    ---kind.
    ---@param aux integer  LS_TUPLE or LS_LIST
    ---@param ... any
    ---@return ffi.cdata* stream, integer n, boolean has_node
    function e.encode_sequence(aux, ...)
      local count, n = select("#", ...), 1
      has_node = recordings.active
      kinds[0], kinds[1], ints[1] = OPEN, aux, count
      for i = 1, count do n = put(n, (select(i, ...)), aux) end
      return values, n, has_node
    end

    ---Returns the array that holds the stream; writing more values may move the array to other memory.
    ---@return ffi.cdata*
    function e.scratch() return values end

    ---Writes at place n an item of a stream that stands for no Lua value (LS_SLICE, LS_ELLIPSIS, LS_OPEN, ...); returns the
    ---next free place.
    ---@param n integer
    ---@param kind integer
    ---@param aux integer
    ---@param count integer
    ---@return integer
    function e.put_item(n, kind, aux, count)
      if n + 1 >= capacity then grow(n + 2) end
      kinds[4 * n], kinds[4 * n + 1], ints[2 * n + 1] = kind, aux, count
      return n + 1
    end

    ---Writes a value with its name at place n: an element of a struct, or a keyword argument. Returns the next free place.
    ---@param n integer
    ---@param name string
    ---@param v any
    ---@return integer
    function e.put_key(n, name, v)
      if n + 1 >= capacity then grow(n + 2) end
      if type(name) ~= "string" then
        refuse("argument", ("the name of a value is a text, not %s"):format(type(name) == "number" and name or type(name)))
      elseif name:find("\0", 1, true) then
        refuse("argument", ("the name %q has a zero byte, where C ends a text"):format(name))
      end
      kinds[4 * n], texts[2 * n + 1] = KEY, name
      return put(n + 1, v)
    end

    ---Returns whether the call may be recorded: a node was written to the stream since the last call of `restart`, or a forward
    ---is being recorded.
    ---@return boolean
    function e.has_node() return has_node end
    function e.restart() has_node = recordings.active end

    e.put = put
    return e
  end
  idle = new()

  ---Returns an encoder that nothing else uses. Since a call of the core follows, autograd and what is recorded are set to those
  ---of the running coroutine.
  ---@return luasight.Encoder
  function stream.take()
    if modes.shared then modes.set() end
    if recordings.shared then recordings.set() end
    local e = idle
    idle = false
    return e or new()
  end

  ---Frees an encoder for the next call that takes one.
  ---@param e luasight.Encoder
  function stream.put_back(e) idle = e end

  return stream
end
