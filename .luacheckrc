-- luacheck: LuaJIT everywhere, busted's globals in the specs.
std = "luajit"
files["spec/**/*_spec.lua"].std = "luajit+busted"
files["spec/helper.lua"].std = "luajit+busted"
files[".busted"].std = "luajit"
include_files = { "**/*.lua", "bin/luasight", ".busted", "*.rockspec", "rockspec/*" }
exclude_files = { "build*/**", "ioi-model" }
files["**/*.rockspec"].std = "rockspec"
max_line_length = 128
self = false
ignore = { "212/self" }
files["bin/luasight"].globals = { "arg" }
