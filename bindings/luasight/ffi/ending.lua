--- The end of the Lua state. When a state is closed, it calls all finalizers in any order, so a finalizer of a script may use
--- what was already released. It gets an error: as soon as the end is noticed, `refuse` replaces the functions of the library,
--- and the functions in `binding.at_end` take pointers out of tables, since compiled code goes on calling the library.
local header = require "luasight.ffi.header"

local getmetatable, getinfo = getmetatable, debug.getinfo

---@param binding luasight.binding
return function(binding)
  local C, ffi = binding.C, binding.ffi
  local ending = false
  binding.at_end = {} ---@type (fun())[]

  -- LuaJIT's table of the finalizers of cdata, in those versions that keep it here. It is its own metatable until the state
  -- is closed: before LuaJIT then calls the first finalizer, of whatever object, it takes the metatable off, and from then on
  -- `ffi.gc` does nothing.
  local sign = debug.getfenv(ffi.gc)
  local has_sign = type(sign) == "table" and getmetatable(sign) == sign

  -- Other versions show the end to our finalizers alone: the compiler is off, and no function called the finalizer. They then
  -- take the metatable off a table of ours.
  if not has_sign then
    sign = {}
    setmetatable(sign, sign)
  end

  local function refuse()
    binding.raise("state", "luasight cannot be used any more: the program ends, and what it used is released")
  end

  local function refuse_all()
    ending = true
    for _, f in ipairs(binding.at_end) do f() end
    local known = debug.getfenv(C) -- the table in which LuaJIT keeps the functions of a library that were looked up
    for name in header.functions:gmatch "[%w_]+" do
      if name ~= "ls_value_release" then known[name] = refuse end
    end
  end

  ---Raises an error where the Lua state is being closed. This is for functions that give a pointer its finalizer or take it
  ---off.
  local function check_open()
    if getmetatable(sign) == sign then return end
    if not ending then refuse_all() end
    refuse()
  end

  binding.check_open = check_open

  ---Returns a pointer, to be passed to the library; raises an error where a finalizer may have released it. This is for
  ---pointers that objects of a script hold, which nothing in `binding.at_end` takes away.
  ---@param pointer ffi.cdata*
  ---@return ffi.cdata*
  function binding.alive(pointer)
    check_open()
    return pointer
  end

  ---Returns a finalizer for pointers that the function `name` of the library releases.
  ---@param name string
  ---@return fun(pointer: ffi.cdata*)
  function binding.finalizer(name)
    local release = C[name] -- kept, because `refuse` replaces it
    return function(pointer)
      if not has_sign and not jit.status() and not getinfo(2, "f") then setmetatable(sign, nil) end
      if not ending and getmetatable(sign) ~= sign then refuse_all() end
      release(pointer)
    end
  end
end
