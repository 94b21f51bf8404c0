-- Calls every operator of libtorch with random arguments of its schemas, and says which arguments it changed although the
-- schema does not declare it, which results lie in an argument's memory undeclared, and which results (or arguments changed in
-- place) reach beyond the tensor that was given. Each finding is a line: "writes", "views" or "leaves", the operator, argument;
-- "reshapes" where the argument is declared as written. The tables in core/torch/written.cc come from here.
--
--     LUASIGHT_BUILD=$PWD/build bin/luasight spec/fuzz/writes.lua [trials [seed [operator]]]
--
-- Some operators end the process on odd arguments, so the operators run in child processes; a child that ends is begun again
-- behind the operator that ended it.
local ffi = require "ffi"
local ls = require "luasight"
local binding = require "luasight.ffi"
local C, torch = binding.C, ls.torch
local ref_t = ffi.typeof(torch.ones(1))
local trials, seed, first, inner = tonumber(arg[1] or 200), tonumber(arg[2] or 1), arg[3], arg[4]

local skipped = { from_file = true, _print = true, record_stream = true }

local function all_names()
  local names, seen = {}, {}
  for name in ffi.string(C.ls_op_names ""):gmatch "[^\n]+" do
    if not name:find "::" and not skipped[name] and not seen[name] then names[#names + 1], seen[name] = name, true end
  end
  table.sort(names)
  return names
end

-- ---- the parent ------------------------------------------------------------------------------------------------------

local function parent()
  local next_name, findings, ended = "-", {}, {}
  while next_name do
    local line = ("timeout 300 bin/luasight %s %d %d '%s' child 2>/dev/null"):format(arg[0], trials, seed, next_name)
    local child = assert(io.popen(line))
    local at
    for said in child:lines() do
      local kind, rest = said:match "^(%S+) (.*)$"
      if kind == "at" then
        at = rest
      elseif kind == "found" then
        if not findings[rest] then print(rest) end
        findings[rest] = true
      end
    end
    child:close()
    if not at or at == "end" then break end
    ended[#ended + 1] = at
    next_name = at
  end
  print("ended the process: " .. table.concat(ended, " "))
end

-- ---- arguments -------------------------------------------------------------------------------------------------------

local function pick(list) return list[math.random(#list)] end

local shapes = { { 4 }, { 4, 4 }, { 4, 4 }, { 2, 4 }, { 1, 4 }, { 4, 4, 4 }, { 2, 4, 4 }, { 2, 4, 4, 4 },
  { 4, 4, 4, 4, 4 }, {} }
local dtypes = { "float32", "float32", "float32", "float32", "float64", "int64", "int64", "bool",
  "complex64", "uint8" }

-- A tensor that is a row of a larger one.
local function new_tensor(shape, dtype)
  local sizes = { 3 }
  for _, n in ipairs(shape) do sizes[#sizes + 1] = n end
  local whole = torch.rand(sizes):mul(4):to(dtype)
  return { tensor = whole[math.random(0, 2)], whole = whole }
end

local function info_of(t)
  local info = ffi.new "ls_tensor_info"
  return C.ls_tensor_describe(t.v, info) == 0 and info or nil
end

local function address(t)
  local out = ffi.new "void *[1]"
  if C.ls_tensor_pointer(t.v, out) ~= 0 then return nil end
  return tonumber(ffi.cast("uintptr_t", out[0]))
end

local width = { float32 = 4, float64 = 8, int64 = 8, int32 = 4, int16 = 2, int8 = 1, uint8 = 1, bool = 1, complex64 = 8,
  complex128 = 16, float16 = 2, bfloat16 = 2 }

-- The addresses from and behind the bytes that a tensor reaches over.
local function stretch(t)
  local info = info_of(t)
  if not info or info.elements == 0 then return nil end
  local from = address(t)
  local size = width[ffi.string(info.dtype)]
  if not from or not size or from == 0 then return nil end
  local to = from + size
  for i = 0, info.dims - 1 do to = to + tonumber(info.shape[i] - 1) * tonumber(info.strides[i]) * size end
  return from, to
end

local function bytes_of(whole)
  local from, to = stretch(whole)
  return ffi.string(ffi.cast("const char *", from), to - from)
end

-- In one call all tensors have one shape, or all behind the first are as long as an axis, or each has one of its own.
local shape_now, dtype_now, way_now, leaves_out, tensors_now
local function begin_call()
  shape_now, dtype_now, way_now = pick(shapes), pick(dtypes), pick { "same", "channels", "channels", "any" }
  leaves_out, tensors_now = pick { 0, 0, .3 }, 0
end

local function a_tensor()
  tensors_now = tensors_now + 1
  local shape = shape_now
  if way_now == "any" then shape = pick(shapes)
  elseif way_now == "channels" and tensors_now > 1 then shape = { 4 } end
  return new_tensor(shape, math.random() < .95 and dtype_now or pick(dtypes))
end

local ints = { 0, 0, 1, 1, 2, -1, 4, 3 }
local function an_int_list(n)
  local list = {}
  for i = 1, n or math.random(3) do list[i] = pick(ints) end
  return list
end

-- A value of the type written in a schema, and the tensors in it; nothing where it is left out.
local function value_of(kind, tensors, optional)
  if optional and math.random() < leaves_out then return nil end
  if kind:find "^Tensor" then
    if kind:find "%[%]" then
      local list = {}
      for i = 1, math.random(3) do
        local made = a_tensor()
        tensors[#tensors + 1], list[i] = made, made.tensor
      end
      return list
    end
    local made = a_tensor()
    tensors[#tensors + 1] = made
    return made.tensor
  end
  if kind:find "^S?y?m?[iI]nt%[(%d*)%]" then
    return an_int_list(tonumber(kind:match "%[(%d+)%]") or (math.random() < .5 and #shape_now or nil))
  end
  if kind:find "^int" or kind:find "^SymInt" then return pick(ints) end
  if kind:find "^float%[" then return { .5, 1.5 } end
  if kind:find "^float" then return pick { 0, .1, .5, 1, 1e-5 } end
  if kind:find "^Scalar%[" then return { 1, .5 } end
  if kind:find "^Scalar$" or kind:find "^Scalar%?" then return pick { 0, 1, .5, 2 } end
  if kind:find "^bool%[" then return { true, true, true } end
  if kind:find "^bool" then return math.random() < .6 end
  if kind:find "^str" then return pick { "none", "mean", "sum", "reflect", "L", "trunc", "linear" } end
  return nil
end

-- The arguments of a schema's text: name, type, whether it may be left out, and its alias annotation.
local function arguments_of(schema)
  local inside, list = schema:match "^[^(]*(%b())", {}
  local text, depth, piece = inside:sub(2, -2), 0, ""
  for c in (text .. ","):gmatch "." do
    if c == "(" or c == "[" then depth = depth + 1 end
    if c == ")" or c == "]" then depth = depth - 1 end
    if c == "," and depth == 0 then
      piece = piece:match "^%s*(.-)%s*$"
      if piece ~= "*" and piece ~= "" then
        local kind, name = piece:match "^(%S+) ([%w_]+)"
        local alias = kind:match "%b()"
        kind = kind:gsub("%b()", "")
        list[#list + 1] = { name = name, kind = kind, alias = alias, optional = kind:find "%?$" ~= nil,
          has_default = piece:find "=" ~= nil }
      end
      piece = ""
    else
      piece = piece .. c
    end
  end
  return list
end

-- ---- one call --------------------------------------------------------------------------------------------------------

local function each_result(v, f)
  if type(v) == "table" then
    for _, item in ipairs(v) do each_result(item, f) end
  elseif type(v) == "cdata" and ffi.istype(ref_t, v) then
    if v._kind == 5 then return f(v) end
    for i = 0, C.ls_seq_length(v.v) - 1 do
      local ok, item = pcall(function() return v[i] end)
      if ok then each_result(item, f) end
    end
  end
end

local said = {}
local function found(...)
  local text = table.concat({ ... }, " ")
  if not said[text] then
    io.write("found ", text, "\n")
    io.flush() -- the process may end at the next call
  end
  said[text] = true
end

local function inspect(name, given, results)
  for _, g in ipairs(given) do
    local beyond = (g.alias or ""):find "!" and "reshapes" or "leaves"
    for _, t in ipairs(g.tensors) do
      local after = bytes_of(t.whole)
      if after ~= t.bytes and not (g.alias or ""):find "!" then found("writes", name, g.name) end
      local from, to = stretch(t.whole)
      local a, b = stretch(t.tensor)
      if a and a < to and b > from and (a < t.from or b > t.to) then found(beyond, name, g.name) end
      each_result(results, function(r)
        local x, y = stretch(r)
        if not x or x >= to or y <= from then return end
        if not g.alias then found("views", name, g.name) end
        if x < t.from or y > t.to then found(beyond, name, g.name) end
      end)
    end
  end
end

local function call(name, arguments)
  begin_call()
  local given, keywords = {}, {}
  for _, argument in ipairs(arguments) do
    local tensors = {}
    local left_out = argument.has_default and math.random() < .4
    local value = not left_out and value_of(argument.kind, tensors, argument.optional) or nil
    if value == nil and not left_out and argument.kind:find "^bool" then value = false end
    keywords[argument.name] = value
    for _, t in ipairs(tensors) do t.from, t.to = stretch(t.tensor) t.bytes = bytes_of(t.whole) end
    given[#given + 1] = { name = argument.name, alias = argument.alias, tensors = tensors }
  end
  local results = { pcall(torch[name], keywords) }
  inspect(name, given, results)
end

local function try(name)
  local op = ffi.new "const ls_op *[1]"
  if C.ls_op_find(name, op) ~= 0 then return end
  for schema in ffi.string(C.ls_op_schemas(op[0])):gmatch "[^\n]+" do
    local ok, arguments = pcall(arguments_of, schema)
    math.randomseed(seed)
    torch.manual_seed(seed)
    for _ = 1, ok and trials or 0 do call(name, arguments) end
  end
end

local function child()
  for _, name in ipairs(all_names()) do
    if first == "-" or name > first then
      io.write("at ", name, "\n")
      io.flush()
      try(name)
    end
  end
  io.write "at end\n"
end

if inner == "child" then
  child()
elseif first then
  try(first)
else
  parent()
end
