--- LuaJIT's compiler makes wrong code of loops over `pairs` and `next` in versions from September 2021 to April 2022, Debian
--- 12's among them: on x64 an address is now and then cut to 32 bits (LuaJIT's issue 829), which ends the process. These loops
--- are therefore not compiled there but interpreted, in luasight and in the script, as by older versions. A call of `next`
--- outside of the head of a loop has no second result from which the fault could come.
---
--- All betas are taken for such a version, since they have one name and number.
if not (jit.version:find("beta", 1, true) and jit.arch == "x64") then return end

local util = require "jit.util"
local band, flush, funcbc = bit.band, jit.flush, util.funcbc

-- The last instructions of such a loop at the end of a function are ITERN, ITERL and RET0.
local function loop(t)
  for _ in next, t do _ = nil end
end
local ITERN = band(funcbc(loop, util.funcinfo(loop).bytecodes - 3), 0xff)

-- This is called before an instruction becomes part of a trace; outside of Lua's functions `pc` is -1. Any call that may change
-- what is compiled gives the trace up, also this one for trace 0, which there is not.
jit.attach(function(_, f, pc)
  if pc >= 0 and band(funcbc(f, pc), 0xff) == ITERN then flush(0) end
end, "record")
flush() -- what the script has compiled before
