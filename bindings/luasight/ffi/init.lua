--- The one place that knows the C ABI: declarations, the library, handles, argument streams, status to error. What can be
--- done with handles stands beside it by subject: operators.lua, tensors.lua, sequences.lua, nodes.lua, functions.lua,
--- traces.lua, graph_files.lua, weights.lua, tokenizers.lua.
---
--- Everything a script holds is one kind of cdata, `ls_ref`, around the 16 bytes of an ls_value: a tensor, a sequence or
--- a node of a graph. `luasight.tensor` gives it its behaviour.
local ffi = require "ffi"
local constants = require "luasight.ffi.constants"
local header = require "luasight.ffi.header"
local extent = require "luasight.ffi.extent"
local site = require "luasight.ffi.site"
local failure = require "luasight.base.error"

-- ---- the library -----------------------------------------------------------------------------------------------------

ffi.cdef(header.text)
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
  local lacks = tostring(C):match "^(lib[^:%s]+): cannot open" -- one that it needs, or itself, which was nowhere
  if lacks == header.soname then lacks = nil end
  failure.raise("io", "the library of luasight cannot be loaded", { cause = tostring(C), hint = not lacks
    and "build it with `make`, or name it in LUASIGHT_LIBRARY"
    or lacks .. " is not where it was when luasight was built: put it back, or build luasight again" })
end
if ffi.string(C.ls_header_hash()) ~= header.hash then
  failure.raise("state", ("%s was built from another core/abi.h than this binding"):format(path),
    { hint = "run `make` again" })
end
C.ls_start(constants.LS_START_ALL)

---@class luasight.binding
---@field C table            the library, for the modules of the binding; call through it, do not cache its functions
---@field ffi table          for them too
---@field ref_t ffi.ctype*   the type of every handle
local binding = { C = C, ffi = ffi, ref_t = ffi.typeof "ls_ref", site = site.here, where = site.text }

local ref_t = binding.ref_t
local istype = ffi.istype
local BOOL, INT, FLOAT, STRING = constants.LS_BOOL, constants.LS_INT, constants.LS_FLOAT, constants.LS_STRING
local TENSOR, NODE = constants.LS_TENSOR, constants.LS_NODE -- a handle of a lower kind than TENSOR holds nothing any more

---How many handles are alive in the core.
---@return integer
function binding.live() return tonumber(C.ls_live()) end

local text_t = ffi.typeof "char[512]"
local text = text_t() -- taken while a number is written: a finalizer that writes one gets another

---One double as C writes it; LuaJIT's own `%.4f` rounds ties away from zero.
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

local float_bytes = ffi.new "union { char bytes[4]; float value; }"

---The number in four bytes: a float as this machine has it in memory.
---@param bytes string
---@return number
function binding.float_of(bytes)
  ffi.copy(float_bytes.bytes, bytes, 4)
  return tonumber(float_bytes.value)
end

---Columns that a character takes in a terminal: 0, 1 or 2.
---@param code integer
---@return integer
function binding.columns(code)
  if code < 127 then return 1 end
  return C.luasight_charwidth(code) -- of utf8proc, which comes with the library
end

-- ---- errors ----------------------------------------------------------------------------------------------------------

---Raises an error table at the first line of a script that is not luasight's own.
---@param code string      "argument", "name", "index", ...
---@param message string
---@param fields table?    point, hint, cause, file, line
binding.raise = failure.raise

---Raises what the core reported. Where a node failed, the line is that of the node.
---@param status integer
---@param fields table?  overrides
function binding.check(status, fields)
  if status == 0 then return end
  local code = failure.codes[tonumber(status)] or "torch"
  local message, all = ffi.string(C.ls_error_message()), {}
  local cause, point = ffi.string(C.ls_error_cause()), ffi.string(C.ls_error_point())
  if cause ~= "" then all.cause = cause end
  if point ~= "" then all.point = point end
  local first, second = tonumber(C.ls_error_site()), tonumber(C.ls_error_site2())
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

