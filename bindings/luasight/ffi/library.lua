--- Where the C libraries of luasight are: built or installed together with these modules, or known to the system's loader.
local ffi = require "ffi"
local header = require "luasight.ffi.header"

local library = {}

---The file of a library that belongs to these modules.
---@param name "library"|"prompt"
---@return string
function library.place(name)
  local place = header.places[name]
  if place:sub(1, 1) == "/" then return place end
  local here = package.searchpath("luasight.ffi.header", package.path)
  return (here and here:match "^(.*/)" or "./") .. place
end

---Loads libluasight: the file that LUASIGHT_LIBRARY names, or the one that belongs to these modules, or the system's.
---@return boolean loaded, any library, string path  # the library, or what the loader said
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
