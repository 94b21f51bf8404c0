--- The sources of a parameter's numbers: one tensor of a checkpoint, or several tensors that are joined. Old files have the
--- weights of experts one by one. Each tensor then has two numbers from 0: its expert (a new first axis) and its part
--- (parts are joined along their first axis).
local failure = require "luasight.base.error"
local torch = require "luasight.tensor.torch"

local pieces = {}

---@class luasight.Source
---@field name string           the name of a tensor in the file, for messages
---@field private _weights luasight.Checkpoint
---@field private _grid string[][]?  names by expert and part; nil where the source is one tensor
local Source = {}
Source.__index = Source

---@param weights luasight.Checkpoint
---@param name string
---@return luasight.Source
function pieces.whole(weights, name) return setmetatable({ name = name, _weights = weights }, Source) end

---@param weights luasight.Checkpoint
---@return luasight.Source
function pieces.new(weights) return setmetatable({ name = "", _weights = weights, _grid = {} }, Source) end

---Returns whether the source joins several tensors.
---@return boolean
function Source:is_grid() return self._grid ~= nil end

---Adds a tensor for a part of an expert; returns false where the part has one already.
---@param name string
---@param expert integer
---@param part integer
---@return boolean
function Source:add(name, expert, part)
  local row = self._grid[expert + 1] or {}
  self._grid[expert + 1] = row
  if row[part + 1] then return false end
  row[part + 1] = name
  if self.name == "" or name < self.name then self.name = name end
  return true
end

local function refuse(self, what)
  failure.raise("format", ("%s: the tensors of %s and of the other experts %s"):format(self._weights.folder, self.name, what),
    { hint = "download the checkpoint again" })
end

---Calls visit(name, expert, part) for each tensor; raises an error where one is missing.
local function each(self, visit)
  local experts, parts = 0, 0
  for i, row in pairs(self._grid) do
    experts = math.max(experts, i)
    for j in pairs(row) do parts = math.max(parts, j) end
  end
  for i = 1, experts do
    for j = 1, parts do
      local name = self._grid[i] and self._grid[i][j]
      if not name then refuse(self, ("are not all there: number %d of expert %d is missing"):format(j - 1, i - 1)) end
      visit(name, i, j)
    end
  end
  return experts, parts
end

---Returns the shape, as text, and the dtype of the joined tensor.
---@return { shape: string, dtype: string }
function Source:describe()
  if not self._grid then
    local there = self._weights:describe(self.name)
    return { shape = tostring(there.shape), dtype = there.dtype }
  end
  local rows, rest, dtype = 0, nil, nil
  local experts = each(self, function(name, i)
    local there = self._weights:describe(name)
    local shape = there.shape:tolist()
    if i == 1 then rows = rows + (shape[1] or 0) end
    local after = table.concat(shape, ", ", 2)
    if rest and (after ~= rest or there.dtype ~= dtype) then refuse(self, "differ in shape or dtype") end
    rest, dtype = after, there.dtype
  end)
  return { shape = ("[%d, %d, %s]"):format(experts, rows, rest), dtype = dtype }
end

---Returns the tensor: a view of the file, or a new tensor of several joined tensors, whose memory in the file is freed.
---@return luasight.Tensor
function Source:get()
  if not self._grid then return self._weights:get(self.name) end
  local list = {}
  local experts, parts = each(self, function(name, i, j)
    list[i] = list[i] or {}
    list[i][j] = self._weights:get(name)
  end)
  local whole = torch.empty({ experts, list[1][1]:size(0) * parts, list[1][1]:size(1) }, { dtype = list[1][1].dtype })
  for i, row in ipairs(list) do
    whole[i - 1]:copy_(torch.cat(row, 0))
    for j in ipairs(row) do self._weights:forget(self._grid[i][j]) end
  end
  return whole
end

---Frees the memory in the file of a tensor that was copied.
function Source:forget()
  if not self._grid then self._weights:forget(self.name) end
end

return pieces
