--- The source of a parameter's numbers: one tensor of a checkpoint, or several tensors that are joined. Old files have a tensor
--- for each expert of a mixture of experts, or for each part of an expert. Such a tensor has the number of its expert (the
--- index on a new first axis) and of its part (parts are joined along their first axis), both counted from 0.
local failure = require "luasight.base.error"
local torch = require "luasight.tensor.torch"

local pieces = {}

---@class luasight.Source  the tensor or tensors with a parameter's numbers
---@field name string           the name of the tensor in the file, or of one of several, for error messages
---@field private _weights luasight.Checkpoint
---@field private _grid string[][]?  the tensors' names by expert and part; nil where the source is one tensor
---@field private _described { shape: integer[], dtype: string }?  what `describe` returned
local Source = {}
Source.__index = Source

---Makes the source of a parameter whose numbers are in one tensor.
---@param weights luasight.Checkpoint
---@param name string
---@return luasight.Source
function pieces.whole(weights, name) return setmetatable({ name = name, _weights = weights }, Source) end

---Makes an empty source, to which `Source:add` adds the tensors to join.
---@param weights luasight.Checkpoint
---@return luasight.Source
function pieces.new(weights) return setmetatable({ name = "", _weights = weights, _grid = {} }, Source) end

---Returns whether the source joins several tensors.
---@return boolean
function Source:is_grid() return self._grid ~= nil end

---Adds the tensor for a part of an expert; returns false where the part has a tensor already.
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
  failure.raise("format", ("%s: the tensors of the experts (%s and others) %s"):format(self._weights.folder, self.name, what),
    { hint = "download the checkpoint again" })
end

---Calls visit(name, expert, part) for each tensor of the source, and returns the numbers of experts and of parts of an expert;
---raises an error where a tensor is missing.
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

---Returns whether two shapes have as many axes, and the same sizes from the axis `from` on.
---@param a integer[]
---@param b integer[]
---@param from integer?  1 is the first axis, and the default
---@return boolean
function pieces.same(a, b, from)
  if #a ~= #b then return false end
  for axis = from or 1, #a do
    if a[axis] ~= b[axis] then return false end
  end
  return true
end

local function describe_grid(self)
  local rows, first = 0, nil
  local experts = each(self, function(name, i)
    local there = self._weights:describe(name)
    first = first or there
    if i == 1 then rows = rows + (there.shape[1] or 0) end
    if there.dtype ~= first.dtype or not pieces.same(there.shape, first.shape, 2) then
      refuse(self, "differ in shape or dtype")
    end
  end)
  return { shape = { experts, rows, unpack(first.shape, 2) }, dtype = first.dtype }
end

---Returns the shape and the dtype that the parameter's tensor will have.
---@return { shape: integer[], dtype: string }
function Source:describe()
  self._described = self._described or self._grid and describe_grid(self) or self._weights:describe(self.name)
  return self._described
end

---Returns the parameter's tensor: a view of the mapped file, or a new tensor joined from several, whose memory in the mapped
---file is then freed.
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

---Frees the memory that a source of one tensor takes in the mapped file, once the tensor has been copied.
function Source:forget()
  if not self._grid then self._weights:forget(self.name) end
end

return pieces
