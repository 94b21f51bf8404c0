-- Tries the operators that a file may call (core/torch/operators_safe.txt), or those named: each is called many times with
-- random arguments of its schemas, in processes of their own.
--
--   LUASIGHT_BUILD=$PWD/build luajit spec/operators/trial.lua [calls=200] [seed=1] [operator ...]
--
-- Every tensor that is given lies inside a larger memory. Before and after a call all of that memory is compared, and where the
-- results lie. What is found, one line each:
--
--   writes   NAME  an argument changed that the schema does not mark, or memory beside it
--   leaves   NAME  a result looks at memory beside the tensor that it was made from, or beyond its storage
--   ends     NAME  the process ended, or did not come to an end
--   untried  NAME  no call succeeded: nothing is known of it
--   shares   NAME  a result shares the memory of an argument though the schema does not say so (only a note)
--   absent   NAME  this libtorch does not have it (only a note)
--
-- Exit status 0: nothing but notes.
-- luacheck: ignore 631
package.path = "./spec/?.lua;./lua/?.lua;./lua/?/init.lua;./bindings/?.lua;./bindings/?/init.lua;./models/?.lua;./models/?/init.lua;"
  .. (os.getenv "LUASIGHT_BUILD" or "build") .. "/lua/?.lua;" .. package.path

