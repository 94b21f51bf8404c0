--- Finds the C libraries of luasight: beside these Lua modules, where both were built or installed together, or where the
--- system's loader finds them.
local ffi = require "ffi"
local header = require "luasight.ffi.header"

local library = {}

---Returns the path of a library that was built or installed with these modules.
---@param name "library"|"prompt"
---@return string
function library.place(name)
  local place = header.places[name]
  if place:sub(1, 1) == "/" then return place end
  local here = package.searchpath("luasight.ffi.header", package.path)
  return (here and here:match "^(.*/)" or "./") .. place
end

---Loads libluasight: the file that LUASIGHT_LIBRARY names, or the one that belongs to these modules, or the system's.
---@return boolean loaded, any library, string path  # where it is not loaded, `library` is the loader's message
function library.load()
  local path = os.getenv "LUASIGHT_LIBRARY"
  if not path then
    path = library.place "library"
    local file = io.open(path, "rb")
    if file then file:close() else path = header.soname end
  end
  local loaded, result = pcall(ffi.load, path)
  return loaded, result, path
end

return library
