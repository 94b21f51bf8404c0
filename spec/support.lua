--- What many specs need: errors that are expected, numbers that are near, files, commands, and the model in the box with all
--- recorded that generations record.
local busted = require "busted"
local luassert = require "luassert"
local ls = require "luasight"
local torch = ls.torch

local support = {}

-- ---- errors --------------------------------------------------------------------------------------------------------------

---Runs `f`, which must fail, and gives its error, whose message has one line.
---@param f function
---@param ... any  for `f`
---@return any
function support.failure(f, ...)
  local ok, err = pcall(f, ...)
  if ok then busted.fail("an error was expected, and there was none", 2) end
  if type(err) == "table" and err.message then luassert.is_nil(tostring(err.message):find("\n", 1, true)) end
  return err
end

---Runs `f`, which must fail with an error of this code, whose text has this in it; gives the error.
---@param code string
---@param text string
---@param f fun()
---@return luasight.Error
function support.refused(code, text, f)
  local ok, err = pcall(f)
  if ok then busted.fail(("no error, where one of code %q was expected: %s"):format(code, text), 2) end
  local said = tostring(err)
  if type(err) ~= "table" or err.code ~= code or not said:find(text, 1, true) then
    busted.fail(("an error of code %q with %q was expected, and this came:\n%s"):format(code, text, said), 2)
  end
  return err
end

-- ---- numbers -------------------------------------------------------------------------------------------------------------

---How far numbers may be from those that are wanted, as a share of the largest that is wanted. Computations that do the
---same in the same order get what stands at their dtype. What is looser has a name and its reason here.
support.tolerance = {
  float64 = 1e-9,
  float32 = 1e-6,
  bfloat16 = 1e-2,
  float16 = 2e-3,
  order = 5e-6,       -- the same sums in another order: rows in a batch, steps with a cache, long rows, another library
  whole_model = 2e-5, -- through all layers of a model, against transformers or with a cache
  gradient = 1e-4,    -- back through all layers of a model
}

local function as_numbers(x)
  if type(x) == "number" or type(x) == "table" then return torch.tensor(x, { dtype = "float64" }), "float32" end
  x = x:detach()
  local dtype = x.dtype
  if dtype:find "^complex" then x = torch.view_as_real(x:resolve_conj()) end
  return x:to { device = "cpu", dtype = "float64" }, dtype
end

---Indices of element `i` of a tensor of this shape, as a text.
local function place(i, shape)
  local at = {}
  for axis = #shape, 1, -1 do
    at[axis] = i % shape[axis]
    i = math.floor(i / shape[axis])
  end
  return "[" .. table.concat(at, ", ") .. "]"
end

---Whether numbers (one, a list, or a tensor) are as near to those wanted as the table of tolerances says, and if not how far
---they are, where, and what the bound is. Shapes must be the same, infinite numbers in the same places; NaN is near nothing.
---@param want any
---@param got any
---@param by? string       a name in `support.tolerance`; the dtype of `got` otherwise
---@param least? number    the scale where all that is wanted is smaller: 1 where 0 is wanted
---@return boolean, string?
function support.is_near(want, got, by, least)
  local a, b, dtype
  a = as_numbers(want)
  b, dtype = as_numbers(got)
  by = by or (support.tolerance[dtype] and dtype or "float64")
  local share = luassert(support.tolerance[by], "no such tolerance: " .. by)
  local shape = b.shape:tolist()
  if tostring(a.shape) ~= tostring(b.shape) then
    return false, ("the shape is %s, and %s is wanted"):format(tostring(b.shape), tostring(a.shape))
  end
  if b:numel() == 0 then return true end
  local nan = a:isnan():logical_or(b:isnan()):flatten():int()
  if nan:any():item() then return false, "NaN is at " .. place(nan:argmax():item(), shape) .. ", or is wanted there" end
  local off = (a - b):abs():masked_fill(a:eq(b), 0):flatten()
  local worst = off:argmax():item()
  local finite = a:masked_fill(a:isinf(), 0)
  local scale = math.max(finite:abs():max():item(), least or 0)
  local difference, bound = off[worst]:item(), share * scale
  if difference <= bound then return true end
  local is, wanted = b:flatten()[worst]:item(), a:flatten()[worst]:item()
  local text = "the largest difference is %.3g at %s, where %.9g is and %.9g is wanted, and %.3g (%s: %g of %.3g) is the bound"
  return false, text:format(difference, place(worst, shape), is, wanted, bound, by, share, scale)
end

