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
    if not parameter.is_handle(t) then
      wrong[#wrong + 1] = ('While copying the parameter named "%s", expected a tensor, received a %s'):format(key, type(t))
      return
    end
    t = t.value
    local right = fits(t, place)
    if not right then t = fitted(t, place) end
    if not right and not fits(t, place) then
      wrong[#wrong + 1] = ("size mismatch for %s: copying a param with shape %s from checkpoint, the shape in current model "
        .. "is %s."):format(key, size_text(t), size_text(place))
    elseif not assigning and place.device == "meta" and t.device ~= "meta" then
      wrong[#wrong + 1] = ("%s is on the meta device and has no memory to copy to (pass { assign = true })."):format(key)
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
      local t = shared or made(job)
      given[job.tensor] = given[job.tensor] or { made = t, place = job.place }
      new[job.place] = new[job.place] or t
      module.replace(job.module, job.name, t)
    end
  end
  for _, job in ipairs(jobs) do
    if not job.tensor and new[job.place] then module.replace(job.module, job.name, new[job.place]) end
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
