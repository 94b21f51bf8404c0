--- A generation beside a trace of which the script asks step by step: what a stream reads, and what generate runs, where
--- edits are stored. Its trace is one of its own, whatever session or body is open around it.
local trace = require "luasight.trace"
local traces = require "luasight.ffi.traces"

local stepwise = {}

---@class luasight.StepwiseTrace: luasight.GenerationSteps
---@field private _recording luasight.Recording
local Steps = {}
Steps.__index = Steps

---Begins the generation; the model has yet to run.
---@param tracer luasight.Tracer  with the one invoke of a generation
---@param output fun(): any       in its body: the text that is wanted
---@return luasight.StepwiseTrace
function stepwise.open(tracer, output)
  local recording = tracer._recording
  trace.record_only(tracer, function() trace.save_all(recording.graph, output()) end)
  trace.run_until(recording, traces.PASS)
  return setmetatable({ run = recording.pass.generation, _recording = recording }, Steps)
end

---Runs one step. Behind the last one the trace ends.
---@return boolean  # whether there was one
function Steps:step()
  local recording = self._recording
  if not recording.graph then return false end
  trace.run_until(recording, traces.STEP)
  if self.run.over then trace.finish(recording) end
  return true
end

return stepwise
