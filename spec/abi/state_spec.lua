-- A program in C that embeds Lua: luasight in a Lua state that the program makes, collects and closes by itself.
local support = require "spec.support"

local host = [[
local ffi = require "ffi"
ffi.cdef [=[
typedef struct lua_State lua_State;
lua_State *luaL_newstate(void);
void luaL_openlibs(lua_State *);
int luaL_loadstring(lua_State *, const char *);
int lua_pcall(lua_State *, int, int, int);
const char *lua_tolstring(lua_State *, int, size_t *);
int lua_gc(lua_State *, int, int);
void lua_close(lua_State *);
]=]
local C = ffi.C
local L = C.luaL_newstate()
C.luaL_openlibs(L)
local function run(text)
  local status = C.luaL_loadstring(L, text)
  if status == 0 then status = C.lua_pcall(L, 0, 0, 0) end
  if status ~= 0 then print(ffi.string(C.lua_tolstring(L, -1, nil))) end
end
run(("package.path = %q"):format(package.path))
run [=[
  ls = require "luasight"
  if switched_off then jit.off() end
  net = ls.nn.Sequential { { "a", ls.nn.Linear(2, 2) }, { "b", ls.nn.Linear(2, 2) } }
  model, x = ls.Model(net), ls.torch.ones(1, 2)
  function seen() return model:trace(x, function() return model.a.output end) end
  for _ = 1, 20 do
    seen()
    model:tracer(x)
  end
]=]
for _ = 1, 2 do C.lua_gc(L, 2, 0) end -- a full collection; no function is on the stack of the state
run [=[
  assert(ls.torch.equal(seen(), net.a(x)))
  model:tracer(x)
  print "works"
]=]
C.lua_close(L)
print "closed"
]]

describe("a host of a Lua state", function()
  for _, first in ipairs { "", "run 'switched_off = true'" } do
    local how = first == "" and "compiled" or "interpreted"
    it("may collect while no function runs, and then luasight works on, where code is " .. how, function()
      local path = os.tmpname()
      support.write(path, (host:gsub("run %[=%[", function() return first .. "\nrun [=[" end, 1)))
      local said = support.run("bin/luasight " .. path .. " 2>&1")
      os.remove(path)
      assert.equal("works\nclosed\n", said)
    end)
  end
end)
