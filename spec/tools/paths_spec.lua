-- Every path that a README or CONTRIBUTING.md names is there.
local document = dofile "spec/manual/document.lua"
local support = require "spec.support"

local function listed(command)
  local list = {}
  for line in support.output(command):gmatch "[^\n]+" do list[#list + 1] = line end
  return list
end

---Made by the build, asked of the user, or elsewhere.
local elsewhere = { "^build", "^~", "^/", "^%.%./", "^https?:", "^owner/", "^lib/", "^bin/luasight ", "^include/", "^share/",
  "^luasight%.lua$", "^operators/" }

local function is_elsewhere(path)
  for _, pattern in ipairs(elsewhere) do
    if path:find(pattern) then return true end
  end
end

---What a page names in code that looks like the path of a file or a folder: `core/abi.h`, `trace/`, `plot.lua`.
local function paths(page)
  local text = table.concat(document.lines(page), "\n"):gsub("\n```.-\n```", "")
  local found = {}
  for code in text:gmatch "`([^`\n]+)`" do
    local ending = code:match "^[%w_%.%-/%*]+%.(%l+)$"
    local is_file = ending and ("lua c cc h md py"):find(ending, 1, true)
    local is_folder = code:match "^[%w_%.%-/]+/$"
    if (is_file or is_folder) and not is_elsewhere(code) then found[#found + 1] = code end
  end
  return found
end

local here = table.concat(listed "find . \\( -name .git -o -name 'build*' \\) -prune -o -print", "\n") .. "\n"

---Whether some file or folder of the project ends in this path; `*` stands for a part of a name, NAME for one that is new.
local function exists(path)
  if path:find "NAME" then return true end
  local pattern = path:gsub("/$", ""):gsub("[%.%-]", "%%%0"):gsub("%*", "[^/\n]*")
  return here:find("/" .. pattern .. "\n") ~= nil
end

describe("the READMEs", function()
  local pages = listed "find . -name README.md -not -path './build*' | LC_ALL=C sort; echo CONTRIBUTING.md"
  for _, page in ipairs(pages) do
    it(page .. " names paths that are there", function()
      local missing = {}
      for _, path in ipairs(paths(page)) do
        if not exists(path) then missing[#missing + 1] = path end
      end
      assert.same({}, missing)
    end)
  end
end)
