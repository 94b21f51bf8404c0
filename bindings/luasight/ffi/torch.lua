--- Global functions of libtorch: its version, threads, random numbers and devices.
local binding = require "luasight.ffi"

local C, ffi = binding.C, binding.ffi

local torch = {}

---@return string  # such as "2.13.0"
function torch.version() return ffi.string(C.ls_torch_version()) end

---@param seed integer
function torch.seed(seed) binding.check(C.ls_manual_seed(seed)) end

---@return integer
function torch.threads() return C.ls_threads() end

---@param n integer
function torch.set_threads(n) binding.check(C.ls_set_threads(n)) end

---Returns the number of devices of a kind.
---@param kind string  such as "cuda"
---@return integer
function torch.devices(kind) return C.ls_device_count(kind) end

return torch
