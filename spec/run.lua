-- Runs busted inside this LuaJIT: luajit spec/run.lua [options of busted] [specs].
require "busted.runner" { standalone = false }
