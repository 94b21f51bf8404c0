-- Small models with fixed weights, for the specs of gradients.
local ls = require "luasight"
local torch, nn = ls.torch, ls.nn

local WEIGHTS = {
  a = torch.tensor { { 1, 2 }, { 3, 4 } },
  b = torch.tensor { { 0.5, -1 }, { 2, 0.25 } },
  c = torch.tensor { { -1, 3 }, { 0.5, 0.5 } },
}
local x = torch.tensor { { 1, 2 } }

---A model with linear children a, b and c, none of which trains.
---@param forward fun(self: table, v: any): any
local function model_of(forward)
  local Net = nn.Module "Net"
  function Net:init()
    for name, weight in pairs(WEIGHTS) do
      self[name] = nn.Linear(2, 2, { bias = false })
      torch.no_grad(function() self[name].weight:copy_(weight) end)
    end
  end
  Net.forward = forward
  local net = Net()
  net:requires_grad_(false)
  return ls.Model(net), net
end

local function around()
  return model_of(function(self, v)
    local h = self.a(v)
    return self.b(h) + h
  end)
end

local Repeat = nn.Module "Repeat"
function Repeat:init(how)
  self.w, self.made, self.all = nn.Parameter(torch.tensor { { 1, 2 } }), how == "made", nn.Identity()
end
function Repeat:forward(v)
  local w = self.w
  if self.made then w = w * 1 end
  return self.all(w:expand(v:size(0), -1)) + v
end

---A model whose point `all` has the row 1, 2 once for each row of the input, in one piece of memory.
---@param how "made"|"parameter"  whose memory it is: the run's or the model's
local function repeats(how) return ls.Model(Repeat(how):requires_grad_(false)) end

return { model_of = model_of, around = around, repeats = repeats, x = x }
