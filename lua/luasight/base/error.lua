--- Errors of luasight: tables with a `__tostring`, which name the line of the script that called luasight.
local constants = require "luasight.ffi.constants"
local site = require "luasight.ffi.site"

---@class luasight.Error  an error that luasight raises
---@field code string      the kind of the error: "name", "index", "shape", ...; see `codes`
---@field message string   one line of text
---@field point string?    the point of the model, such as "transformer.h.3.output"
---@field file string?     the script in which the error occurred
---@field line integer?
---@field hint string?     what to do next
---@field cause string?    the error of libtorch or of the system behind it
local Error = {}
Error.__index = Error

function Error.__tostring(e)
  local text = e.message
  if e.cause and not text:find(e.cause, 1, true) then text = ("%s: %s"):format(text, e.cause) end
  if e.point then text = e.point .. (text:sub(1, 1) == "[" and "" or ": ") .. text end
  if e.file then text = ("%s:%d: %s"):format(e.file, e.line, text) end
  if e.hint then text = ("%s\n  hint: %s"):format(text, e.hint) end
  return text
end

Error.__concat = function(a, b) return tostring(a) .. tostring(b) end

local failure = {}

---Names of the status numbers of the core: "argument" for LS_ERROR_ARGUMENT.
---@type string[]
failure.codes = {}
for name, number in pairs(constants) do
  local code = name:match "^LS_ERROR_(.+)$"
  if code then failure.codes[number] = code:lower() end
end

---Raises an error at the first line up the stack that is not luasight's own, unless `fields` has a `file` and a `line`.
---@param code string
---@param message string
---@param fields table?
function failure.raise(code, message, fields)
  local e = { code = code, message = message:gsub("%s*\n.*$", "") }
  for k, v in pairs(fields or {}) do e[k] = v end
  if not e.file then e.file, e.line = site.split(site.script()) end
  error(setmetatable(e, Error), 0)
end

---Returns whether a caught value is an error of luasight.
---@param e any
---@return boolean
function failure.is(e) return getmetatable(e) == Error end

---Returns a name or a value in quotes for the text of an error: in one line, and cut at 160 characters.
---@param name any
---@return string
function failure.quoted(name)
  local text = tostring(name):gsub("%c", "?")
  return '"' .. (#text > 160 and text:sub(1, 157) .. "..." or text) .. '"'
end

---Returns any error as one line; its hint follows in brackets.
---@param e any
---@return string
function failure.line(e)
  local text = type(e) == "string" and e or type(e) == "table" and getmetatable(e) and getmetatable(e).__tostring
    and tostring(e) or ("(the error is a %s)"):format(type(e))
  return (text:gsub("%s*\n%s*hint: (.*)$", " (%1)"):gsub("%s*\n%s*", " "))
end

return failure
