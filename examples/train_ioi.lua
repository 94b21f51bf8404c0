-- Trains the model in the box from nothing: its tokenizer, then a small GPT-2 that masters three tasks.
-- It takes about ten minutes on two cores. The model goes into the folder, ioi-model unless told.
--   bin/luasight examples/train_ioi.lua [folder] [--steps N] [--seed N] [--fresh]
-- Ctrl-C stops it; the same command goes on where it stopped, to the same result. --fresh begins anew.
local ls = require "luasight"

local here = debug.getinfo(1, "S").source:match("^@(.*)[/\\]") or "."
package.path = here .. "/?.lua;" .. package.path

local Corpus = require "data.corpus"
local Random = require "data.random"
local abilities = require "data.abilities"
local arguments = require "data.arguments"
local trainee = require "data.trainee"

local options, words = arguments.read({
  { "--steps", "how long it learns", value = "N", number = true, default = trainee.steps },
  { "--seed", "another one gives another model", value = "N", number = true, default = 1 },
  { "--fresh", "begins anew where an earlier call stopped" },
}, 1)

local folder = words[1] or "ioi-model"
local notes = folder .. "/checkpoint.safetensors"
if os.execute(("mkdir -p '%s'"):format((folder:gsub("'", "'\\''")))) ~= 0 then
  error("cannot make the folder " .. folder, 0)
end

local function exists(path)
  local file = io.open(path, "rb")
  if file then file:close() end
  return file ~= nil
end

local resumed = not options.fresh and exists(notes)
if not resumed then trainee.write_tokenizer(folder, options.seed) end
local tokenizer = ls.Tokenizer(folder)
local vocabulary = trainee.vocabulary(tokenizer)
local function encode(piece) return tokenizer:encode(piece) end

local job = resumed and trainee.resume(notes) or trainee.start(tokenizer, options)
local corpus = Corpus.new(Random.resume(job.random), encode, vocabulary)
local progress = ls.progress.new { total = job.steps, done = job.step }
print(("%s %s: %d parameters, %d tokens, %d steps"):format(resumed and "Going on with" or "Training", folder,
  job:parameter_count(), vocabulary, job.steps))

-- One step at a time. Whatever interrupts it, the notes hold the state after the last whole step.
local saved = os.time()
local ok, problem = xpcall(function()
  while job.step < job.steps do
    job:advance(corpus)
    progress:set(job.step, ("loss %.3f"):format(job.loss))
    if os.time() - saved >= 30 then
      job:save(notes)
      saved = os.time()
    end
  end
end, function(err) return err end)
if not ok then
  progress:close()
  if job.whole then job:save(notes) end -- else the last notes stand, at most half a minute old
  print(exists(notes) and "Stopped. The same command goes on from here." or "Stopped before anything was kept.")
  error(problem, 0)
end

progress:close()
job:write_model(folder)
os.remove(notes)
print(("Done in %s. The model is in %s."):format(progress:elapsed(), folder))

local predict = abilities.predictor(ls, ls.LanguageModel(folder))
for _, test in ipairs(abilities.tests(encode, vocabulary)) do
  local share = abilities.measure(test, predict)
  print(("  %-24s %5.1f %% right (%.0f %% needed)"):format(test.name, share * 100, test.needed * 100))
end
