--- What is kept with each module whose forward is recorded: its module in the core, the recorded functions and programs, and
--- what they depend on.
local binding = require "luasight.ffi"
local functions = require "luasight.ffi.functions"
local watch = require "luasight.nn.watch"

local records = {}

local changes = 0 -- a counter that grows when a recorded module changes
local modes = 0   -- a counter that grows with each train() and eval()
local uses = 0    -- a counter that grows where a recording is the first of a module to use another module

-- Records that were made before the end of the process are not used behind it, since what they hold may be released already.
local over = false
binding.at_end[#binding.at_end + 1] = function() over = true end

---@class luasight.record  what is kept with a module
---@field core ffi.cdata*  the module in the core
---@field dynamic boolean   whether the module or one below it branches on numbers, so that each call records the module anew
---@field functions table<string, table<string, ffi.cdata*>>  recorded functions by training modes, then by signature
---@field programs table<string, table<string, ffi.cdata*>>   the programs of these functions, by the same two keys
---@field dependents table<table, boolean>  the modules whose recordings use this module: they contain or call it
---@field watched luasight.Watched[]?  what the recordings have read that no assignment to a module tells
---@field calls table[]?     the modules that the recordings call or may read, whose training modes count too
---@field mixing table?     a module below, or one that is called, whose rows depend on each other
---@field noted boolean?     whether `watched` has what the module itself reads
---@field change integer    the value of `changes` when the recordings were forgotten last
---@field over boolean      whether the record was made at the end of the process
---@field stale boolean?    whether the core's module has yet to be told of new children

---Forgets the recordings of a module, and those of all modules that use it.
local function forget(module)
  local r = rawget(module, "_record")
  if not r or r.change == changes then return end
  r.functions, r.programs, r.watched, r.noted, r.modes, r.change, r.stale = {}, {}, nil, nil, nil, changes, true
  for dependent in pairs(r.dependents) do forget(dependent) end
end

---Makes calls ignore the earlier recordings of a module and of those that use it, because a field of the module has changed.
---@param module table
---@param of_core boolean?  true: the core's module has changed too, since a parameter, a buffer or a child has
function records.changed(module, of_core)
  if not rawget(module, "_record") then return end
  changes = changes + 1
  forget(module)
  if of_core then rawset(module, "_record", nil) end
end

---Has to be called after a change of any module's training mode. The next call of each module then looks up its modes again.
function records.mode_changed() modes = modes + 1 end

-- ---- the tree of modules in the core ---------------------------------------------------------------------------------

local function set_children(module, core)
  for name, child in module:_children() do functions.set_child(core, name, records.core(child)) end
end

local function fill(module, core)
  for name, t in module:_tensors() do functions.set_tensor(core, name, t) end
  for point, axis in pairs(module.batch_axis or {}) do functions.set_batch_axis(core, point, axis) end
  for point, axis in pairs(module.token_axis or {}) do functions.set_token_axis(core, point, axis) end
  if module.new_cache then functions.set_batch_axis(core, "fills cache", 1) end -- the forward fills its argument `cache`
  for point, sequence in pairs(module.token_sequence or {}) do functions.set_sequence(core, point, sequence) end
  set_children(module, core)
end

local weak = { __mode = "k" }

local function fresh(module)
  return { core = functions.new_module(module._class_name), functions = {}, programs = {}, change = -1, over = over,
    dependents = setmetatable({}, weak) }
end

---Tells the record of a module what is below the module.
local function settle(module, r)
  r.stale, r.dynamic = nil, not not module.dynamic
  for _, child in module:_children() do
    local below = records.of(child)
    below.dependents[module] = true
    r.dynamic = r.dynamic or below.dynamic
  end
end

---@return luasight.record
function records.of(module)
  local r = rawget(module, "_record")
  if r and r.over ~= over then r = nil end
  if r and r.watched then
    local changed = watch.changed(r.watched)
    if changed then
      records.changed(changed)
      forget(module)
    end
  end
  if r and not r.stale then return r end
  if r then
    set_children(module, r.core)
  else
    r = fresh(module)
    rawset(module, "_record", r)
    fill(module, r.core)
    r.change = changes
  end
  settle(module, r)
  return r
end

---Returns a number that grows with every change of a module, or of one below it, that makes programs recorded earlier wrong.
---@param module table
---@return integer
function records.version(module) return records.of(module).change + modes end

---Notes, before a recording of the module `caller` calls or reads another module, that it depends on this module and its mode.
---@param caller table
---@param used table
function records.note_use(caller, used)
  records.of(used).dependents[caller] = true
  local own = rawget(caller, "_record")
  if not own or own.dynamic then return end
  own.calls = own.calls or {}
  for _, known in ipairs(own.calls) do
    if known == used then return end
  end
  table.insert(own.calls, used)
  uses = uses + 1
end

---Adds to what the recordings of a module depend on.
---@param r luasight.record
---@param list luasight.Watched[]?
function records.watch(r, list)
  if not list or r.watched == list then return end
  local all, known = r.watched or {}, {}
  for _, entry in ipairs(all) do known[entry.id] = true end
  for _, entry in ipairs(list) do
    if not known[entry.id] then all[#all + 1] = entry end
  end
  r.watched = all
end

---Notes that a recording of the module `caller` calls another module: it depends on what that module depends on.
---@param caller table
---@param r luasight.record  that of the called module
function records.note_call(caller, r)
  local own = rawget(caller, "_record")
  if own and not own.dynamic then records.watch(own, r.watched) end
end

---Returns the module of the core that stands for this module.
---@param module table
---@return ffi.cdata*
function records.core(module) return records.of(module).core end

local function mode_bits(module, bits)
  if bits[module] then return bits end
  bits[module] = true
  bits[#bits + 1] = module.training and "t" or "e"
  if module._mixes_rows and module:_mixes_rows() then bits.mixing = module end
  for _, child in module:_children() do mode_bits(child, bits) end
  local r = rawget(module, "_record")
  for _, called in ipairs(r and r.calls or {}) do mode_bits(called, bits) end
  return bits
end

---Returns the training modes of a module and of all below it, as a text.
---@param module table
---@param r luasight.record
---@return string
function records.mode(module, r)
  if r.modes ~= modes + uses then
    local bits = mode_bits(module, {})
    local text = table.concat(bits)
    r.mixing = bits.mixing
    r.mode = text:match "^t+$" and "t" or text:match "^e+$" and "e" or text
    r.modes = modes + uses
  end
  return r.mode
end

---Returns a module of those that run in a call of `module` whose rows depend on each other; nil where there is none.
---@param module table
---@return table?
function records.mixing(module)
  local r = records.of(module)
  records.mode(module, r)
  return r.mixing
end

return records