---The numbers are near those wanted, or the test fails; see `support.is_near`.
---@param want any
---@param got any
---@param what? string     which numbers they are, for the message
---@param by? string
---@param least? number
function support.near(want, got, what, by, least)
  local ok, message = support.is_near(want, got, by, least)
  if not ok then busted.fail((what and what .. ": " or "") .. message, 2) end
end

-- ---- files -----------------------------------------------------------------------------------------------------------------

---@param path string
---@return string
function support.read(path)
  local file = luassert(io.open(path, "rb"))
  local text = file:read "*a"
  file:close()
  return text
end

---@param path string
---@param text string
function support.write(path, text)
  local file = luassert(io.open(path, "wb"))
  file:write(text)
  file:close()
end

---Calls a function with the path of a new file, which is removed at the end, also where the function fails.
---@param f fun(path: string)
function support.temporary(f)
  local path = os.tmpname()
  local ok, problem = pcall(f, path)
  os.remove(path)
  if not ok then error(problem, 0) end
end

-- ---- commands ------------------------------------------------------------------------------------------------------------

---A word for the shell that stands for itself.
---@param text string
---@return string
function support.quote(text) return "'" .. text:gsub("'", "'\\''") .. "'" end

-- The leak checker of a build with sanitizers is preloaded into every program. Those of the system leak, and would fail.
local sanitized = (os.getenv "LD_PRELOAD" or ""):find "asan"
local function leaks_count(command) return command:find("bin/luasight", 1, true) or command:find("luajit", 1, true) end

---Runs a command of the shell without an input, to its end: what it printed, its status, and what it printed to standard error.
---One that takes longer than `seconds` (300) is ended, and the test fails.
---@param command string
---@param seconds? number
---@return string output, integer status, string errors
function support.run(command, seconds)
  seconds = seconds or 300
  local out, err = os.tmpname(), os.tmpname()
  local line = "timeout -k 5 %g sh -c %s </dev/null >%s 2>%s; echo $?"
  if sanitized and not leaks_count(command) then line = "ASAN_OPTIONS=$ASAN_OPTIONS:detect_leaks=0 " .. line end
  local pipe = luassert(io.popen(line:format(seconds, support.quote(command), out, err)))
  local status = tonumber(pipe:read "*a")
  pipe:close()
  local output, errors = support.read(out), support.read(err)
  os.remove(out)
  os.remove(err)
  if status == 124 then
    busted.fail(("it took longer than %g s: %s\n%s%s"):format(seconds, command, output, errors), 2)
  end
  return output, status, errors
end

---Runs a command that must succeed; what it printed.
---@param command string
---@param seconds? number
---@return string
function support.output(command, seconds)
  local output, status, errors = support.run(command, seconds)
  if status ~= 0 then busted.fail(("status %d: %s\n%s%s"):format(status, command, output, errors), 2) end
  return output
end

---A new folder under the temporary folder; the caller removes it.
---@return string
function support.folder() return (support.output "mktemp -d":gsub("\n$", "")) end

---The folder of the project, from where tests run.
support.root = support.output "pwd -P":gsub("\n$", "")

---@param path string  a file or folder
function support.remove(path) support.output("rm -rf " .. support.quote(path)) end

-- ---- a small model ----------------------------------------------------------------------------------------------------------

---A network of three layers that does not train, as a model and by itself, with a random input of one row.
---@return userdata model, table net, any x
function support.small_model()
  local nn = ls.nn
  local net = nn.Sequential {
    { "layer1", nn.Linear(5, 10) },
    { "act", nn.GELU() },
    { "layer2", nn.Linear(10, 2) },
  }
  net:requires_grad_(false)
  return ls.Model(net), net, torch.randn(1, 5)
end

-- ---- the model in the box ------------------------------------------------------------------------------------------------

support.john = "When Mary and John went to the store, John gave a drink to"
support.mary = "When Mary and John went to the store, Mary gave a drink to"
support.short = "hot : cold , big :"

---The model in the box. What is recorded for a way of calling it stays with the model, so it is called in each of these ways.
---@return userdata
function support.generating_box()
  local john, mary, short = support.john, support.mary, support.short
  local model = ls.LanguageModel "models/pretrained/ioi"
  for _, input in ipairs { john, { john, mary }, { john, short } } do
    model(input)
    model:generate(input, { max_new_tokens = 2, eos_token_id = false })
    model:generate(input, { max_new_tokens = 2, eos_token_id = false }, function() return model.generator.output end)
  end
  for _ = 1, 2 do
    model:generate({ max_new_tokens = 2, eos_token_id = false }, function(tracer)
      for _, text in ipairs { john, mary, short } do
        tracer:invoke(text, function() return model.transformer.wte.output, model.generator.output end)
      end
    end)
  end
  return model
end

return support
