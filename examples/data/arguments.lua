-- What the examples are called with. `--help` prints the first lines of the program and its options.
local options = require "luasight.command.options"

local arguments = {}

-- The comment at the top of the program, which says what it does and how it is called.
local function head(path)
  local lines, file = {}, io.open(path, "rb")
  for line in file and file:lines() or function() end do
    local text = line:match "^%-%- ?(.*)$"
    if not text then break end
    lines[#lines + 1] = text
  end
  if file then file:close() end
  return table.concat(lines, "\n")
end

-- The options of a call by name, and its words. `most` is the number of words it may have, `least` that it must have.
function arguments.read(known, most, least)
  local path = arg and arg[0] or ""
  local name = path:match "[^/\\]*$"
  local words, rest, takes_value, i = {}, {}, {}, 1
  for _, option in ipairs(known) do takes_value[option[1]] = option.value ~= nil end
  while arg and arg[i] do
    local word = arg[i]
    if word == "--help" or word == "-h" then
      local list = options.help(name, { about = "", arguments = {}, options = known }):gsub("^[^\n]*\n\n?", "")
      print(head(path) .. (list ~= "" and "\n\n" .. list or ""))
      os.exit(0)
    elseif word:find "^%-." then
      rest[#rest + 1] = word
      if takes_value[word] then
        i = i + 1
        rest[#rest + 1] = arg[i]
      end
    else
      words[#words + 1] = word
    end
    i = i + 1
  end
  local _, read = options.read(name, { about = "", arguments = {}, options = known }, rest)
  most, least = most or 0, least or 0
  if #words < least or #words > most then
    options.fail(("%s takes %s, given were %d; --help says more"):format(name, most == 0 and "no arguments" or
      #words < least and least .. " or more" or most .. " at most", #words))
  end
  return read, words
end

-- `--out FILE`, where the picture goes; nil: into the terminal. Most examples with a picture take nothing else.
arguments.picture = { "--out", "where the picture goes: its name ends in .svg, .png, .html or .txt", value = "FILE" }
function arguments.out() return arguments.read({ arguments.picture }).out end

return arguments
