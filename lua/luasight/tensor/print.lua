--- Tensors as text, equal to PyTorch's byte for byte.
---
--- The text is made from a luasight.TensorView: shape, strides, numbers in memory and a function that reads them. Of a
--- large tensor only the elements at the edges of each axis are read.
local format = require "luasight.ffi".format

local print_tensor = {
  threshold = 1000, -- the number of elements above which only the edges of each axis are shown
  edge = 3,         -- the number of elements shown at each edge of an axis
}

local PRECISION, LINE = 4, 80

---@class luasight.TensorView  the numbers of a tensor in memory, for reading
---@field shape integer[]
---@field strides integer[]
---@field elements integer
---@field data any          a pointer to the numbers in memory: the element at the position i is at the place `sum(i * stride)`
---@field read fun(data: any, place: integer): any  reads a number, or both parts of a complex one
---@field is_complex boolean?
---@field edges boolean?    whether `data` has only the first and last elements of each long axis
---@field opaque boolean?   whether the numbers cannot be read, as those of meta tensors
---@field keep any          the tensor in whose memory the elements are

---@class luasight.TensorNotes
---@field dtype string
---@field device string
---@field requires_grad boolean?
---@field grad_fn string?
---@field layout string?    the name of another layout than rows of numbers
---@field nonzero integer?  of a sparse tensor: how many elements it holds
---@field parts table[]?    of a sparse tensor: the tensors that it consists of, each with `name`, `view` and `dtype`

local function is_float(dtype) return dtype:find "float" ~= nil end

