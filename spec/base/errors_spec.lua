-- docs/errors.md has every error code: those of core/abi.h and those that the Lua files raise.
-- Its blocks, which readme_spec runs, provoke each one; Ctrl-C is provoked here.
local document = dofile "spec/manual/document.lua"
local support = require "spec.support"
local failure = require "luasight.base.error"

local page = "docs/errors.md"

local function read(path) return table.concat(document.lines(path), "\n") end

local function sorted(set)
  local list = {}
  for name in pairs(set) do list[#list + 1] = name end
  table.sort(list)
  return list
end

---The sections of the page that are about a code, in order: { code =, from =, to = }.
local function sections()
  local list = {}
  for number, line in ipairs(document.lines(page)) do
    if line:find "^## " then
      if list[#list] then list[#list].to = number - 1 end
      list[#list + 1] = { code = line:match "^## (%l+)$", from = number, to = math.huge }
    end
  end
  return list
end

describe("the page of errors", function()
  it("has a section for each code, in the order of the header", function()
    local header, order = {}, {}
    for name, number in read "core/abi.h":gmatch "LS_ERROR_(%u+) = (%d+)" do header[tonumber(number)] = name:lower() end
    for _, section in ipairs(sections()) do order[#order + 1] = section.code end
    assert.same(header, failure.codes)
    assert.same(failure.codes, order)
  end)

  it("knows every code that the Lua files raise", function()
    local known, unknown, count = {}, {}, 0
    for _, code in ipairs(failure.codes) do known[code] = true end
    for path in support.output "find lua bindings models -name '*.lua'":gmatch "[^\n]+" do
      for code in read(path):gmatch 'raise%(%s*"([^"]*)"' do
        count = count + 1
        if not known[code] then unknown[path .. ": " .. code] = true end
      end
    end
    assert.same({}, sorted(unknown))
    assert.is_true(count > 300)
  end)

  it("provokes each code in its section", function()
    local missing = {}
    for _, section in ipairs(sections()) do
      local found = section.code == nil or section.code == "interrupted"
      for _, block in ipairs(document.blocks(page)) do
        local line, code = document.raises(block)
        if line and line > section.from and line < section.to and code == section.code then found = true end
      end
      if not found then missing[#missing + 1] = section.code end
    end
    assert.same({}, missing)
  end)

  it("says what Ctrl-C during a run prints", function()
    local said
    for _, section in ipairs(sections()) do
      for _, block in ipairs(document.blocks(page)) do
        if section.code == "interrupted" and block.from > section.from and block.to < section.to then said = block.lines end
      end
    end
    local path = os.tmpname()
    local file = assert(io.open(path, "w"))
    file:write [[
      local Slow = nn.Module "Slow"
      function Slow:forward(x)
        for _ = 1, 20000 do x = torch.matmul(x, x):tanh() end
        return x
      end
      local model, x = ls.Model(Slow()), torch.randn(256, 256)
      model(torch.ones(1, 1)) -- records forward, so that what takes long is the run
      os.execute("(sleep 1; kill -INT " .. require "ffi".C.getpid() .. ") &")
      local ok, e = pcall(model, x)
      print(e.code, e.message)
    ]]
    file:close()
    local text = support.run(([[bin/luasight -e 'require "ffi".cdef "int getpid(void);" dofile "%s"' 2>&1]]):format(path))
    os.remove(path)
    assert.equal(("interrupted\t%s\n"):format(table.concat(said, "\n")), text)
  end)
end)
