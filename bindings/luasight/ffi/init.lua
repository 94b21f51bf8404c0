--- Loads luasight's C library, whose interface is core/abi.h, and has what all its users need: handles, argument streams,
--- and errors for the library's status numbers. The files beside this one wrap the library's functions by subject:
--- operators.lua, tensors.lua, nodes.lua, traces.lua and others.
---
--- All handles of tensors, sequences and nodes have the same C type, `ls_ref`, which holds the 16 bytes of an ls_value.
--- `luasight.tensor` defines the methods of handles.
require "luasight.ffi.compiler"
local ffi = require "ffi"
local constants = require "luasight.ffi.constants"
local header = require "luasight.ffi.header"
local extent = require "luasight.ffi.extent"
local site = require "luasight.ffi.site"
local failure = require "luasight.base.error"

-- ---- the library -----------------------------------------------------------------------------------------------------

-- A status is a plain number here. A result of an enum type would be an object, and while that is made, a finalizer could call
-- functions that fail, whose error would replace the one to be read.
ffi.cdef("typedef int32_t ls_status;\n" .. header.text:gsub("typedef enum ls_status(.-) ls_status;", "enum%1;"))
header.text = nil -- nothing reads the text again, and it is as long as the code of four modules
ffi.cdef [[
typedef struct ls_ref {
  union {
    ls_value v;
    struct { int32_t _kind, _aux; };
  };
} ls_ref;
int luasight_snprintf(char *, size_t, const char *, ...) __asm__("snprintf");
int luasight_charwidth(int32_t) __asm__("utf8proc_charwidth");
]]

local loaded, C, path = require "luasight.ffi.library".load()
if not loaded then
  local lacks = tostring(C):match "^(lib[^:%s]+): cannot open" -- the library that cannot be opened, luasight's or one it needs
  if lacks == header.soname then lacks = nil end
  failure.raise("io", "the library of luasight cannot be loaded", { cause = tostring(C), hint = not lacks
    and "build it with `make`, or name it in LUASIGHT_LIBRARY"
    or lacks .. " is not where it was when luasight was built: put it back, or build luasight again" })
end
if ffi.string(C.ls_header_hash()) ~= header.hash then
  failure.raise("state", ("the library %s was built from another version of core/abi.h than this binding"):format(path),
    { hint = "run `make` again" })
end
C.ls_start(constants.LS_START_ALL)

---@class luasight.binding  the C library and what all its users need
---@field C table            the loaded C library; functions are called as C.name(...) and not kept in local variables
---@field ffi table          LuaJIT's module ffi
---@field ref_t ffi.ctype*   the type of every handle
local binding = { C = C, ffi = ffi, ref_t = ffi.typeof "ls_ref", site = site.here, where = site.text }

local ref_t = binding.ref_t
local istype = ffi.istype
local BOOL, INT, FLOAT, STRING = constants.LS_BOOL, constants.LS_INT, constants.LS_FLOAT, constants.LS_STRING
local TENSOR, NODE = constants.LS_TENSOR, constants.LS_NODE -- kinds below LS_STRING are plain values: no memory to free

---Returns the number of handles that are alive in the core.
---@return integer
function binding.live() return tonumber(C.ls_live()) end

local text_t = ffi.typeof "char[512]"
local text = text_t() -- the buffer of `format`; nil while in use, so that a finalizer that formats a number makes its own

---Formats one number as C's printf does; LuaJIT's own `%.4f` rounds ties away from zero.
---@param pattern string
---@param x number
---@return string
function binding.format(pattern, x)
  local buffer = text or text_t()
  text = nil
  local written = ffi.string(buffer, ffi.C.luasight_snprintf(buffer, 512, pattern, ffi.cast("double", x)))
  text = buffer
  return written
end

local float_bytes = ffi.new "union { char bytes[4]; float value; uint32_t bits; }"

---Returns the number of a 32-bit float from its four bytes in this machine's byte order.
---@param bytes string
---@return number
function binding.float_of(bytes)
  ffi.copy(float_bytes.bytes, bytes, 4)
  if float_bytes.bits % 0x80000000 > 0x7f800000 then return 0 / 0 end -- a NaN could be another value, see tensors.reader
  return tonumber(float_bytes.value)
end

---Returns the number of terminal columns that a character occupies: 0, 1 or 2.
---@param code integer
---@return integer
function binding.columns(code)
  if code < 127 then return 1 end
  return C.luasight_charwidth(code) -- a function of utf8proc, which is linked into the library of luasight
end

-- ---- errors ----------------------------------------------------------------------------------------------------------