-- ---- handles ---------------------------------------------------------------------------------------------------------

local debt, limit = 0, 128 * 2 ^ 20
local scopes, scoped = extent(), false -- lists of the handles made inside; whether any scope is open, in any coroutine

---Counts bytes behind new handles; the collector sees only their 32 bytes and has to be told when it matters. Fewer than 0:
---some that were counted are no new ones.
---@param bytes number
function binding.owe(bytes)
  debt = math.max(0, debt + bytes)
  if debt > limit then
    debt = 0
    collectgarbage()
  end
end

---After a failed allocation: frees what nobody holds. Two rounds, since a tensor may be held by a value that dies first.
function binding.free_memory()
  debt = 0
  collectgarbage()
  collectgarbage()
end

---Notes a new handle in the scope that it is made in.
local function note(r)
  local list = scopes:current()
  if list then list[#list + 1] = r
  elseif scopes:is_empty() then scoped = false end
end

---Whether a value is a handle.
---@param v any
---@return boolean
function binding.is_handle(v) return istype(ref_t, v) end

---A handle of kind LS_NONE: pass its `v` as `out`.
---@return ffi.cdata*
function binding.new_ref()
  local r = ref_t()
  if scoped then note(r) end
  return r
end

---What a filled handle stands for: plain Lua values become themselves.
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
  if kind == STRING then return ffi.string(r.v.as.s) end
  return nil
end

---What a handle stands for that was made of a result, as `settle` gives it.
---@param r ffi.cdata*  made of an ls_ref that was filled
---@return any
function binding.take(r)
  if scoped then note(r) end
  if r._kind == NODE then return r end
  return binding.settle(r)
end

---The Lua value of an ls_value that the caller owns; the handle takes the reference over.
---@param value ffi.cdata*
---@return any
function binding.wrap(value)
  local r = ref_t()
  r.v = value
  if scoped and r._kind >= TENSOR then note(r) end
  return binding.settle(r)
end

---Releases at once; a second time does nothing.
---@param r ffi.cdata*
function binding.release(r)
  if r._kind >= TENSOR then C.ls_value_release(r.v) end
  r._kind = 0
end

---Opens a scope: handles made from now on in this coroutine, and in those that it resumes, are noted in it.
---@return table entry
function binding.open_scope()
  scoped = true
  return scopes:open {}
end

---Closes a scope; gives the handles made inside, and the list of the scope around it.
---@param entry table
---@return ffi.cdata*[] made, ffi.cdata*[]? around
function binding.close_scope(entry)
  scopes:close(entry)
  return entry.value, scopes:current()
end

---Gives handles their behaviour, once.
---@param meta table
function binding.metatype(meta)
  meta.__gc = binding.release -- a finalizer that runs later may still hold the handle: it finds it released
  ffi.metatype(ref_t, meta)
end

-- ---- autograd --------------------------------------------------------------------------------------------------------

local modes, outside = extent(), 1 -- of autograd; what it is where none is open
binding.modes = modes

---Sets what holds for the code that runs. To be called before autograd matters, while `modes.shared`: another coroutine may
---have run since.
function modes.set()
  local on = modes:current()
  C.ls_grad_enable(on == nil and outside or on)
end

---Whether autograd records.
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

---Runs a function while autograd records, or does not.
---@param on integer  1 or 0
---@param f fun(...): ...
---@param ... any  for f
---@return any ...
function binding.with_autograd(on, f, ...)
  if modes.shared then modes.set() end
  if modes:is_empty() then outside = C.ls_grad_enabled() end
  local entry = modes:open(on)
  C.ls_grad_enable(on)
  return restore(entry, pcall(f, ...))
end

-- ---- argument streams ------------------------------------------------------------------------------------------------

binding.stream = require "luasight.ffi.stream" (binding)

return binding
