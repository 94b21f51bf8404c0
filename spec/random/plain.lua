--- The plain executor: runs a program by the rules of ../shared/design/semantics.md, by re-execution.
---
--- Each invoke runs the net alone with its own rows; the invokes of a pass go from point to point side by side. At a point all
--- lines that can run do, in the order written, until none can. An edit that is not done when its point is left has a value
--- that comes too late. Gradients go backward over the tape of `tape.lua`.
local rules = require "rules"
local tape = require "tape"
require "plain_record"
require "plain_lines"
require "plain_gradient"
require "plain_run"

local Trace, acts, fail = rules.Trace, rules.acts, rules.fail

local plain = { points = rules.points }

local function renamed(list, index)
  local rename = {}
  for _, s in ipairs(list) do
    if s.out then rename[s.out] = ("%s@%s"):format(s.out, index) end
  end
  return rename
end

function Trace:body(list, invoke)
  for _, s in ipairs(list) do
    if s.op == "iter" then
      local before = invoke.step
      for step = s.from, s.to - 1 do
        invoke.step = step
        self:body(s.body, invoke)
      end
      invoke.step = before
    elseif s.op == "next" then
      invoke.step = (invoke.step or 0) + 1
    else
      self:record(s, invoke)
      if s.op == "demand" then self:run(self.vars[s.of]) end
    end
  end
end

local function finish(self)
  self:run(nil)
  for _, s in ipairs(self.lines) do
    if s.needed and not s.done and not s.never and (acts[s.op] or s.saved) then
      fail("cycle", "line " .. s.line .. " never came")
    end
  end
end

---Runs a program.
---@param program table
---@param net table  of nets.lua
---@return { refused: string?, why: string?, values: table<string, any>, facts: table<string, boolean> }
function plain.run(program, net)
  local self = setmetatable({ program = program, net = net, points = rules.points(net), lines = {}, vars = {}, invokes = {},
    waiting = {}, hooks = {}, facts = {}, replaced = {}, names = {}, changes = {} }, Trace)
  local ok, problem = xpcall(function()
    for i, given in ipairs(program.invokes) do
      local invoke = { index = i, input = given.input, rows = given.rows, skips = {}, pass = 0 }
      if self.began and given.input then invoke.pass = self.began + 1 end
      if program.session and i > 1 then invoke.pass = math.max(invoke.pass, self.invokes[i - 1].pass + 1) end
      invoke.least = invoke.pass
      self.invokes[i] = invoke
      if given.input and program.edit then
        for step = 0, (program.steps or 1) - 1 do
          invoke.step = step
          local rename = renamed(program.edit, i .. "/" .. step)
          for _, s in ipairs(program.edit) do self:record(s, invoke, rename) end
        end
        invoke.step = 0
      end
      self:body(given.body, invoke)
    end
    finish(self)
  end, function(problem)
    return type(problem) == "table" and problem.refused and problem or debug.traceback(tostring(problem))
  end)
  if not ok then
    -- What libtorch refuses here because of sizes, the product has to refuse too.
    if type(problem) == "string" and (problem:find "[Ss]izes? of" or problem:find "shape") then
      problem = { refused = "torch", why = problem:match "^[^\n]+" }
    end
    if type(problem) ~= "table" or not problem.refused then error(problem, 0) end
    return { refused = problem.refused, why = problem.why, values = {}, facts = self.facts }
  end
  local values = {}
  for name, now in pairs(self.names) do
    local s = self.vars[now]
    if s.saved and not name:find "@" then values[name] = s.done and tape.now(s.value).value or "unset" end
  end
  return { values = values, facts = self.facts }
end

return plain
