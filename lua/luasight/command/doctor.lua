--- `luasight doctor`: lists what is installed and what is missing, and how to get it. The command works before luasight is
--- built.
local doctor = { about = "says what is installed, what is missing, and how to get it", arguments = {},
  options = { { "--json", "an object for programs" } } }

local function try(f)
  local ok, result = pcall(f)
  if ok then return result end
  return nil, (tostring(result):gsub("\n.*", ""))
end

-- ---- programs, libraries and devices -----------------------------------------------------------------------------------

---Returns the path of the shared library `name` that this process has loaded; nil where it has not loaded one.
local function loaded_from(name)
  local maps = io.open "/proc/self/maps"
  if not maps then return nil end
  for line in maps:lines() do
    local path = line:match("(/%S*/" .. name .. "[^%s/]*)$")
    if path then
      maps:close()
      return path
    end
  end
  maps:close()
end

local function program(name)
  local found = io.popen(("command -v %s 2>/dev/null"):format(name))
  local path = found:read "*l"
  found:close()
  return path
end

local function devices(torch)
  local list = { "cpu" }
  for i = 0, torch.device_count("cuda") - 1 do list[#list + 1] = "cuda:" .. i end
  return list
end

---Returns one line with the versions of luasight, LuaJIT and libtorch, and the threads and devices.
---@return string
function doctor.version()
  local ls = require "luasight"
  return ("luasight %s (%s, libtorch %s, %d threads, %s)"):format(ls.version, jit.version, ls.torch_version(),
    ls.torch.get_num_threads(), table.concat(devices(ls.torch), " "))
end

-- ---- checks ------------------------------------------------------------------------------------------------------------

---@class luasight.Check  a line of the doctor's report: something that luasight uses
---@field name string
---@field found string|false  what was found, such as a version or a path; false: nothing was found
---@field needed boolean      true: luasight does not work without it
---@field get string?         how the user can install or build it
---@field use string?         the purpose for which luasight uses it

local function check_library(add)
  local ls, problem = try(function() return require "luasight" end)
  add { name = "luasight", needed = true, found = ls and ls.version or false, use = problem,
    get = "run `make` in its folder" }
  if not ls then return end
  add { name = "library", needed = true, found = loaded_from "libluasight" or "loaded" }
  local path = loaded_from "libtorch_cpu" or loaded_from "libtorch"
  add { name = "libtorch", needed = true, found = ls.torch_version() .. (path and ", " .. path or "") }
  add { name = "threads", needed = true, found = tostring(ls.torch.get_num_threads()) }
  local list = devices(ls.torch)
  add { name = "devices", needed = true, found = table.concat(list, ", "),
    use = #list == 1 and "no CUDA device, or a libtorch without CUDA" or nil }
end

-- Returns the folders in which luasight's models and examples may be: the source tree, the folder share/luasight of an
-- installation, or the folder of a luarocks package.
local function data_folders()
  local here = package.searchpath("luasight.command.doctor", package.path)
  local list = { (here:gsub("/lua/luasight/command/doctor%.lua$", "")), (here:gsub("/share/lua/5%.1/.*$", "/share/luasight")) }
  local root = here:match "^(.*)/share/lua/5%.1/"
  local rocks = root and io.popen(("ls -d '%s'/lib/luarocks/rocks-5.1/luasight/*/share/luasight 2>/dev/null"):format(root))
  for folder in rocks and rocks:lines() or function() end do list[#list + 1] = folder end
  if rocks then rocks:close() end
  return list
end

local function checks()
  local list = {}
  local function add(check) list[#list + 1] = check end
  add { name = "LuaJIT", needed = true, found = jit.version:match "%d.*" .. ", " .. jit.arch }
  add { name = "lua-cjson", needed = true, found = try(function() return require "cjson"._VERSION end) or false,
    get = "apt-get install lua-cjson" }
  check_library(add)
  local editline = try(function() return require "luasight.ffi.editline".is_there() end)
  add { name = "libedit", needed = false, found = editline and "yes" or false, get = "apt-get install libedit2",
    use = "line editing, history and completion in the shell" }
  local curl = try(function()
    return require "luasight.ffi.curl".is_there() and require "luasight.ffi.digest".is_there()
  end)
  add { name = "libcurl", needed = false, found = curl and "yes" or false, get = "apt-get install libcurl4",
    use = "models of the hub by name" }
  local cache = try(function() return require "luasight.lm.hub.cache".folder() end)
  if cache then add { name = "cache of the hub", needed = false, found = cache } end
  local drawing = require "luasight.view.plot.program"
  for _, name in ipairs(drawing.names) do
    add { name = name, needed = false, found = program(name) or false, use = drawing.known[name].use,
      get = "apt-get install " .. drawing.known[name].package }
  end
  local modules = package.searchpath("luasight.ffi.header", package.path)
  local definitions = modules and modules:gsub("/ffi/header%.lua$", "/definitions")
  local file = definitions and io.open(definitions .. "/luasight.lua")
  if file then
    file:close()
    add { name = "editor definitions", needed = false, found = definitions }
  end
  for _, folder in ipairs(data_folders()) do
    file = io.open(folder .. "/models/pretrained/ioi/config.json")
    if file then
      file:close()
      add { name = "model in the box", needed = false, found = folder .. "/models/pretrained/ioi" }
      break
    end
  end
  return list
end

-- ---- the command -------------------------------------------------------------------------------------------------------

local function line(check)
  local sign = check.found and "ok" or check.needed and "missing" or "none"
  local text = ("%-8s %-18s %s"):format(sign, check.name, check.found or check.use or "")
  if check.found and check.use then
    if check.name == "devices" then text = ("%s (%s)"):format(text, check.use) end
  elseif not check.found then
    text = ("%s\n%27s -> %s"):format(text, "", check.get)
  end
  return (text:gsub("%s+$", ""))
end

---Prints the report, and raises an error where something that luasight needs is missing.
---@param options { json: boolean? }
function doctor.run(_, options)
  local list, complete = checks(), true
  for _, check in ipairs(list) do complete = complete and (check.found and true or not check.needed) end
  if options.json then
    print(require "cjson".encode { checks = list, complete = complete })
  else
    for _, check in ipairs(list) do print(line(check)) end
  end
  if not complete then
    io.stdout:flush()
    error("something that luasight needs is missing; the list above has it", 0)
  end
end

return doctor
