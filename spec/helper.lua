-- Loads luasight once for all specs, and sees to it that every test gives back the handles it made.
local busted = require "busted"
local ls = require "luasight"

-- What is loaded at its first use may hold tensors for good: load it now.
for _, name in ipairs { "nn", "optim", "plot", "safetensors", "Tokenizer", "LanguageModel" } do
  local _ = ls[name]
end

local function settled()
  collectgarbage()
  collectgarbage()
  return ls.live()
end

local test, before

busted.subscribe({ "test", "start" }, function(element)
  test, before = element, settled()
end)

-- A test that failed may leave something in its error; of one that passed nothing may stay.
busted.subscribe({ "test", "end" }, function(element, parent, status)
  if element ~= test or status ~= "success" then return end
  local left = settled() - before
  if left > 0 then
    jit.flush() -- compiled code may hold on to the objects that it was compiled for
    left = settled() - before
  end
  if left > 0 then
    busted.publish({ "error", "it" }, element, parent, ("handles: %d more are alive than before the test"):format(left), {})
  end
end)