---Returns the positions on a long axis whose elements the text of a tensor shows.
---@param size integer
---@return integer[]
function print_tensor.positions(size)
  local list, edge = {}, print_tensor.edge
  for i = 0, edge - 1 do list[#list + 1] = i end
  for i = size - edge, size - 1 do list[#list + 1] = i end
  return list
end

-- ---- numbers ---------------------------------------------------------------------------------------------------------

local function is_finite(x) return x == x and x ~= math.huge and x ~= -math.huge end

local function special(x)
  if x ~= x then return "nan" end
  return x > 0 and "inf" or "-inf"
end

local function exact(x)
  if type(x) == "boolean" then return x and "True" or "False" end
  if type(x) == "cdata" then return (tostring(x):gsub("U?LL$", "")) end
  return ("%d"):format(x)
end

---Returns a function that writes a floating-point number of one tensor as text, and the width of the widest such text.
local function float_format(each)
  local whole, smallest, largest = true, math.huge, 0
  each(function(x)
    if is_finite(x) and x ~= 0 then
      if x ~= math.ceil(x) then whole = false end
      local size = math.abs(x)
      if size < smallest then smallest = size end
      if size > largest then largest = size end
    end
  end)
  if largest == 0 then -- all numbers are zero or not finite
    return function(x) return is_finite(x) and format("%.0f.", x) or special(x) end, 1
  end
  local scientific = largest / smallest > 1000 or largest > 1e8 or smallest < 1e-4
  local pattern = scientific and "%." .. PRECISION .. "e" or whole and "%.0f." or "%." .. PRECISION .. "f"
  local width = 1
  each(function(x)
    if is_finite(x) and x ~= 0 then width = math.max(width, #format(pattern, x)) end
  end)
  return function(x) return is_finite(x) and format(pattern, x) or special(x) end, width
end

local function exact_format(each)
  local width = 1
  each(function(x) width = math.max(width, #exact(x)) end)
  return exact, width
end

local function padded(form, width)
  return function(x)
    local text = form(x)
    return (" "):rep(width - #text) .. text
  end
end

---Returns a function that writes the number at a place of a view, as wide as the widest of the shown, and how wide that is.
local function format_of(view, dtype, each)
  if not view.is_complex then
    local form, width = (is_float(dtype) and float_format or exact_format)(each)
    return padded(form, width), width
  end
  local real, width = float_format(each)
  local imaginary, other = float_format(function(f) each(function(_, x) f(x) end) end)
  real = padded(real, width)
  return function(x, y)
    local text = imaginary(y) .. "j"
    return real(x) .. (text:match "^[+-]" and "" or "+") .. text
  end, width + other + 1
end

-- ---- layout ----------------------------------------------------------------------------------------------------------

---Calls `f` with each position on an axis that the text shows, and with nil at the place where positions are left out.
local function along(view, axis, f)
  local size = view.shape[axis]
  local edge = print_tensor.edge
  if not view.summary or size <= 2 * edge then
    for i = 0, size - 1 do f(i) end
    return
  end
  for i = 0, edge - 1 do f(i) end
  f(nil)
  local first = view.edges and edge or size - edge
  for i = first, first + edge - 1 do f(i) end
end

local function visit(view, axis, offset, f)
  if axis > #view.shape then return f(view.read(view.data, offset)) end
  along(view, axis, function(i)
    if i then visit(view, axis + 1, offset + i * view.strides[axis], f) end
  end)
end

local function vector(view, offset, indent, form, width)
  local per_line = math.max(1, math.floor((LINE - indent) / (width + 2)))
  local lines, line = {}, {}
  along(view, #view.shape, function(i)
    if #line == per_line then
      lines[#lines + 1], line = table.concat(line, ", "), {}
    end
    local text = " ..."
    if i then text = form(view.read(view.data, offset + i * view.strides[#view.shape])) end
    line[#line + 1] = text
  end)
  lines[#lines + 1] = table.concat(line, ", ")
  return "[" .. table.concat(lines, ",\n" .. (" "):rep(indent + 1)) .. "]"
end

local function body(view, axis, offset, indent, form, width)
  local left = #view.shape - axis + 1
  if left == 0 then return form(view.read(view.data, offset)) end
  if left == 1 then return vector(view, offset, indent, form, width) end
  local parts = {}
  along(view, axis, function(i)
    parts[#parts + 1] = i and body(view, axis + 1, offset + i * view.strides[axis], indent + 1, form, width) or "..."
  end)
  return "[" .. table.concat(parts, "," .. ("\n"):rep(left - 1) .. (" "):rep(indent + 1)) .. "]"
end

local function numbers(view, notes, indent)
  if view.opaque then return "..." end
  if view.elements == 0 then return "[]" end
  view.summary = view.elements > print_tensor.threshold
  local function each(f) visit(view, 1, 0, f) end
  local form, width = format_of(view, notes.dtype, each)
  return body(view, 1, 0, indent, form, width)
end

-- ---- the whole text --------------------------------------------------------------------------------------------------

local function size_text(shape)
  return "size=(" .. table.concat(shape, ", ") .. (#shape == 1 and ",)" or ")")
end

local usual_dtypes = { float32 = true, int64 = true, bool = true, complex64 = true }

local function suffixes(view, notes)
  local list = {}
  if notes.device ~= "cpu" then list[1] = ("device='%s'"):format(notes.device) end
  local usual = usual_dtypes[notes.dtype]
  if notes.nonzero then
    list[#list + 1] = size_text(view.shape)
    list[#list + 1] = ("nnz=%d"):format(notes.nonzero)
  elseif view.opaque or view.elements == 0 then
    if view.opaque or #view.shape ~= 1 then list[#list + 1] = size_text(view.shape) end
    usual = notes.dtype == "float32"
  end
  if not usual then list[#list + 1] = "dtype=torch." .. notes.dtype end
  if notes.layout then list[#list + 1] = "layout=torch." .. notes.layout end
  if notes.grad_fn then list[#list + 1] = ("grad_fn=<%s>"):format(notes.grad_fn)
  elseif notes.requires_grad then list[#list + 1] = "requires_grad=True" end
  return list
end

-- The text of the tensors that a sparse tensor consists of, one in a line.
local function parts_text(parts, indent)
  local lines = {}
  for i, part in ipairs(parts) do
    local prefix = part.name .. "=tensor("
    local size = part.view.elements == 0 and ", " .. size_text(part.view.shape) or ""
    lines[i] = prefix .. numbers(part.view, part, indent + #prefix) .. size .. ")"
  end
  return table.concat(lines, ",\n" .. (" "):rep(indent))
end

---@param view luasight.TensorView
---@param notes luasight.TensorNotes
---@return string
function print_tensor.text(view, notes)
  local indent = #"tensor("
  local text = "tensor(" .. (notes.parts and parts_text(notes.parts, indent) or numbers(view, notes, indent))
  local parts, used = { text }, #text:match "[^\n]*$" + 2
  if notes.layout == "sparse_coo" then used = LINE end -- what follows has a line of its own
  for _, suffix in ipairs(suffixes(view, notes)) do
    if used + #suffix + 2 > LINE then
      parts[#parts + 1] = ",\n" .. (" "):rep(indent) .. suffix
      used = indent + #suffix
    else
      parts[#parts + 1] = ", " .. suffix
      used = used + #suffix + 2
    end
  end
  return table.concat(parts) .. ")"
end

return print_tensor
