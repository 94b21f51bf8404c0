-- luarocks --lua-version 5.1 make rockspec/luasight-dev-1.rockspec, in a checkout. To pack a source rock the url has to name
-- the place of the source, see .ci/run.
rockspec_format = "3.0"
package = "luasight"
version = "dev-1"
source = { url = "." }
description = {
  summary = "See inside a neural network from Lua: trace, read and edit every value of a model",
  detailed = [[
    A tracing toolkit for neural networks. A C core on libtorch runs models as graphs and stops at the points a script
    asks for; a LuaJIT layer makes contexts and proxies of that. Needs LuaJIT, CMake, jansson, utf8proc,
    oniguruma and a libtorch.]],
  license = "MIT",
}
dependencies = { "lua == 5.1", "lua-cjson" }
external_dependencies = {
  JANSSON = { header = "jansson.h" },
  UTF8PROC = { header = "utf8proc.h" },
  ONIGURUMA = { header = "oniguruma.h" },
}
build = {
  type = "cmake",
  variables = {
    CMAKE_INSTALL_PREFIX = "$(PREFIX)",
    CMAKE_INSTALL_BINDIR = "$(BINDIR)",
    LUASIGHT_LUA_DIR = "$(LUADIR)",
    CMAKE_INSTALL_LIBDIR = "$(PREFIX)/library", -- not "lib", whose files LuaRocks takes for modules and moves
    LUASIGHT_TORCH_FETCH_DIR = "$(PREFIX)/torch", -- a wheel that had to be fetched stays with the rock, and goes with it
  },
}
deploy = { wrap_bin_scripts = false } -- bin/luasight finds LuaJIT and its modules itself
test = { type = "busted", flags = { "--ignore-lua" } }