local calls, seed, names, child = 200, 1, {}, false
for _, word in ipairs(arg) do
  if word == "--child" then child = true
  elseif word:match "^calls=" then calls = tonumber(word:match "%d+")
  elseif word:match "^seed=" then seed = tonumber(word:match "%d+")
  else names[#names + 1] = word end
end

-- ---- the parent: batches of operators, each in a process -----------------------------------------------------------------

local function listed()
  local list = {}
  for line in io.lines "core/torch/operators_safe.txt" do
    if line:match "^[%w_]+$" then list[#list + 1] = line end
  end
  return list
end

-- 8 GB of addresses: what asks for more gets an error and not the machine's memory.
local function batch(list)
  return io.popen(("ulimit -v 8000000; OMP_NUM_THREADS=1 timeout 200 luajit spec/operators/trial.lua --child calls=%d seed=%d %s 2>/dev/null; echo status $?")
    :format(calls, seed, table.concat(list, " ")))
end

local BATCH, TIMED_OUT = 12, "124"

---Runs a batch; gives how many operators began, and the exit status where the last of them did not come to its end.
local function run(list, found)
  local pipe, began, status = batch(list), 0, nil
  for line in pipe:lines() do
    if line:match "^begin " then began = began + 1
    elseif line:match "^status " then status = line:match "%d+"
    else found(line) end
  end
  pipe:close()
  return began, status ~= "0" and status or nil
end

local function parent()
  local left, bad, alone = #names > 0 and names or listed(), false, false
  local function found(line)
    print(line)
    io.stdout:flush()
    bad = bad or not line:match "^shares" and not line:match "^absent"
  end
  while #left > 0 do
    local now, rest = {}, {}
    for i, name in ipairs(left) do table.insert(i <= (alone and 1 or BATCH) and now or rest, name) end
    local began, status = run(now, found)
    began = math.max(began, 1)
    local again = status == TIMED_OUT and #now > 1 -- perhaps those before it were slow: once more by itself
    if status and not again then found(("ends     %s (status %s)"):format(now[began], status)) end
    for i = #now, status and (again and began or began + 1) or #now + 1, -1 do table.insert(rest, 1, now[i]) end
    alone, left = again, rest
  end
  os.exit(bad and 1 or 0)
end

if not child then return parent() end

-- ---- random arguments --------------------------------------------------------------------------------------------------

local ls = require "luasight"
local binding = require "luasight.ffi"
local operators = require "luasight.tensor.operators"
local C, ffi = binding.C, binding.ffi
local torch = ls.torch
torch.manual_seed(seed)

local random = math.random
local function pick(list) return list[random(#list)] end

local dtypes = { "float32", "float32", "float32", "float64", "int64", "int64", "bool", "complex64", "uint8", "float16", "bfloat16" }
local numbers = { 0, 1, 1, 2, 2, 3, -1, -2, 0.5, 1.5, -0.5 }
local odd = { 1e30, -1e30, 1 / 0, 0 / 0, 2 ^ 40, -2 ^ 62 }
local whole = { 0, 0, 1, 1, 2, 2, 3, 4, -1, -1, -2, 5 }
local huge = { 2 ^ 40, 2 ^ 62, -2 ^ 62, 1000 }
local texts = { "mean", "sum", "prod", "none", "ij", "xy", "linear", "reflect", "constant", "same", "valid", "i,i->i", "ij,jk->ik", "fro", "nuc",
  "right", "tanh", "max", "N", "L", "reduced", "complete", "floor" }
local MARGIN = 32

local info = ffi.new "ls_tensor_info"
local sizes = { bool = 1, uint8 = 1, int8 = 1, float16 = 2, bfloat16 = 2, int16 = 2, uint16 = 2, float32 = 4, int32 = 4, uint32 = 4, float64 = 8,
  int64 = 8, uint64 = 8, complex64 = 8, complex32 = 4, complex128 = 16 }

local function pointer(t)
  local out = ffi.new "void *[1]"
  if C.ls_tensor_pointer(t.v, out) ~= 0 then return nil end
  return tonumber(ffi.cast("uintptr_t", out[0]))
end

---First and last byte (excluded) that a tensor reaches; nil where it has none.
local function extent(t)
  if C.ls_tensor_describe(t.v, info) ~= 0 or ffi.string(info.device) ~= "cpu" or info.elements == 0 then return nil end
  local size, low, high, start = sizes[ffi.string(info.dtype)], 0, 0, pointer(t)
  if not size or not start then return nil end
  for d = 0, info.dims - 1 do
    local reach = (tonumber(info.shape[d]) - 1) * tonumber(info.strides[d])
    if reach < 0 then low = low + reach else high = high + reach end
  end
  return start + low * size, start + (high + 1) * size, tonumber(info.bytes)
end

local function bytes_of(t, count) return ffi.string(ffi.cast("char *", pointer(t)), count) end

---A tensor with memory of ours on both sides.
local function tensor(shape, dtype, given)
  local count = 1
  for _, n in ipairs(shape) do count = count * n end
  local all, base = count + 2 * MARGIN
  if dtype:match "int" then base = torch.randint(0, 3, { all }):to(dtype)
  elseif dtype == "bool" then base = torch.rand(all):gt(.5)
  elseif dtype == "complex64" then base = torch.complex(torch.randn(all), torch.randn(all))
  else base = torch.randn(all):to(dtype) end
  local t = base[{ { MARGIN, MARGIN + count } }]:view(shape)
  if #shape == 2 and shape[1] == shape[2] and random(8) == 1 then t = t:t() end
  local low, high = extent(t)
  given[#given + 1] = { t = t, base = base, size = all * sizes[dtype], from = pointer(base), low = low, high = high,
    before = bytes_of(base, all * sizes[dtype]) }
  return t
end

---What one call has in common: shapes and dtypes that are likely to fit each other.
local function plan()
  local p = { shape = {}, dtype = pick(dtypes), mode = random(6), float = random(3) == 1 }
  for i = 1, pick { 0, 1, 2, 2, 2, 3, 3, 4, 4 } do p.shape[i] = pick { 0, 1, 2, 2, 3, 3, 4 } end
  if random(4) > 1 then
    for i, n in ipairs(p.shape) do p.shape[i] = n == 0 and 2 or n end
  end
  if random(3) == 1 then
    for i in ipairs(p.shape) do p.shape[i] = p.shape[1] end
  end
  p.axis = #p.shape > 0 and p.shape[pick { 1, math.min(2, #p.shape), #p.shape }] or 2
  p.second = pick { p.dtype, p.dtype, p.dtype, p.dtype, "int64", "float32", "bool", pick(dtypes) }
  return p
end

local function next_tensor(p, given)
  local n = #given
  if n == 0 then return tensor(p.shape, p.dtype, given) end
  local shape = p.shape
  if p.mode == 1 then shape = { p.axis }
  elseif p.mode == 2 then shape = { p.shape[#p.shape] or 1, pick { 1, 2, 3 } }
  elseif p.mode == 3 then shape = {}
  elseif p.mode == 4 and n > 1 then shape = { p.axis }
  elseif p.mode == 5 then
    shape = {}
    for i = 1, random(0, 3) do shape[i] = random(0, 3) end
  end
  return tensor(shape, p.second, given)
end

local function integer() return random(40) == 1 and pick(huge) or pick(whole) end
local function scalar(p)
  if random(30) == 1 then return pick(odd) end
  return p.dtype == "int64" and pick(whole) or pick(numbers)
end

local function list(n, make)
  local out = {}
  for i = 1, n do out[i] = make() end
  return out
end

---A random value of a type in a schema's words; nil where there is none.
local function value_of(kind, p, given)
  local optional = kind:match "%?$"
  if optional then
    if random(3) == 1 then return nil end
    kind = kind:sub(1, -2)
  end
  if kind == "Tensor" then return next_tensor(p, given) end
  if kind == "Tensor[]" then return list(random(1, 3), function() return next_tensor(p, given) end) end
  if kind == "Tensor?[]" then return list(random(1, 2), function() return next_tensor(p, given) end) end
  if kind == "int" or kind == "SymInt" then return integer() end
  local count = kind:match "^S?y?m?[Ii]nt%[(%d*)%]$"
  if count then
    if random(3) == 1 then return { unpack(p.shape) } end
    return list(tonumber(count) and random(3) > 1 and tonumber(count) or random(0, 4), integer)
  end
  if kind == "float" then return pick(numbers) + 0.25 end
  if kind:match "^float%[" then return list(random(1, 3), function() return pick(numbers) + 0.25 end) end
  if kind == "Scalar" then return scalar(p) end
  if kind:match "^Scalar%[" then return list(random(1, 3), function() return scalar(p) end) end
  if kind == "bool" then return random(2) == 1 end
  if kind:match "^bool%[" then return list(tonumber(kind:match "%d+") or 2, function() return random(2) == 1 end) end
  if kind == "str" then return pick(texts) end
  if kind == "ScalarType" then return pick(dtypes) end
  if kind == "MemoryFormat" then return pick { "contiguous_format", "preserve_format", "channels_last" } end
  return nil
end

-- ---- schemas -----------------------------------------------------------------------------------------------------------

---Arguments of a schema: { kind, name, written, named }; nil where one beside the first is written.
local function arguments_of(schema)
  local inside, depth, args, named = schema:match "%((.*)%) ?%->", 0, {}, false
  if not inside then return nil end
  local from, pieces = 1, {}
  for i = 1, #inside + 1 do
    local c = inside:sub(i, i)
    if c == "(" or c == "[" then depth = depth + 1 elseif c == ")" or c == "]" then depth = depth - 1 end
    if (c == "," and depth == 0) or i == #inside + 1 then
      pieces[#pieces + 1] = inside:sub(from, i - 1):match "^%s*(.-)%s*$"
      from = i + 1
    end
  end
  for _, piece in ipairs(pieces) do
    if piece == "*" then named = true
    elseif piece ~= "" then
      local written = piece:find("!", 1, true) ~= nil
      local kind, name = piece:gsub("%b()", "", 1):match "^(%S+)%s+([%w_]+)"
      if not kind then return nil end
      if written and #args > 0 then return nil end
      args[#args + 1] = { kind = kind, name = name, written = written, named = named }
    end
  end
  return args, schema:match "%->%s*(.*)$":find("(a", 1, true) ~= nil
end

local function overloads_of(op)
  local all = {}
  for schema in ffi.string(C.ls_op_schemas(op)):gmatch "[^\n]+" do
    local args, views = arguments_of(schema)
    if args then all[#all + 1] = { args = args, views = views } end
  end
  return all
end

-- ---- arguments that fit, of operators that random ones hardly reach --------------------------------------------------------

local function f(shape, given) return tensor(shape, "float32", given) end
local function ints(shape, given) return tensor(shape, "int64", given) end

local fitting = {
  linear = function(g) return f({ 2, 3 }, g), f({ 4, 3 }, g), f({ 4 }, g) end,
  embedding = function(g) return f({ 3, 2 }, g), ints({ 2, 2 }, g) end,
  embedding_bag = function(g) return f({ 3, 2 }, g), ints({ 4 }, g), ints({ 1 }, g):mul(0) end,
  layer_norm = function(g) return f({ 2, 3 }, g), { 3 }, f({ 3 }, g), f({ 3 }, g), 1e-5 end,
  native_layer_norm = function(g) return f({ 2, 3 }, g), { 3 }, f({ 3 }, g), f({ 3 }, g), 1e-5 end,
  rms_norm = function(g) return f({ 2, 3 }, g), { 3 }, f({ 3 }, g), 1e-5 end,
  group_norm = function(g) return f({ 2, 4, 3 }, g), 2, f({ 4 }, g), f({ 4 }, g) end,
  native_group_norm = function(g) return f({ 2, 4, 3 }, g), f({ 4 }, g), f({ 4 }, g), 2, 4, 3, 2, 1e-5 end,
  batch_norm = function(g) return f({ 2, 3 }, g), f({ 3 }, g), f({ 3 }, g), f({ 3 }, g), f({ 3 }, g), true, .1, 1e-5, false end,
  instance_norm = function(g) return f({ 2, 3, 4 }, g), f({ 3 }, g), f({ 3 }, g), f({ 3 }, g), f({ 3 }, g), true, .1, 1e-5, false end,
  native_batch_norm = function(g) return f({ 2, 3 }, g), f({ 3 }, g), f({ 3 }, g), f({ 3 }, g), f({ 3 }, g), true, .1, 1e-5 end,
  scaled_dot_product_attention = function(g) return f({ 1, 2, 3, 4 }, g), f({ 1, 2, 3, 4 }, g), f({ 1, 2, 3, 4 }, g) end,
  conv1d = function(g) return f({ 1, 2, 5 }, g), f({ 3, 2, 2 }, g), f({ 3 }, g) end,
  conv2d = function(g) return f({ 1, 2, 5, 5 }, g), f({ 3, 2, 2, 2 }, g), f({ 3 }, g) end,
  conv3d = function(g) return f({ 1, 2, 3, 3, 3 }, g), f({ 3, 2, 2, 2, 2 }, g), f({ 3 }, g) end,
  conv_tbc = function(g) return f({ 5, 1, 2 }, g), f({ 2, 2, 3 }, g), f({ 3 }, g), 0 end,
  conv_transpose1d = function(g) return f({ 1, 2, 5 }, g), f({ 2, 3, 2 }, g), f({ 3 }, g) end,
  conv_transpose2d = function(g) return f({ 1, 2, 4, 4 }, g), f({ 2, 3, 2, 2 }, g), f({ 3 }, g) end,
  conv_transpose3d = function(g) return f({ 1, 2, 3, 3, 3 }, g), f({ 2, 3, 2, 2, 2 }, g), f({ 3 }, g) end,
  convolution = function(g) return f({ 1, 2, 5 }, g), f({ 3, 2, 2 }, g), f({ 3 }, g), { 1 }, { 0 }, { 1 }, false, { 0 }, 1 end,
  baddbmm = function(g) return f({ 2, 3, 5 }, g), f({ 2, 3, 4 }, g), f({ 2, 4, 5 }, g) end,
  baddbmm_ = function(g) return f({ 2, 3, 5 }, g), f({ 2, 3, 4 }, g), f({ 2, 4, 5 }, g) end,
  addbmm = function(g) return f({ 3, 5 }, g), f({ 2, 3, 4 }, g), f({ 2, 4, 5 }, g) end,
  addbmm_ = function(g) return f({ 3, 5 }, g), f({ 2, 3, 4 }, g), f({ 2, 4, 5 }, g) end,
  addmm = function(g) return f({ 3, 5 }, g), f({ 3, 4 }, g), f({ 4, 5 }, g) end,
  addmm_ = function(g) return f({ 3, 5 }, g), f({ 3, 4 }, g), f({ 4, 5 }, g) end,
  bilinear = function(g) return f({ 2, 3 }, g), f({ 2, 4 }, g), f({ 5, 3, 4 }, g), f({ 5 }, g) end,
  cross_entropy_loss = function(g) return f({ 2, 3 }, g), ints({ 2 }, g) end,
  nll_loss = function(g) return f({ 2, 3 }, g), ints({ 2 }, g) end,
  nll_loss_nd = function(g) return f({ 2, 3 }, g), ints({ 2 }, g) end,
  nll_loss_forward = function(g) return f({ 2, 3 }, g), ints({ 2 }, g), nil, 1, -100 end,
  nll_loss2d = function(g) return f({ 2, 3, 2, 2 }, g), ints({ 2, 2, 2 }, g) end,
  nll_loss2d_forward = function(g) return f({ 2, 3, 2, 2 }, g), ints({ 2, 2, 2 }, g), nil, 1, -100 end,
  index_put = function(g) return f({ 3, 2 }, g), { ints({ 2 }, g) }, f({ 2, 2 }, g) end,
  index_put_ = function(g) return f({ 3, 2 }, g), { ints({ 2 }, g) }, f({ 2, 2 }, g) end,
  index_copy = function(g) return f({ 3, 2 }, g), 0, ints({ 2 }, g), f({ 2, 2 }, g) end,
  index_copy_ = function(g) return f({ 3, 2 }, g), 0, ints({ 2 }, g), f({ 2, 2 }, g) end,
  index_add = function(g) return f({ 3, 2 }, g), 0, ints({ 2 }, g), f({ 2, 2 }, g) end,
  index_add_ = function(g) return f({ 3, 2 }, g), 0, ints({ 2 }, g), f({ 2, 2 }, g) end,
  index_reduce = function(g) return f({ 3, 2 }, g), 0, ints({ 2 }, g), f({ 2, 2 }, g), "prod" end,
  index_reduce_ = function(g) return f({ 3, 2 }, g), 0, ints({ 2 }, g), f({ 2, 2 }, g), "prod" end,
  scatter_reduce = function(g) return f({ 3, 2 }, g), 0, ints({ 2, 2 }, g), f({ 2, 2 }, g), "sum" end,
  scatter_reduce_ = function(g) return f({ 3, 2 }, g), 0, ints({ 2, 2 }, g), f({ 2, 2 }, g), "sum" end,
  scatter_add = function(g) return f({ 3, 2 }, g), 0, ints({ 2, 2 }, g), f({ 2, 2 }, g) end,
  scatter_add_ = function(g) return f({ 3, 2 }, g), 0, ints({ 2, 2 }, g), f({ 2, 2 }, g) end,
  einsum = function(g) return "ij,jk->ik", { f({ 2, 3 }, g), f({ 3, 4 }, g) } end,
  gru_cell = function(g) return f({ 2, 3 }, g), f({ 2, 4 }, g), f({ 12, 3 }, g), f({ 12, 4 }, g), f({ 12 }, g), f({ 12 }, g) end,
  rnn_tanh_cell = function(g) return f({ 2, 3 }, g), f({ 2, 4 }, g), f({ 4, 3 }, g), f({ 4, 4 }, g), f({ 4 }, g), f({ 4 }, g) end,
  rnn_relu_cell = function(g) return f({ 2, 3 }, g), f({ 2, 4 }, g), f({ 4, 3 }, g), f({ 4, 4 }, g), f({ 4 }, g), f({ 4 }, g) end,
  lstm_cell = function(g) return f({ 2, 3 }, g), { f({ 2, 4 }, g), f({ 2, 4 }, g) }, f({ 16, 3 }, g), f({ 16, 4 }, g), f({ 16 }, g), f({ 16 }, g) end,
  addmv = function(g) return f({ 2 }, g), f({ 2, 3 }, g), f({ 3 }, g) end,
  addmv_ = function(g) return f({ 2 }, g), f({ 2, 3 }, g), f({ 3 }, g) end,
  gru = function(g)
    return f({ 5, 2, 3 }, g), f({ 1, 2, 4 }, g), { f({ 12, 3 }, g), f({ 12, 4 }, g), f({ 12 }, g), f({ 12 }, g) }, true, 1, 0.25, false, false, false
  end,
  lstm = function(g)
    return f({ 5, 2, 3 }, g), { f({ 1, 2, 4 }, g), f({ 1, 2, 4 }, g) }, { f({ 16, 3 }, g), f({ 16, 4 }, g), f({ 16 }, g), f({ 16 }, g) }, true, 1,
      0.25, false, false, false
  end,
  rnn_tanh = function(g)
    return f({ 5, 2, 3 }, g), f({ 1, 2, 4 }, g), { f({ 4, 3 }, g), f({ 4, 4 }, g), f({ 4 }, g), f({ 4 }, g) }, true, 1, 0.25, false, false, false
  end,
  rnn_relu = function(g)
    return f({ 5, 2, 3 }, g), f({ 1, 2, 4 }, g), { f({ 4, 3 }, g), f({ 4, 4 }, g), f({ 4 }, g), f({ 4 }, g) }, true, 1, 0.25, false, false, false
  end,
  max_pool1d = function(g) return f({ 1, 2, 4 }, g), { 2 } end,
  max_pool1d_with_indices = function(g) return f({ 1, 2, 4 }, g), { 2 } end,
  max_pool2d_with_indices = function(g) return f({ 1, 2, 4, 4 }, g), { 2, 2 } end,
  max_pool3d_with_indices = function(g) return f({ 1, 2, 4, 4, 4 }, g), { 2, 2, 2 } end,
  multi_margin_loss = function(g) return f({ 2, 3 }, g), ints({ 2 }, g) end,
  multilabel_margin_loss = function(g) return f({ 2, 3 }, g), ints({ 2, 3 }, g) end,
  nanquantile = function(g) return f({ 2, 3 }, g), 0.5 end,
  avg_pool1d = function(g) return f({ 1, 2, 4 }, g), { 2 } end,
  quantile = function(g) return f({ 2, 3 }, g), 0.5 end,
  linalg_matrix_norm = function(g) return f({ 2, 3 }, g), "fro" end,
  linalg_qr = function(g) return f({ 3, 2 }, g) end,
  hsplit = function(g) return f({ 2, 4 }, g), 2 end,
  vsplit = function(g) return f({ 4, 2 }, g), 2 end,
  dsplit = function(g) return f({ 2, 2, 4 }, g), 2 end,
  avg_pool2d = function(g) return f({ 1, 2, 4, 4 }, g), { 2, 2 } end,
  avg_pool3d = function(g) return f({ 1, 2, 4, 4, 4 }, g), { 2, 2, 2 } end,
  max_pool2d = function(g) return f({ 1, 2, 4, 4 }, g), { 2, 2 } end,
  max_pool3d = function(g) return f({ 1, 2, 4, 4, 4 }, g), { 2, 2, 2 } end,
  adaptive_avg_pool3d = function(g) return f({ 1, 2, 4, 4, 4 }, g), { 2, 2, 2 } end,
  adaptive_max_pool3d = function(g) return f({ 1, 2, 4, 4, 4 }, g), { 2, 2, 2 } end,
  grid_sampler = function(g) return f({ 1, 2, 4, 4 }, g), f({ 1, 3, 3, 2 }, g), 0, 0, false end,
  grid_sampler_2d = function(g) return f({ 1, 2, 4, 4 }, g), f({ 1, 3, 3, 2 }, g), 0, 0, false end,
  grid_sampler_3d = function(g) return f({ 1, 2, 3, 3, 3 }, g), f({ 1, 2, 2, 2, 3 }, g), 0, 0, false end,
  affine_grid_generator = function(g) return f({ 1, 2, 3 }, g), { 1, 2, 3, 3 }, false end,
  pixel_shuffle = function(g) return f({ 1, 4, 2, 2 }, g), 2 end,
  pixel_unshuffle = function(g) return f({ 1, 1, 4, 4 }, g), 2 end,
  channel_shuffle = function(g) return f({ 1, 4, 2, 2 }, g), 2 end,
  native_channel_shuffle = function(g) return f({ 1, 4, 2, 2 }, g), 2 end,
  im2col = function(g) return f({ 1, 2, 4, 4 }, g), { 2, 2 }, { 1, 1 }, { 0, 0 }, { 1, 1 } end,
  col2im = function(g) return f({ 1, 8, 9 }, g), { 4, 4 }, { 2, 2 }, { 1, 1 }, { 0, 0 }, { 1, 1 } end,
  upsample_trilinear3d = function(g) return f({ 1, 2, 2, 2, 2 }, g), { 3, 3, 3 }, false end,
  upsample_nearest3d = function(g) return f({ 1, 2, 2, 2, 2 }, g), { 3, 3, 3 } end,
  upsample_nearest2d = function(g) return f({ 1, 2, 2, 2 }, g), { 3, 3 } end,
  upsample_bilinear2d = function(g) return f({ 1, 2, 2, 2 }, g), { 3, 3 }, false end,
  upsample_bicubic2d = function(g) return f({ 1, 2, 2, 2 }, g), { 3, 3 }, false end,
  upsample_linear1d = function(g) return f({ 1, 2, 2 }, g), { 3 }, false end,
  upsample_nearest1d = function(g) return f({ 1, 2, 2 }, g), { 3 } end,
  replication_pad3d = function(g) return f({ 1, 2, 2, 2, 2 }, g), { 1, 1, 1, 1, 1, 1 } end,
  reflection_pad3d = function(g) return f({ 1, 2, 2, 2, 2 }, g), { 1, 1, 1, 1, 1, 1 } end,
  replication_pad2d = function(g) return f({ 1, 2, 2, 2 }, g), { 1, 1, 1, 1 } end,
  reflection_pad2d = function(g) return f({ 1, 2, 2, 2 }, g), { 1, 1, 1, 1 } end,
  chain_matmul = function(g) return { f({ 2, 3 }, g), f({ 3, 4 }, g) } end,
  linalg_multi_dot = function(g) return { f({ 2, 3 }, g), f({ 3, 4 }, g) } end,
  tensordot = function(g) return f({ 2, 3 }, g), f({ 3, 4 }, g), { 1 }, { 0 } end,
  unflatten = function(g) return f({ 2, 6 }, g), 1, { 2, 3 } end,
  view_as_complex = function(g) return f({ 3, 2 }, g) end,
  cdist = function(g) return f({ 3, 2 }, g), f({ 4, 2 }, g) end,
  slice_scatter = function(g) return f({ 4, 2 }, g), f({ 2, 2 }, g), 0, 1, 3 end,
  slice_inverse = function(g) return f({ 2, 2 }, g), f({ 6, 2 }, g), 0, 1, 3 end,
  select_scatter = function(g) return f({ 4, 2 }, g), f({ 2 }, g), 0, 1 end,
  diagonal_scatter = function(g) return f({ 3, 3 }, g), f({ 3 }, g) end,
  istft = function(g) return torch.complex(f({ 5, 4 }, g), f({ 5, 4 }, g)), 8 end,
  stft = function(g) return f({ 32 }, g), 8, 4, 8, nil, false, true, true end,
  put_ = function(g) return f({ 3, 2 }, g), ints({ 2 }, g), f({ 2 }, g) end,
  put = function(g) return f({ 3, 2 }, g), ints({ 2 }, g), f({ 2 }, g) end,
  segment_reduce = function(g) return f({ 4 }, g), "sum", { lengths = torch.tensor({ 1, 3 }, { dtype = "int64" }), axis = 0 } end,
  ctc_loss = function(g) return f({ 6, 1, 3 }, g), torch.ones(1, 2, { dtype = "int64" }), { 6 }, { 2 } end,
  lu_unpack = function(g) return f({ 3, 3 }, g), torch.tensor({ 1, 2, 3 }, { dtype = "int32" }) end,
  linalg_lu_solve = function(g) return f({ 3, 3 }, g), torch.tensor({ 1, 2, 3 }, { dtype = "int32" }), f({ 3, 1 }, g) end,
  lu_solve = function(g) return f({ 3, 1 }, g), f({ 3, 3 }, g), torch.tensor({ 1, 2, 3 }, { dtype = "int32" }) end,
  ormqr = function(g) return f({ 3, 3 }, g), f({ 3 }, g), f({ 3, 3 }, g) end,
  max_unpool2d = function(g) return f({ 1, 1, 2, 2 }, g), ints({ 1, 1, 2, 2 }, g), { 4, 4 } end,
  max_unpool3d = function(g) return f({ 1, 1, 2, 2, 2 }, g), ints({ 1, 1, 2, 2, 2 }, g), { 4, 4, 4 }, { 2, 2, 2 }, { 0, 0, 0 } end,
  triplet_margin_loss = function(g) return f({ 2, 3 }, g), f({ 2, 3 }, g), f({ 2, 3 }, g) end,
  repeat_interleave = function(g) return f({ 2, 3 }, g), 2, 1 end,
  masked_scatter = function(g) return f({ 2, 3 }, g), tensor({ 2, 3 }, "bool", g), f({ 6 }, g) end,
  masked_scatter_ = function(g) return f({ 2, 3 }, g), tensor({ 2, 3 }, "bool", g), f({ 6 }, g) end,
}

-- ---- one call ------------------------------------------------------------------------------------------------------------

local function each_tensor(v, visit)
  if ffi.istype(binding.ref_t, v) then
    if v._kind == C.LS_TENSOR then visit(v)
    elseif v._kind == C.LS_TUPLE then
      for i = 0, C.ls_seq_length(v.v) - 1 do each_tensor(v[i], visit) end
    end
  end
end

local seen = {}
local function find(what, name)
  if seen[what .. name] then return end
  seen[what .. name] = true
  print(("%-8s %s"):format(what, name))
  io.stdout:flush()
end

---Looks at the memory of the arguments; `written`: the first may have changed, inside its own extent.
local function look_at_arguments(name, given, written)
  for i, one in ipairs(given) do
    local after = bytes_of(one.base, one.size)
    if after ~= one.before then
      local inside = i == 1 and written
      for at = 1, inside and one.size or 0 do
        local address = one.from + at - 1
        if after:byte(at) ~= one.before:byte(at) and not (one.low and address >= one.low and address < one.high) then inside = false end
      end
      if not inside then find("writes", name) end
    end
  end
end

local offset_of = operators.find "sym_storage_offset" or operators.find "storage_offset"

local function look_at_result(name, t, given, views)
  local low, high, bytes = extent(t)
  if not low then return end
  for _, one in ipairs(given) do
    if low < one.from + one.size and high > one.from then
      if not one.low or low < one.low or high > one.high then find("leaves", name) end
      if not views then find("shares", name) end
      return
    end
  end
  if not offset_of then return end
  local ok, offset = pcall(operators.call, offset_of, t)
  local start = ok and pointer(t) - offset * sizes[t.dtype]
  if start and (low < start or high > start + bytes) then find("leaves", name) end
end

local function pack(...) return { n = select("#", ...), ... } end

local function random_call(overload)
  local p, given, args, options = plan(), {}, { n = 0 }, nil
  for _, a in ipairs(overload.args) do
    local v = value_of(a.kind, p, given)
    if a.named then
      if type(v) ~= "nil" then
        options = options or {}
        options[a.name] = v
      end
    else
      args.n = args.n + 1
      args[args.n] = v
    end
  end
  if options then
    args.n = args.n + 1
    args[args.n] = options
  end
  return args, given
end

local function try(name, op)
  local overloads, succeeded = overloads_of(op), 0
  if #overloads == 0 then return find("untried", name) end
  for i = 1, calls do
    local overload = overloads[(i - 1) % #overloads + 1]
    local args, given
    if fitting[name] and i % 4 == 0 then
      given = {}
      args = pack(fitting[name](given))
    else
      args, given = random_call(overload)
    end
    local results = pack(pcall(operators.call, op, unpack(args, 1, args.n)))
    if results[1] then
      succeeded = succeeded + 1
      for k = 2, results.n do
        each_tensor(results[k], function(t) look_at_result(name, t, given, overload.views) end)
      end
    end
    look_at_arguments(name, given, overload.args[1] and overload.args[1].written)
    if i % 50 == 0 then collectgarbage() end
  end
  if succeeded == 0 then find("untried", name) end
end

math.randomseed(seed)
for _, name in ipairs(names) do
  print("begin " .. name)
  io.stdout:flush()
  local op = operators.find(name)
  if op then try(name, op) else find("absent", name) end
end
io.stdout:flush()
os.exit(0)
