--- The state of a module: its parameters and persistent buffers by name.
local binding = require "luasight.ffi"
local module = require "luasight.nn.module"
local options_of = require "luasight.base.options"
local parameter = require "luasight.nn.parameter"
local tensors_of = require "luasight.ffi.tensors"
local torch = require "luasight.tensor.torch"

local state = {}

---Calls visit(key, module, name, tensor) for each tensor in the state of a module, in PyTorch's order: for the module's own
---parameters, for its buffers, then for its children.
local function each(self, prefix, visit)
  local kinds = self._tensor_kinds
  for _, kind in ipairs { "parameter", "buffer" } do
    for name, t in self:_tensors() do
      if kinds[name] == kind then visit(prefix .. name, self, name, t) end
    end
  end
  for name, child in self:_children() do each(child, prefix .. name .. ".", visit) end
end

---Returns the names and the tensors in the state of a module, in PyTorch's order. The options are those of state_dict.
---@param self luasight.nn.Module
---@param given table?
---@return string[] names, ffi.cdata*[] tensors
function state.read(self, given)
  local options = options_of.read("state_dict", given, { prefix = "string", keep_vars = "boolean" })
  local names, tensors, detached = {}, {}, {}
  each(self, options.prefix or "", function(key, _, _, t)
    detached[t] = detached[t] or (options.keep_vars and t or t:detach()) -- a shared tensor stays shared
    names[#names + 1], tensors[#tensors + 1] = key, detached[t]
  end)
  return names, tensors
end

-- ---- loading ---------------------------------------------------------------------------------------------------------

local function quoted(names)
  local list = {}
  for i, name in ipairs(names) do list[i] = ('"%s"'):format(name) end
  return table.concat(list, ", ")
end

local function size_text(t) return ("torch.Size(%s)"):format(tostring(t.shape)) end

local fits = tensors_of.same_shape

---Returns the element of `t` where `t` has the shape [1] and the module's tensor `place` has no axes, since PyTorch accepts
---this difference in old files; otherwise returns `t` itself.
local function fitted(t, place) return t:dim() == 1 and t:numel() == 1 and place:dim() == 0 and t[0] or t end

---Returns whether elements of a tensor are one place in memory, as those of x:expand(3) are.
local function overlaps(t)
  local d = tensors_of.layout(t)
  for axis, size in ipairs(d.shape) do
    if size > 1 and d.strides[axis] == 0 then return true end
  end
  return false
end

---Returns the text of an error where the numbers of `t`, which has the right shape, cannot be put in the module's `place`.
local function obstacle(key, t, place, assigning)
  if assigning then
    if place.requires_grad and not t.dtype:find "float" and not t.dtype:find "^complex" then
      return ("%s is a parameter that requires a gradient, which a tensor of %s cannot have."):format(key, t.dtype)
    end
  elseif place.device == "meta" then
    if t.device ~= "meta" then
      return ("%s is on the meta device and has no memory to copy to (pass { assign = true })."):format(key)
    end
  elseif t.device == "meta" then
    return ("the given %s is on the meta device and has no numbers."):format(key)
  elseif tensors_of.layout(t).layout ~= tensors_of.layout(place).layout then
    return ("the given %s and the parameter have different layouts, such as sparse and dense."):format(key)
  elseif place:numel() > 1 and overlaps(place) then
    return ("elements of %s share memory, so numbers cannot be copied to it (pass { assign = true })."):format(key)
  end
end

---Compares the given tensors with those of the module. Returns the assignments to make, the missing names, the unexpected names
---and the texts of errors.
local function compare(self, given, assigning)
  local jobs, missing, unexpected, wrong, known = {}, {}, {}, {}, {}
  each(self, "", function(key, m, name, place)
    known[key] = true
    local t = given[key]
    if type(t) == "nil" then
      missing[#missing + 1] = key
      jobs[#jobs + 1] = { module = m, name = name, place = place }
      return
    end
    local is_handle = parameter.is_handle(t)
    if is_handle then t = t.value end
    if not tensors_of.is_tensor(t) then
      wrong[#wrong + 1] = ('While copying the parameter named "%s", expected a tensor, received a %s'):format(key,
        is_handle and "tuple" or type(t))
      return
    end
    local right = fits(t, place)
    if not right then t = fitted(t, place) end
    if not right and not fits(t, place) then
      wrong[#wrong + 1] = ("size mismatch for %s: copying a param with shape %s from checkpoint, the shape in current model "
        .. "is %s."):format(key, size_text(t), size_text(place))
    else
      wrong[#wrong + 1] = obstacle(key, t, place, assigning)
    end
    jobs[#jobs + 1] = { module = m, name = name, place = place, tensor = t }
  end)
  for key in pairs(given) do
    if not known[key] then unexpected[#unexpected + 1] = tostring(key) end
  end
  table.sort(unexpected)
  return jobs, missing, unexpected, wrong
end

local function copy(jobs)
  torch.no_grad(function()
    for _, job in ipairs(jobs) do
      if job.tensor then job.place:copy_(job.tensor) end
    end
  end)
end

---Returns the new tensor of an assignment as a parameter where the old tensor is a parameter, and as a buffer otherwise.
local function made(job)
  if job.module._tensor_kinds[job.name] ~= "parameter" then return parameter.Buffer(job.tensor) end
  return parameter.Parameter(job.tensor, { requires_grad = job.place.requires_grad })
end

---Replaces tensors of modules by those of a state. Names that shared one tensor share the new one too, if the state has the
---same tensor for all of these names, or has only one of the names.
local function assign(jobs)
  local new, given = {}, {} -- `new`: old tensor -> new tensor; `given`: tensor of the state -> new tensor
  for _, job in ipairs(jobs) do
    if job.tensor then
      local known = given[job.tensor]
      local shared = known and rawequal(known.place, job.place) and known.made
      job.made = shared or made(job)
      given[job.tensor] = given[job.tensor] or { made = job.made, place = job.place }
      new[job.place] = new[job.place] or job.made
    end
  end
  for _, job in ipairs(jobs) do -- all tensors are made before the first takes its place, so no error leaves half of them there
    local t = job.made or new[job.place]
    if t then module.replace(job.module, job.name, t) end
  end
end

---Puts tensors in the place of parameters and buffers, without a copy. Names and shapes are not compared: the caller has
---compared them.
---@param self luasight.nn.Module
---@param given table<string, ffi.cdata*>  parameters and buffers without an entry stay
function state.put(self, given)
  local jobs = {}
  each(self, "", function(key, m, name, place)
    jobs[#jobs + 1] = { module = m, name = name, place = place, tensor = given[key] }
  end)
  assign(jobs)
end

---Loads a state into a module, as `load_state_dict` describes it; returns the names that did not match.
---@param self luasight.nn.Module
---@param given table<string, ffi.cdata*>
---@param options table?
---@return { missing_keys: string[], unexpected_keys: string[] }
function state.write(self, given, options)
  if type(given) ~= "table" then
    binding.raise("argument", ("load_state_dict takes a table of tensors by name, not a %s"):format(type(given)))
  end
  options = options_of.read("load_state_dict", options, { strict = "boolean", assign = "boolean" })
  local jobs, missing, unexpected, wrong = compare(self, given, options.assign)
  if options.strict ~= false then
    if #unexpected > 0 then
      table.insert(wrong, 1, ("Unexpected key(s) in state_dict: %s."):format(quoted(unexpected)))
    end
    if #missing > 0 then table.insert(wrong, 1, ("Missing key(s) in state_dict: %s."):format(quoted(missing))) end
  end
  if #wrong > 0 then
    binding.raise("format", ("Error(s) in loading state_dict for %s: %s"):format(self._class_name, table.concat(wrong, " ")),
      { missing_keys = missing, unexpected_keys = unexpected })
  end
  if options.assign then assign(jobs) else copy(jobs) end
  return { missing_keys = missing, unexpected_keys = unexpected }
end

return state
