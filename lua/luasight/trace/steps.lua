--- The current step of a generation, to which the points in a body belong. A step is one forward pass: step 0 reads the
--- prompt, step k reads the k-th new token.
local binding = require "luasight.ffi"
local trace = require "luasight.trace"
local values = require "luasight.tensor.values"
local check_list = require "luasight.base.list".check

local steps = {}

local function check_step(tracer, step)
  tracer._named_step = true
  local most = tracer._steps or 1
  if type(step) ~= "number" or step % 1 ~= 0 then
    binding.raise("argument", ("a step of a generation is a whole number, not %s"):format(tostring(step)))
  end
  if step < 0 or step >= most then
    binding.raise("index", tracer._steps and ("there is no step %d: max_new_tokens allows 0 to %d"):format(step, most - 1) or
      ("there is no step %d: a trace has one step"):format(step),
      { hint = not tracer._steps and "model:generate(prompt, { max_new_tokens = n }, body) has n steps" or nil })
  end
  return step
end

---Sets the current step of a generation.
---@param tracer luasight.Tracer
---@param step integer
function steps.set(tracer, step)
  tracer._step, tracer._moved = check_step(tracer, step), nil
end

---Moves the current step of a generation on by one, or by `n`.
---@param tracer luasight.Tracer
---@param n integer?
function steps.next(tracer, n)
  tracer._step, tracer._moved = check_step(tracer, tracer._step + (n or 1)), nil
end

---Returns whether the text of the current invoke has ended before a step. This is known where a line of the step before has
---made the model run; the model then goes on to the step.
local function has_ended(tracer, step)
  local input = tracer._recording.invokes[tracer._invoke]
  if not tracer._steps or not input or not input.steps or input.steps > step then return false end
  if input.steps < step then return true end
  local at_input = trace.read(tracer, step, 0)
  values.hooks.demand(at_input)
  return input.steps <= step
end

---Iterates over a list of steps, each of which becomes the current step; restores the earlier step at the end.
local function over(tracer, list)
  local before, moved, i = tracer._step, tracer._moved, 0
  return function()
    i = i + 1
    local step = list[i]
    if step and not (i > 1 and has_ended(tracer, step)) then
      tracer._step, tracer._moved = step, nil
      return step
    end
    tracer._step, tracer._moved = before, moved
  end
end

---Iterates over the steps that tracer:iter(from, to), tracer:iter(from) or tracer:iter{ a, b, c } names.
---@param tracer luasight.Tracer
---@param from integer|integer[]
---@param to integer?  the first step that is left out; by default all steps from `from` on are included
---@return fun(): integer?
function steps.iter(tracer, from, to)
  local list = {}
  if type(from) == "table" then
    if to ~= nil then binding.raise("argument", "tracer:iter takes a range or a list of steps, not both") end
    for i = 1, check_list("tracer:iter", from) do list[i] = check_step(tracer, from[i]) end
    return over(tracer, list)
  end
  check_step(tracer, from or 0)
  if to ~= nil then
    if type(to) ~= "number" or to % 1 ~= 0 then
      binding.raise("argument", ("a step of a generation is a whole number, not %s"):format(tostring(to)))
    end
    if to > from then check_step(tracer, to - 1) end
  end
  if not to and tracer._recording.stored then
    binding.raise("argument", "a stored edit acts at every step already, so inside it tracer:iter needs an end")
  end
  for step = from or 0, (to or tracer._steps or 1) - 1 do list[#list + 1] = step end
  return over(tracer, list)
end

return steps