---Raises an error table at the first line of a script that is not luasight's own.
---@param code string      "argument", "name", "index", ...
---@param message string
---@param fields table?    point, hint, cause, file, line
binding.raise = failure.raise

---Reads the last error of the core. The collector stands still meanwhile, so that no finalizer causes another one.
local function read_error()
  local ran = collectgarbage "isrunning"
  collectgarbage "stop"
  local message, cause, point = ffi.string(C.ls_error_message()), ffi.string(C.ls_error_cause()), ffi.string(C.ls_error_point())
  local first, second = tonumber(C.ls_error_site()), tonumber(C.ls_error_site2())
  if ran then collectgarbage "restart" end
  return message, cause, point, first, second
end

---Raises the error that a function of the core reported, if its status is not 0. Where a node failed, the error names the
---line of the script that recorded the node.
---@param status integer
---@param fields table?  fields of the error that replace those of the core
function binding.check(status, fields)
  if status == 0 then return end
  local message, cause, point, first, second = read_error()
  local code, all = failure.codes[tonumber(status)] or "torch", {}
  if cause ~= "" then all.cause = cause end
  if point ~= "" then all.point = point end
  if code == "unset" then
    if first ~= 0 then message = ("%s (made at %s)"):format(message, site.text(first)) end
    if not message:find("been set:", 1, true) then all.hint = "call :save() on it inside the body" end
  elseif first ~= 0 then
    all.file, all.line = site.split(first)
  end
  if code == "memory" then all.hint = "let go of values (x:release(), ls.scope), or use a smaller batch" end
  if second ~= 0 then
    message = ("%s (%s %s)"):format(message, code == "passed" and "because of" or "see", site.text(second))
  end
  for k, v in pairs(fields or {}) do all[k] = v end
  failure.raise(code, message, all)
end

-- ---- texts that are valid until the next call ---------------------------------------------------------------------------

local function restarted(ran, ok, ...)
  if ran then collectgarbage "restart" end
  if not ok then error((...), 0) end
  return ...
end

---Calls a function while the collector stands still. Where the library returns memory that is valid until the next call of the
---same function, a finalizer could otherwise make this call before the memory is read.
---@param f fun(...): ...
---@param ... any
---@return any ...
function binding.undisturbed(f, ...)
  local ran = collectgarbage "isrunning"
  collectgarbage "stop"
  return restarted(ran, pcall(f, ...))
end

require "luasight.ffi.ending" (binding)

-- ---- handles ---------------------------------------------------------------------------------------------------------

local debt, limit = 0, 128 * 2 ^ 20
local scopes, scoped = extent(), false -- `scopes`: lists of the handles made in each scope; `scoped`: whether one is open
local kept = setmetatable({}, { __mode = "k" }) -- handles that no scope releases

---Counts the bytes of memory that new handles own, and runs Lua's garbage collector when these bytes exceed a limit, since
---the collector itself knows only of the 32 bytes of a handle. A negative number takes back bytes that an earlier call
---counted although they are no new memory.
---@param bytes number
function binding.owe(bytes)
  debt = math.max(0, debt + bytes)
  if debt > limit and not binding.recordings.active then
    debt = 0
    collectgarbage()
  end
end

---Frees all tensors that nothing refers to, after a failed allocation. The collector runs twice, since a tensor may be held
---by a value that the first run frees.
function binding.free_memory()
  debt = 0
  collectgarbage()
  collectgarbage()
end

