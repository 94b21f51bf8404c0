--- Modules as text, in the form in which PyTorch prints them.
local binding = require "luasight.ffi"

local text = {}

---Returns a number in the form in which Python prints a float.
---@param x number
---@return string
function text.float(x)
  if x ~= x then return "nan" end
  if x == math.huge or x == -math.huge then return x > 0 and "inf" or "-inf" end
  if x == 0 then return 1 / x < 0 and "-0.0" or "0.0" end
  local digits, exponent
  for precision = 0, 16 do -- ends at the fewest digits that read back as the same number
    local s = binding.format(("%%.%de"):format(precision), x)
    if tonumber(s) == x or precision == 16 then
      digits, exponent = s:match "^(.-)e(.*)$"
      exponent = tonumber(exponent)
      break
    end
  end
  if exponent < -4 or exponent >= 16 then
    return ("%se%s%02d"):format(digits, exponent < 0 and "-" or "+", math.abs(exponent))
  end
  local places = math.max(1, #digits:gsub("^-", ""):gsub("%.", "") - 1 - exponent)
  return binding.format(("%%.%df"):format(places), x)
end

---Returns a value in the form in which Python prints it; a whole number is printed without a point.
---@param v any
---@return string
function text.value(v)
  if v == nil then return "None" end
  if v == true then return "True" end
  if v == false then return "False" end
  if type(v) == "number" then return v % 1 == 0 and ("%d"):format(v) or text.float(v) end
  if type(v) == "string" then return "'" .. v .. "'" end
  return tostring(v)
end

---Returns a list in the form in which Python prints a tuple.
---@param list integer[]
---@return string
function text.tuple(list)
  local parts = {}
  for i, v in ipairs(list) do parts[i] = text.value(v) end
  return "(" .. table.concat(parts, ", ") .. (#parts == 1 and ",)" or ")")
end

---Indents all lines but the first by two blanks.
---@param s string
---@return string
function text.indent(s) return (s:gsub("\n([^\n]*%S)", "\n  %1")) end

local function around(name, lines) return name .. "(\n  " .. table.concat(lines, "\n  ") .. "\n)" end

---Returns a list of modules as text; neighbours with the same text are written once: (0-11): 12 x Block(...).
local function collapsed(self)
  local lines, first, last, block = {}, nil, nil, nil
  local function close()
    if not block then return end
    local head = first == last and ("(%d): "):format(first) or ("(%d-%d): %d x "):format(first, last, last - first + 1)
    lines[#lines + 1] = text.indent(head .. block)
  end
  local i = -1
  for _, child in self:_children() do
    i = i + 1
    local s = tostring(child)
    if s == block then
      last = i
    else
      close()
      first, last, block = i, i, s
    end
  end
  close()
  if #lines == 0 then return self._class_name .. "()" end
  return around(self._class_name, lines)
end

---@param self luasight.nn.Module
---@return string
function text.of(self)
  if self._is_list then return collapsed(self) end
  local extra = self.extra_repr and self:extra_repr() or ""
  local lines = {}
  if extra ~= "" then
    for line in (extra .. "\n"):gmatch "(.-)\n" do lines[#lines + 1] = line end
  end
  local attributes = #lines
  for name, child in self:_children() do lines[#lines + 1] = ("(%s): %s"):format(name, text.indent(tostring(child))) end
  if #lines == 0 then return self._class_name .. "()" end
  if #lines == 1 and attributes == 1 then return ("%s(%s)"):format(self._class_name, lines[1]) end
  return around(self._class_name, lines)
end

return text
