--- The layout of weights in memory. Checkpoints of GPT-2 hold the weights of its linear layers as [in, out]; many machines
--- multiply faster where the same numbers lie the other way round. What is faster here is measured, once for each shape,
--- when a model has run a few times: a script that runs it once does not pay for it. The file's pages go as the copies
--- come, so no second copy stays.
local system = require "luasight.ffi.system"
local tensors = require "luasight.ffi.tensors"
local torch = require "luasight.tensor.torch"

local layout = {}

local SMALLEST = 2 ^ 16   -- elements; below, calling costs more than multiplying
local ROWS = 16           -- of the product that is timed: a short prompt
local GAIN = 0.97         -- turned only where that saves 3 % or more

---The least of a few times that `x @ weight` takes, in seconds.
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

---Turns the weights that this machine multiplies faster that way.
---@param net table  an nn.Module
---@param forget? fun(path: string)  the file's memory of a parameter is not needed any more
function layout.settle(net, forget)
  local better = {} -- by shape
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