---Adds a new handle to the list of handles that the current scope (ls.scope) will release.
local function note(r)
  local list = scopes:current()
  if list then list[#list + 1] = r
  elseif scopes:is_empty() then scoped = false end
end

---Returns whether a value is a handle.
---@param v any
---@return boolean
function binding.is_handle(v) return istype(ref_t, v) end

---Makes an empty handle (of kind LS_NONE) for a C function to fill: the caller passes its field `v` as the argument `out`.
---@return ffi.cdata*
function binding.new_ref()
  local r = ref_t()
  if scoped then note(r) end
  return r
end

---Returns the Lua value of a handle that the core has filled: plain values (numbers, texts, booleans, nil) become Lua
---values, others stay handles.
---@param r ffi.cdata*  made by new_ref
---@return any
function binding.settle(r)
  local kind = r._kind
  if kind >= TENSOR then
    if kind ~= NODE then binding.owe(tonumber(C.ls_value_bytes(r.v))) end
    return r
  end
  if kind == INT then
    local i = r.v.as.i
    local number = tonumber(i)
    return number > -2 ^ 53 and number < 2 ^ 53 and number or i
  end
  if kind == FLOAT then return r.v.as.f end
  if kind == BOOL then return r.v.as.i ~= 0 end
  if kind == STRING then
    local copy = ffi.string(r.v.as.s)
    binding.release(r)
    return copy
  end
  return nil
end

---Returns the Lua value of a result of the core, as `settle` does.
---@param r ffi.cdata*  a copy of the ls_ref that the core filled
---@return any
function binding.take(r)
  if scoped then note(r) end
  if r._kind == NODE then return r end
  return binding.settle(r)
end

---Returns the Lua value of an ls_value to which the caller owns a reference; a returned handle takes over this reference.
---@param value ffi.cdata*
---@return any
function binding.wrap(value)
  local r = ref_t()
  r.v = value
  if scoped and r._kind >= TENSOR then note(r) end
  return binding.settle(r)
end

---Does nothing. A call of this function behind a call of the library keeps its arguments from being collected until then:
---LuaJIT forgets a variable as soon as compiled code has used it for the last time, although the variable is still in scope.
---@param _a any
---@param _b any
---@param _c any
function binding.hold(_a, _b, _c) end

---Releases a handle at once; releasing it a second time has no effect.
---@param r ffi.cdata*
function binding.release(r)
  if r._kind >= STRING then C.ls_value_release(r.v) end
  r._kind = 0
end

---Opens a scope: handles made from now on in this coroutine, and in coroutines that it resumes, are listed in the scope.
---@return table entry
function binding.open_scope()
  scoped = true
  return scopes:open {}
end

---Marks a handle as one that no scope releases, because an object that outlives the scope owns it: an optimizer its state, a
---module its tensors. The collector frees it. Returns the handle.
---@param r ffi.cdata*
---@return ffi.cdata*
function binding.keep(r)
  if scoped then kept[r] = true end
  return r
end

---Returns whether a handle was marked by `keep`.
---@param r ffi.cdata*
---@return boolean
function binding.is_kept(r) return kept[r] == true end

---Closes a scope; returns the handles made inside it, and the handles of the enclosing scope, nil where there is none.
---@param entry table
---@return ffi.cdata*[] made, ffi.cdata*[]? around
function binding.close_scope(entry)
  scopes:close(entry)
  return entry.value, scopes:current()
end

---Sets the metatable of handles; may be called once.
---@param meta table
function binding.metatype(meta)
  meta.__gc = binding.release -- `release` marks the handle as empty, since a later finalizer may still use the handle
  ffi.metatype(ref_t, meta)
end

-- ---- autograd --------------------------------------------------------------------------------------------------------

local modes, outside = extent(), 1 -- `modes`: 1 (on) or 0 (off) of each open `with_autograd`; `outside`: without any
binding.modes = modes

---Tells libtorch whether autograd is on or off in the running coroutine. While a coroutine has switched it for itself
---(`modes.shared`), this function has to be called before each operation that autograd may record, because another coroutine
---may have run since the last call.
function modes.set()
  local on = modes:current()
  C.ls_grad_enable(on == nil and outside or on)
end

---Returns whether autograd records the operators that are called now.
---@return boolean
function binding.records_autograd()
  if modes.shared then modes.set() end
  return C.ls_grad_enabled() ~= 0
end

local function restore(entry, ok, ...)
  modes:close(entry)
  modes.set()
  if not ok then error((...), 0) end
  return ...
end

---Runs a function with autograd switched on or off.
---@param on integer  1 or 0
---@param f fun(...): ...
---@param ... any  the arguments of f
---@return any ...
function binding.with_autograd(on, f, ...)
  if modes.shared then modes.set() end
  if modes:is_empty() then outside = C.ls_grad_enabled() end
  local entry = modes:open(on)
  C.ls_grad_enable(on)
  return restore(entry, pcall(f, ...))
end

-- ---- what is recorded ------------------------------------------------------------------------------------------------

-- The forwards that are being recorded, see recording.lua. `active` says whether there is one in the running coroutine.
local recordings = extent()
recordings.active = false
binding.recordings = recordings

---Tells the core what is recorded in the running coroutine. While a coroutine has an entry of its own (`recordings.shared`),
---this function has to be called before each operation that may be recorded, as `modes.set`.
function recordings.set()
  local open = recordings:current()
  recordings.active = open ~= nil and open.graph ~= nil
  C.ls_record(open and open.graph, open and open.autograd or -1)
end

-- ---- argument streams ------------------------------------------------------------------------------------------------

binding.stream = require "luasight.ffi.stream" (binding)

return binding
