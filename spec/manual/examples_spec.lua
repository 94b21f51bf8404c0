-- Every example runs to its end through the launcher; those with a picture write it, and their figures say what they should.
-- One that is new needs a line here.
local support = require "spec.support"

local root = support.root
local box = "models/pretrained/ioi/model.safetensors"

local encoder = os.getenv "LUASIGHT_SENTENCES" or "LUASIGHT_SENTENCES" -- see sentences_spec.lua

-- ---- what the figures have to say --------------------------------------------------------------------------------------

-- The numbers of the line that begins so (a pattern), in order.
local function numbers_of(text, line)
  local found = text:match("\n%s*" .. line .. "([^\n]*)") or error(("no line %q in\n%s"):format(line, text))
  local list = {}
  for number in found:gmatch "%-?%d+%.?%d*" do list[#list + 1] = tonumber(number) end
  return list
end

local function within(wanted, got, by)
  assert.is_true(math.abs(wanted - got) <= by, ("%g is not near %g"):format(got, wanted))
end

local checks = {}

-- What decides is at the second name after the first layers, and all of it at the last word after the last.
function checks.patching(text)
  local first, last = numbers_of(text, "layer 0  "), numbers_of(text, "layer 3  ")
  within(100, first[1], 10)
  within(0, first[2], 10)
  within(0, last[1], 1)
  within(100, last[2], 1)
  local clean, corrupted = text:match "John: (%-?[%d.]+) after the first prompt, (%-?[%d.]+) after the second"
  assert.is_true(tonumber(clean) > 3 and tonumber(corrupted) < -3)
end

-- The heads that `attention.lua` finds are those without which the lead shrinks most.
function checks.heads(text)
  assert.matches("20 prompts%. As it is the right name leads by [%d.]+, and in 100 %%", text)
  local mover, idle = numbers_of(text, "3%.3 ")[1], numbers_of(text, "1%.0 ")[1]
  assert.is_true(mover < -1)
  within(0, idle, 0.3)
  assert.matches("\nlayer 3 +%-[%d.]+ +%-[%d.]+ ", text) -- the picture in the terminal
end

-- The parts add up to the whole; the heads read the second name.
function checks.attention(text)
  local whole, sum = text:match "John: ([%d.]+) in the logits, ([%d.]+) as the sum"
  within(tonumber(whole), tonumber(sum), 2e-3)
  assert.equal(3, select(2, text:gsub('" John" at position 9', "")))
end

function checks.steering(text)
  assert.same({ 100, 0 }, numbers_of(text, "0 times the direction"))
  local steered, random = numbers_of(text, "1%.5 times the direction"), numbers_of(text, "a random one, as long")
  assert.is_true(steered[1] <= 10 and steered[2] >= 90)
  assert.is_true(random[1] >= 90 and random[2] <= 10)
  assert.matches("as it is: .*Russia : Russian .*steered: .*Russia : Moscow", text)
end

-- Better than chance where the model knows it and nowhere else, and never with labels in random order.
function checks.probe(text)
  local name, word = numbers_of(text, "at the second name  "), numbers_of(text, "at the last word  ")
  within(50, name[1], 12)
  assert.is_true(name[2] > 90)
  within(50, word[2], 15)
  assert.is_true(word[4] > 85)
  for _, place in ipairs { "second name", "last word" } do
    for _, share in ipairs(numbers_of(text, "at the " .. place .. ", labels shuffled")) do within(50, share, 12) end
  end
end

function checks.adapter(text)
  assert.same({ 100, 0 }, { select(2, unpack(numbers_of(text, "0    "))) })
  local last = numbers_of(text, "25  ")
  assert.is_true(last[1] < 0.5 and last[2] <= 10 and last[3] >= 85)
  assert.matches("unchanged: true", text)
end

function checks.lens_map(text)
  assert.is_true(numbers_of(text, "layer 3 +the next token is \" Mary\"")[1] > 0.9)
end

-- ---- running -----------------------------------------------------------------------------------------------------------

-- Arguments, a pattern of what is printed, the file that must be there, a check of the figures, the picture that comes.
local runs = {
  ["logit_lens.lua"] = { "--out p.svg", "Taking away the attention of layer 1 is enough to change the answer: .* says " ..
    '" give"%..*" Mary" is restored by a patch at position 9 after layers 0 to 2, and by a patch at position 13 after layer 3',
    box, nil, "p.svg" },
  ["walkthrough.lua"] = { "", 'argmax counts from 0:.*%[1, 10%].*index 10 is out of range for dimension 1 with size 10.*' ..
    "weights:%s+true.*goes on with:%s+ Mary.*%[2, 14%].*8 tokens:%s+%[1, 8%].*clean:%s+ Mary.*step by step:%s+ Mary.*" ..
    "gave a drink to Mary.*logits of%s+%[1, 14, 1950%]", box },
  ["sentences.lua"] = { encoder, "How near they are.*1%.000.*After each layer: the nearest pair %(3 and 4%).*layer 5",
    encoder .. "/model.safetensors" },
  ["train_ioi.lua"] = { "trained --steps 3", "%d" },
  ["patching.lua"] = { "--out p.png", "Restored", box, checks.patching, "p.png" },
  ["heads.lua"] = { "", "without", box, checks.heads },
  ["attention.lua"] = { "--out p.html", "head", box, checks.attention, "p.html" },
  ["steering.lua"] = { "--out p.svg", "direction", box, checks.steering, "p.svg" },
  ["probe.lua"] = { "--out p.svg", "chance", box, checks.probe, "p.svg" },
  ["adapter.lua"] = { "--out p.svg", "adapter", box, checks.adapter, "p.svg" },
  ["lens_map.lua"] = { "--out p.svg", "next token", box, checks.lens_map, "p.svg" },
}

local function exists(path)
  local file = io.open(path, "rb")
  return file and file:close()
end

local read = support.read

describe("examples", function()
  for name in support.output "ls examples":gmatch "[^\n]+" do
    if name:find "%.lua$" then
      it(("has %s, which runs"):format(name), function()
        local arguments, pattern, needs, check, picture = unpack(assert(runs[name], name
          .. " has no line in spec/manual/examples_spec.lua"), 1, 5)
        if needs and not exists(needs) then pending("there is no " .. needs) end
        local folder = support.folder()
        finally(function() support.remove(folder) end)
        local command = ("cd %s && %s/bin/luasight %s/examples/%s %s 2>&1"):format(folder, root, root, name, arguments)
        local text, status = support.run(command, 1200)
        assert.equal(0, status, text)
        assert.matches(pattern, text)
        if check then check("\n" .. text) end
        if picture then assert.is_true(#read(folder .. "/" .. picture) > 1000) end
      end)
    end
  end

  it("say what they take", function()
    local _, _, text = support.run "bin/luasight examples/patching.lua --oot x"
    assert.matches('^luasight: patching.lua has no option %-%-oot %(did you mean "%-%-out"%?%)', text)
    assert.matches("%-%-out FILE", support.output "bin/luasight examples/patching.lua --help")
    _, _, text = support.run "bin/luasight examples/sentences.lua"
    assert.matches("^luasight: sentences.lua takes 1 or more, given were 0; %-%-help says more", text)
  end)

  it("print their first lines when asked for help", function()
    for name in pairs(runs) do
      local first = read("examples/" .. name):match "^%-%- ([^\n]+)\n"
      local text = support.output(("bin/luasight examples/%s --help"):format(name))
      assert.equal(first, text:match "^[^\n]*")
      assert.is_truthy(text:find("  bin/luasight examples/" .. name, 1, true), text)
    end
  end)

  it("have a line each in their README", function()
    local text = read "examples/README.md"
    for name in pairs(runs) do assert.is_truthy(text:find("| `" .. name .. "` |", 1, true), name) end
  end)
end)
