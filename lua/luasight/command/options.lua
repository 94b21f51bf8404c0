--- Reads the options and arguments of a command of the program luasight, as the command's description says, and prints the
--- command's help.
local near = require "luasight.base.near"

local options = {}

---@class luasight.CommandOption  describes an option of a command
---@field [1] string       the option as it is written, such as "--top"
---@field [2] string       the option's description in the help
---@field value string?    the word that stands for the option's value in the help; nil: the option has no value
---@field number boolean?  whether the value is a number
---@field list boolean?    whether the option may be given several times; its values are then a list
---@field default any?     the value of an option that was not given

---@class luasight.Command  describes a command of the program luasight
---@field about string                     the command's description in the help, one line
---@field arguments string[]               the words that stand for the required arguments in the help, in order
---@field options luasight.CommandOption[]
---@field run fun(arguments: string[], options: table)

local Usage = { __tostring = function(e) return e.usage end }

---Raises an error about wrong options or arguments of a command; the process then ends with the status 2.
---@param text string
function options.fail(text) error(setmetatable({ usage = text }, Usage), 0) end

---Returns whether an error was raised by `options.fail`.
---@param e any
---@return boolean
function options.is_usage(e) return getmetatable(e) == Usage end

---Returns the help of a command as text.
---@param name string
---@param command luasight.Command
---@return string
function options.help(name, command)
  local shown, lines, width = {}, {}, 18
  for i, option in ipairs(command.options) do
    shown[i] = option[1] .. (option.value and " " .. option.value or "")
    width = math.max(width, #shown[i])
  end
  lines[1] = ("usage: luasight %s%s%s"):format(name, #shown > 0 and " [options]" or "",
    #command.arguments > 0 and " " .. table.concat(command.arguments, " ") or "")
  lines[2] = command.about
  if command.arguments[1] == "FOLDER" then
    lines[3] = "FOLDER is the folder of a model, or its name on the hub, as owner/name"
  end
  for i, option in ipairs(command.options) do
    lines[#lines + 1] = ("  %s%s  %s%s"):format(shown[i], (" "):rep(width - #shown[i]), option[2],
      option.default ~= nil and (" (%s)"):format(tostring(option.default)) or "")
  end
  return table.concat(lines, "\n")
end

---Replaces the names of Lua options in an error message by those of the command line: `do_sample = true` becomes
---`--do-sample`. A name without `_` may be any word, and is replaced only at the beginning of the message.
---@param command luasight.Command
---@param text string
---@return string
function options.translate(command, text)
  local known = {}
  for _, option in ipairs(command.options) do known[(option[1]:sub(3):gsub("-", "_"))] = option[1] end
  local function option_of(name, at) return (name:find "_" or at == 1) and known[name] end
  text = text:gsub("()%f[%w_]([%a_][%w_]*) = ([%w.]+)", function(at, name, value)
    local option = option_of(name, at)
    if not option then return nil end
    return value == "true" and option or value == "false" and "without " .. option or option .. " " .. value
  end)
  text = text:gsub("()%f[%w_]([%a_][%w_]*)", function(at, name) return option_of(name, at) end)
  return text
end

local function find(name, command, given)
  local known = {}
  for i, option in ipairs(command.options) do
    if option[1] == given then return option end
    known[i] = option[1]
  end
  options.fail(("%s has no option %s%s; --help lists them"):format(name, given, near.text(given, known)))
end

local function value_of(name, option, text)
  if not text then options.fail(("%s: the option %s needs a value: %s"):format(name, option[1], option.value)) end
  if not option.number then return text end
  return tonumber(text) or options.fail(("%s: the option %s needs a number, not %q"):format(name, option[1], text))
end

---Reads the arguments of a command. Where the user asked for the command's help, prints the help and returns nil.
---@param name string
---@param command luasight.Command
---@param given string[]
---@return string[]? arguments, table? options  # the options by name, without the dashes
function options.read(name, command, given)
  local arguments, read, i, only_arguments = {}, {}, 1, false
  for _, option in ipairs(command.options) do read[option[1]:sub(3)] = option.default end
  while given[i] do
    local word, value = given[i], nil
    if only_arguments or not word:find "^%-." then
      arguments[#arguments + 1] = word
    elseif word == "--" then
      only_arguments = true
    elseif word == "--help" or word == "-h" then
      print(options.help(name, command))
      return nil
    else
      if word:find "^%-%-[^=]+=" then word, value = word:match "^(.-)=(.*)$" end
      local option = find(name, command, word)
      if not option.value then
        if value then options.fail(("%s: the option %s takes no value"):format(name, word)) end
        read[word:sub(3)] = true
      else
        if not value then
          i = i + 1
          value = given[i]
        end
        local key, read_value = word:sub(3), value_of(name, option, value)
        if option.list then
          read[key] = read[key] or {}
          table.insert(read[key], read_value)
        else
          read[key] = read_value
        end
      end
    end
    i = i + 1
  end
  if #arguments ~= #command.arguments then
    local wanted, n = #command.arguments, #arguments
    options.fail(("%s takes %s; %s given; luasight %s --help says more"):format(name,
      wanted == 0 and "no arguments" or (wanted == 1 and "one " or "") .. table.concat(command.arguments, " and "),
      n == 0 and "none was" or n == 1 and "one was" or n .. " were", name))
  end
  return arguments, read
end

return options
