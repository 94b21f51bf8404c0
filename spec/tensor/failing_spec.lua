-- What an operator that fails, or a tensor that cannot be made, leaves behind.
local ls = require "luasight"
local support = require "spec.support"
local failure, near = support.failure, support.near
local binding = require "luasight.ffi"
local torch, nn = ls.torch, ls.nn

local function small()
  local net = nn.Sequential { { "a", nn.Linear(2, 2) }, { "b", nn.Linear(2, 2) } }
  net:requires_grad_(false)
  return ls.Model(net), net, torch.tensor { { 1, 2 } }
end

local temporary = support.temporary

describe("an operator that fails", function()
  local ROWS = 2 ^ 40

  -- The whole storage behind x can be read: a tensor over more than that is refused by as_strided.
  local function is_as_before(x, numbers)
    assert.equal(#numbers, x:numel())
    assert.same(numbers, x:flatten():tolist())
    assert.equal(#numbers, #x:clone():flatten():tolist())
  end

  it("5.3: leaves what it would have resized as it was", function()
    local x = torch.ones(4)
    assert.equal("memory", failure(x.resize_, x, { ROWS, 3 }).code)
    is_as_before(x, { 1, 1, 1, 1 })
    local view = torch.arange(4)["1:3"]
    assert.equal("memory", failure(view.resize_, view, { ROWS, 3 }).code)
    is_as_before(view, { 1, 2 })
    local transposed = torch.tensor { { 1, 2 }, { 3, 4 } }:t()
    assert.equal("memory", failure(transposed.resize_, transposed, { ROWS, 3 }).code)
    is_as_before(transposed, { 1, 3, 2, 4 })
    assert.same({ 1, 2 }, { transposed:stride(0), transposed:stride(1) })
  end)

  it("5.3: leaves what it would have written to as it was", function()
    local out = torch.empty(0)
    assert.equal("memory", failure(torch.add, torch.ones(1):expand({ ROWS, 3 }), 1, { out = out }).code)
    is_as_before(out, {})
    local a, b = torch.ones(0), torch.ones(0):long()
    assert.equal("memory", failure(torch.sort, torch.ones(1):expand({ ROWS, 3 }), { values = a, indices = b }).code)
    is_as_before(a, {})
    is_as_before(b, {})
  end)

  it("5.3: leaves a tensor on the memory that it had", function()
    local x, other = torch.ones(3), torch.zeros(2)
    assert.equal("memory", failure(x.set_, x, other, 0, { ROWS, 3 }, { 3, 1 }).code)
    is_as_before(x, { 1, 1, 1 })
    other:fill_(5)
    is_as_before(x, { 1, 1, 1 })
  end)

  it("5.3: leaves a view of a file within the file", function()
    temporary(function(path)
      ls.safetensors.save(path, { x = torch.arange(4):float() })
      local x = ls.safetensors.load(path).x
      assert.equal("torch", failure(x.resize_, x, { 100000 }).code)
      is_as_before(x, { 0, 1, 2, 3 })
    end)
  end)

  it("5.3: leaves values in a trace as they were", function()
    local model, net, x = small()
    local e = failure(function()
      model:trace(x, function() return model.a.output:resize_({ ROWS, 3 }) end)
    end)
    assert.equal("memory", e.code)
    near(net(x), model(x))
  end)

  it("5.3: still resizes where there is memory", function()
    local x = torch.ones(2)
    x:resize_({ 3, 2 })
    assert.equal(6, x:numel())
    local out = torch.empty(0)
    torch.add(torch.ones(3), 1, { out = out })
    assert.same({ 2, 2, 2 }, out:tolist())
  end)

  it("5.3: is called again only where its first call changed nothing", function()
    local collected = 0
    local free = binding.free_memory
    binding.free_memory = function() collected = collected + 1 end
    local ok, problem = pcall(function()
      assert.equal("memory", failure(torch.ones, { ROWS, 3 }).code)
      assert.equal(1, collected)
      local x = torch.ones(4)
      assert.equal("memory", failure(x.resize_, x, { ROWS, 3 }).code)
      assert.equal("memory", failure(torch.add, x[0]:expand({ ROWS, 3 }), 1, { out = torch.empty(0) }).code)
      assert.equal(1, collected)
      assert.equal("torch", failure(torch.add, torch.ones(2), torch.ones(3)).code)
      assert.equal(1, collected)
    end)
    binding.free_memory = free
    if not ok then error(problem, 0) end
  end)
end)

describe("a file of weights", function()
  -- An operator new that fails at its nth call, preloaded into a process of its own.
  local source = [[
#include <cstdlib>
#include <new>
static long countdown = -1;
extern "C" int fail_new_at(long n) { long left = countdown; countdown = n; return left < 0; }
void *operator new(std::size_t size) {
  if (countdown >= 0 && countdown-- == 0) throw std::bad_alloc();
  if (void *p = std::malloc(size ? size : 1)) return p;
  throw std::bad_alloc();
}
void operator delete(void *p) noexcept { std::free(p); }
void operator delete(void *p, std::size_t) noexcept { std::free(p); }
]]
  local script = [[
local ls = require "luasight"
local ffi = require "ffi"
ffi.cdef "int fail_new_at(long n);"
local path = arg[1]
ls.safetensors.save(path, { x = ls.torch.arange(6):float() })
local failed = 0
for n = 0, 1000 do
  local file = ls.safetensors.open(path)
  file:get "x"
  ffi.C.fail_new_at(n)
  local ok, x = pcall(file.get, file, "x")
  local reached = ffi.C.fail_new_at(-1) ~= 0
  if ok then assert(x:sum():item() == 15) else failed = failed + 1 end
  x = nil
  collectgarbage()
  assert(file:get("x"):sum():item() == 15) -- the file is still mapped
  file:release()
  if not reached then break end
end
print(failed)
]]

  it("5.4: is released once, whatever fails while a tensor is made on it #slow", function()
    if (os.getenv "LD_PRELOAD" or ""):find "asan" then pending "with another operator new" return end
    local folder = support.folder()
    local function write(name, text)
      local file = assert(io.open(folder .. "/" .. name, "w"))
      file:write(text)
      file:close()
    end
    write("fail_new.cc", source)
    write("script.lua", script)
    local compiler = os.getenv "CXX" or "c++"
    if select(2, support.run(compiler .. " --version")) ~= 0 then pending("there is no C++ compiler") return end
    support.output(("%s -O1 -shared -fPIC -o %s/fail_new.so %s/fail_new.cc"):format(compiler, folder, folder))
    local command = "LD_PRELOAD=%s/fail_new.so bin/luasight %s/script.lua %s/x.safetensors 2>&1"
    local printed = support.run(command:format(folder, folder, folder))
    support.remove(folder)
    assert.is_true((tonumber(printed) or 0) >= 2, printed)
  end)
end)
