--- Chooses the layout of weights in memory. Checkpoints of GPT-2 have the weights of linear layers as [in, out]; many machines
--- multiply faster with transposed weights. Which layout is faster is measured once for each shape, after the model has run a
--- few times, so that a script that runs the model once does not pay for it. Once a weight has been copied, the memory of its
--- numbers in the mapped file is freed.
local system = require "luasight.ffi.system"
local tensors = require "luasight.ffi.tensors"
local torch = require "luasight.tensor.torch"

local layout = {}

local SMALLEST = 2 ^ 16   -- weights with fewer elements stay as they are: calling libtorch takes longer than their product
local ROWS = 16           -- the number of rows of the product that is timed, like a short prompt's
local GAIN = 0.97         -- a weight is transposed only where that saves 3 % of the time or more

---Returns how long the product `x @ weight` takes, in seconds: the shortest of several measurements.
local function time(x, weight)
  local least = math.huge
  for _ = 1, 6 do
    local start = system.now()
    torch.matmul(x, weight):release()
    least = math.min(least, system.now() - start)
  end
  return least
end

local function turned(weight) return weight:t():contiguous():t() end

local function is_faster_turned(weight)
  local x = torch.rand(ROWS, weight:size(0))
  local as_it_is = time(x, weight)
  return time(x, turned(weight)) < GAIN * as_it_is
end

local function is_candidate(module, weight)
  return module._class_name == "Conv1D" and weight.dtype == "float32" and weight.device == "cpu"
    and not weight.requires_grad and weight:is_contiguous() and weight:numel() >= SMALLEST
end

---Stores weights transposed where this machine multiplies faster with them; the weights' shapes stay the same.
---@param net table  an nn.Module
---@param forget? fun(path: string)  frees the memory of a parameter's numbers in the mapped file
function layout.settle(net, forget)
  local better = {} -- by a weight's shape: whether transposed weights are faster
  torch.no_grad(function()
    for path, module in net:named_modules() do
      local weight = module.weight
      if weight and is_candidate(module, weight) then
        local shape = tostring(weight.shape)
        if better[shape] == nil then better[shape] = is_faster_turned(weight) end
        if better[shape] then
          local untouched = tensors.version(weight) == 0
          local copy = turned(weight)
          tensors.set_data(weight, copy)
          copy:release()
          if forget and untouched then forget(path .. ".weight") end
        end
      end
    end
  end)
end

return layout
