-- Random calls of tensors give PyTorch's answers (spec/reference/calls.py says what the lines of the file are). A file of
-- another seed is read with LUASIGHT_CALLS=path.
local json = require "cjson"
local ls = require "luasight"
local support = require "spec.support"
local torch = ls.torch

local path = os.getenv "LUASIGHT_CALLS" or "spec/reference/calls.jsonl"
local is_handle = require "luasight.tensor".is_handle
local version = require "luasight.ffi.torch".version()

-- ---- reading ---------------------------------------------------------------------------------------------------------

local function number(v)
  if v == json.null then return nil end
  if type(v) ~= "string" then return v end
  if v == "nan" then return 0 / 0 end
  if v == "inf" then return math.huge end
  if v == "-inf" then return -math.huge end
  return v:match "^%-?%d+$" and loadstring("return " .. v .. "LL")() or v
end

local function tensor_of(packed)
  local dtype, flat = packed[1], {}
  for i, v in ipairs(packed[3]) do flat[i] = number(v) end
  if not dtype:find "^complex" then return torch.tensor(flat, { dtype = dtype }):reshape(packed[2]) end
  local real = torch.tensor(flat, { dtype = dtype == "complex64" and "float32" or "float64" })
  local shape = { unpack(packed[2]) }
  shape[#shape + 1] = 2
  return torch.view_as_complex(real:reshape(shape))
end

local pool

---The value of an argument: a number, a text, a list, or a tensor of the first line.
local function value(v)
  if type(v) == "table" then
    local list = {}
    for i, inner in ipairs(v) do list[i] = value(inner) end
    return list
  end
  local place, how = tostring(v):match "^T(%d+)(%a?)$"
  if not place or type(v) ~= "string" then return number(v) end
  local t = pool[tonumber(place) + 1]
  if how == "t" then return t:transpose(-2, -1) end
  if how == "n" then return t:_neg_view() end
  return how == "r" and t["::2"] or t
end

-- ---- comparing -------------------------------------------------------------------------------------------------------

local shares = { float32 = "order", float64 = "float64", float16 = "float16", bfloat16 = "bfloat16", complex64 = "order",
  complex128 = "float64" }

local function same_number(want, got, bound)
  want = number(want)
  if type(want) ~= "number" or type(got) ~= "number" then return want == got end
  if want ~= want or got ~= got then return want ~= want and got ~= got end
  return want == got or math.abs(want - got) <= bound
end

local function flat_of(t)
  if t.dtype:find "^complex" then t = torch.view_as_real(t:resolve_conj()) end
  return t:reshape({ -1 }):tolist()
end

local function bound_of(numbers, dtype)
  local most = 0
  for _, v in ipairs(numbers) do
    v = number(v)
    if type(v) == "number" and v == v and math.abs(v) < math.huge then most = math.max(most, math.abs(v)) end
  end
  return (support.tolerance[shares[dtype]] or 0) * math.max(most, 1)
end

local show

---What differs between an answer of PyTorch and a list of results here; nil where nothing does.
local function difference(want, got, n)
  if type(want) == "table" and want.l then
    if n == 1 and is_handle(got[1]) and not torch.is_tensor(got[1]) then
      local list = {}
      for i, v in got[1]:each() do list[i + 1] = v end
      got, n = list, #got[1]
    elseif n == 1 and type(got[1]) == "table" then
      got, n = got[1], #got[1]
    end
    if n ~= #want.l then return ("%d results, and %d are wanted"):format(n, #want.l) end
    for i, inner in ipairs(want.l) do
      local wrong = difference(inner, { got[i] }, 1)
      if wrong then return wrong end
    end
    return
  end
  if n ~= 1 then return ("%d results, and 1 is wanted"):format(n) end
  got = got[1]
  if type(want) ~= "table" then
    return not same_number(want, got, 1e-6 * math.max(1, type(want) == "number" and math.abs(want) or 1)) and
      ("%s, and %s is wanted"):format(show(got), show(want)) or nil
  end
  if not torch.is_tensor(got) then return show(got) .. ", and a tensor is wanted" end
  if got.dtype ~= want[1] then return ("%s, and %s is wanted"):format(got.dtype, want[1]) end
  local shape = "[" .. table.concat(want[2], ", ") .. "]"
  if tostring(got.shape) ~= shape then return ("shape %s, and %s is wanted"):format(tostring(got.shape), shape) end
  local numbers, bound = flat_of(got), bound_of(want[3], want[1])
  for i, v in ipairs(want[3]) do
    if not same_number(v, numbers[i], bound) then
      return ("%s at %d, and %s is wanted"):format(show(numbers[i]), i - 1, show(v))
    end
  end
end

show = function(v) return type(v) == "string" and ("%q"):format(v) or tostring(v):gsub("\n%s*", " ") end

-- ---- calling ---------------------------------------------------------------------------------------------------------

local function operator(case)
  local a, b = value(case.a[1]), value(case.a[2])
  if case.o == "neg" then return -a end
  if case.o == "+" then return a + b end
  if case.o == "-" then return a - b end
  if case.o == "*" then return a * b end
  if case.o == "/" then return a / b end
  return case.o == "%" and a % b or case.o == "^" and a ^ b
end

local function call(case, as_method)
  local args, n = value(case.a), #case.a
  if case.k then
    n = n + 1
    args[n] = {}
    for name, v in pairs(case.k) do args[n][name] = value(v) end
  end
  local first = args[1]
  if case.f:match "[^_]_$" then
    first = first:clone()
    args[1] = first
  end
  local methods = require "luasight.tensor.methods"
  if torch.is_tensor(first) and (as_method or rawget(methods, case.f)) then return first[case.f](unpack(args, 1, n)) end
  return torch[case.f](unpack(args, 1, n))
end

---The index as a text, and as a table; no text for tensors and booleans.
local function keys_of(pieces)
  local texts, list, has_text = {}, {}, true
  for i, piece in ipairs(pieces) do
    if type(piece) == "number" then
      texts[i], list[i] = tostring(piece), piece
    elseif type(piece) == "boolean" then
      has_text, list[i] = false, piece
    elseif piece.t then
      has_text, list[i] = false, value(piece.t)
    elseif piece.w then
      texts[i], list[i] = piece.w, piece.w
    elseif piece.l then
      texts[i] = "[" .. table.concat(piece.l, ", ") .. "]"
      list[i] = texts[i]
    else
      local a, b, c = number(piece.s[1]), number(piece.s[2]), number(piece.s[3])
      texts[i] = (a or "") .. ":" .. (b or "") .. (c and ":" .. c or "")
      list[i] = { a, b, c }
    end
  end
  return list, has_text and table.concat(texts, ", ") or nil
end

local function index(case, key)
  local x = value(case.x)
  if case.v == nil then return x[key] end
  x = x:clone()
  x[key] = value(case.v)
  return x
end

-- Calls that PyTorch refuses and luasight answers, with what makes them differ.
local function is_decided(case)
  local args, name = case.a or {}, case.f
  if name and case.k and case.k.keepdim ~= nil and not case.k.dim then return "keepdim without an axis: all axes are meant" end
  if name and type(args[1]) == "string" and (type(args[2]) == "number" or type(args[3]) == "number") then
    return "a number stands where Python takes tensors alone"
  end
  return case.i and type(case.v) == "string" and "numbers are converted to a dtype that can hold them"
end

---Calls `f`; returns what is wrong with its answer, or nil.
local function wrong_in(case, f, ...)
  local want = case.r
  local got = { pcall(f, ...) }
  local n = table.maxn(got) - 1
  local ok = table.remove(got, 1)
  local raises = type(want) == "table" and want.e
  if ok and not raises then return difference(want, got, n) end
  if ok then return not is_decided(case) and "no error, where PyTorch raises: " .. show(got[1]) or nil end
  if type(got[1]) ~= "table" then return "an error of Lua: " .. tostring(got[1]) end
  if not raises then return "an error: " .. tostring(got[1].message) .. " " .. tostring(got[1].cause) end
end

local function check(case, place)
  if case.p then return wrong_in(case, tostring, value(case.p)) end
  if case.o then return wrong_in(case, operator, case) end
  if case.f then return wrong_in(case, call, case, place % 2 == 0) end
  if case.i then
    local list, text = keys_of(case.i)
    return wrong_in(case, index, case, list) or text and wrong_in(case, index, case, text)
  end
  local dtype = case.d ~= json.null and case.d or nil
  return wrong_in(case, torch.tensor, case.n, { dtype = dtype })
end

describe("random calls", function()
  if not version:find "^2%.13" then
    pending("are compared with libtorch 2.13, whose answers are kept; this is " .. version)
    return
  end

  it("give PyTorch's answers, or raise where it raises", function()
    local place, list = 0, {}
    for line in io.lines(path) do
      if place == 0 then
        pool = {}
        for i, packed in ipairs(json.decode(line)) do pool[i] = tensor_of(packed) end
      else
        local wrong = check(json.decode(line), place)
        if wrong then list[#list + 1] = ("line %d: %s\n    %s"):format(place + 1, wrong, line:sub(1, 300)) end
      end
      place = place + 1
    end
    pool = nil
    assert.is_true(place > 1000)
    assert.equal("", table.concat(list, "\n"))
  end)
end)
