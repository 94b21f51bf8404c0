--- Makes files from the sources and from libtorch's schemas:
---     luajit tools/manual/main.lua definitions FOLDER    definition files for editors
---     luajit tools/manual/main.lua site FOLDER           the manual as web pages
--- It has to run in the project's folder; LUASIGHT_BUILD names the build folder.
local build = os.getenv "LUASIGHT_BUILD" or "build"
for _, folder in ipairs { "lua", "bindings", "models", build .. "/lua" } do
  package.path = ("%s/?.lua;%s/?/init.lua;"):format(folder, folder) .. package.path
end
package.path = "tools/?.lua;" .. package.path

local what, folder = arg[1], arg[2]

local function write(name, text)
  local path = folder .. "/" .. name
  assert(os.execute(("mkdir -p '%s'"):format(path:match "^(.*)/")) == 0)
  local file = assert(io.open(path, "wb"))
  assert(file:write(text))
  assert(file:close())
end

if what == "definitions" and folder then
  local definitions = require "manual.definitions"
  write("luasight.lua", definitions.library())
  for _, file in ipairs(definitions.operators()) do write(file[1], file[2]) end
elseif what == "site" and folder then
  for name, text in pairs(require "manual.site".pages()) do write(name, text) end
else
  io.stderr:write "usage: luajit tools/manual/main.lua definitions|site FOLDER\n"
  os.exit(2)
end
