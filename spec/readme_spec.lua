-- The Lua code blocks of the README and its like run, and print what their `-->` comments say.
--
-- In a block marked `lua`, each `--> text` is one printed line, in order; one that ends in `...` gives only how the line
-- begins. A block runs alone, in the project's folder.
local documents = { "README.md", "docs/standard-names.md", "docs/adding-a-family.md" }

local function blocks_of(path)
  local file = io.open(path, "rb")
  if not file then return {} end
  local blocks, block, number = {}, nil, 0
  for line in file:lines() do
    number = number + 1
    if block and line:find "^```" then
      block.text = table.concat(block, "\n")
      blocks[#blocks + 1], block = block, nil
    elseif block then
      block[#block + 1] = line
    elseif line:find "^```lua%s*$" then
      block = { line = number }
    end
  end
  file:close()
  return blocks
end

local function expected_of(block)
  local lines = {}
  for _, line in ipairs(block) do
    local text = line:match "%-%->%s?(.-)%s*$"
    if text then lines[#lines + 1] = text end
  end
  return lines
end

-- Runs a block and gives the lines it printed.
local function run(path, block)
  local printed = {}
  local environment = setmetatable({
    print = function(...)
      local parts = {}
      for i = 1, select("#", ...) do parts[i] = tostring((select(i, ...))) end
      printed[#printed + 1] = table.concat(parts, "\t")
    end,
  }, { __index = _G })
  -- Errors name the line of the document.
  local chunk = assert(loadstring(("\n"):rep(block.line) .. block.text, "@" .. path))
  setfenv(chunk, environment)()
  local lines = {}
  for _, text in ipairs(printed) do
    for line in (text .. "\n"):gmatch "(.-)[ \t]*\n" do lines[#lines + 1] = line end
  end
  return lines
end

local function exists(path)
  local file = io.open(path, "rb")
  return file and file:close()
end

for _, path in ipairs(documents) do
  describe(path, function()
    for _, block in ipairs(blocks_of(path)) do
      it(("has a block at line %d that does what it says"):format(block.line), function()
        for folder in block.text:gmatch "models/pretrained/%w+" do
          if not exists(folder .. "/model.safetensors") then pending(folder .. " has no weights") end
        end
        local expected, lines = expected_of(block), run(path, block)
        for i, line in ipairs(lines) do
          local start = expected[i] and expected[i]:match "^(.*)%.%.%.$"
          if start and line:sub(1, #start) == start then lines[i] = expected[i] end
        end
        assert.same(expected, lines)
      end)
    end
  end)
end
