-- The constants that Lua has of core/abi.h are those of the C library.
local binding = require "luasight.ffi"
local constants = require "luasight.ffi.constants"

describe("the constants of the header", function()
  it("have the numbers that C has", function()
    local count = 0
    for name, number in pairs(constants) do
      assert.equal(tonumber(binding.C[name]), number, name)
      count = count + 1
    end
    assert.is_true(count > 50, count)
  end)

  it("are all there", function()
    local missing, file = {}, io.open "core/abi.h"
    local text = file:read "*a"
    file:close()
    for name in text:gsub("/%*.-%*/", ""):gmatch "%f[%w_]LS_[%u_]+" do
      if not rawget(constants, name) then missing[#missing + 1] = name end
    end
    assert.same({}, missing)
  end)

  it("refuse a name that the header does not have", function()
    assert.has_error(function() return constants.LS_TENSER end, 'core/abi.h has no constant "LS_TENSER"')
  end)
end)
