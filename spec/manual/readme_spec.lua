-- The Lua code blocks of the README and of the manual run, print what their `-->` comments say, and raise what their `--!`
-- comments say; document.lua has the rules.
local document = dofile "spec/manual/document.lua"
local support = require "spec.support"
local failure = require "luasight.base.error"

local function pages()
  local list = { "README.md" }
  for path in support.output "find docs -name '*.md' | LC_ALL=C sort":gmatch "[^\n]+" do list[#list + 1] = path end
  return list
end

local function exists(path)
  local file = io.open(path, "rb")
  return file and file:close()
end

local function check_printed(path, block, printed)
  local expected = document.expected(block)
  for i, line in ipairs(printed) do printed[i] = document.as_expected(expected[i], line) end
  assert.same(expected, printed, ("%s:%d"):format(path, block.from))
end

local function check_problem(path, block, problem)
  local line, code = document.raises(block)
  if not line then return end
  local where = ("%s:%d"):format(path, line)
  assert.is_true(failure.is(problem), where .. ": raises no error of luasight: " .. tostring(problem))
  assert.same({ code, where }, { problem.code, ("%s:%s"):format(problem.file, problem.line) }, tostring(problem))
  local said, real = block.said, tostring(problem):sub(#where + 3)
  assert.is_table(said, where .. ": no text block says what the error prints")
  local lines = {}
  for text in (real .. "\n"):gmatch "(.-)\n" do lines[#lines + 1] = document.as_expected(said[#lines + 1], text) end
  assert.same(said, lines, where)
end

for _, path in ipairs(pages()) do
  describe(path, function()
    for _, script in ipairs(document.scripts(path)) do
      it(("has a script at line %d that does what it says"):format(script[1].from), function()
        for folder in document.text(script):gmatch "models/pretrained/%w+" do
          if not exists(folder .. "/model.safetensors") then pending(folder .. " has no weights") end
        end
        local ran = document.run(path, script)
        for i, block in ipairs(script) do
          check_printed(path, block, ran[i].printed)
          check_problem(path, block, ran[i].problem)
        end
      end)
    end
  end)
end
