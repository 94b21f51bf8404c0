--- Runs a generation beside a trace step by step: for model:stream, and for model:generate without a body, where the model
--- has stored edits. The trace is independent of all sessions and bodies that are open at the same time.
local trace = require "luasight.trace"
local traces = require "luasight.ffi.traces"

local stepwise = {}

---@class luasight.StepwiseTrace: luasight.GenerationSteps
---@field private _recording luasight.Recording
local Steps = {}
Steps.__index = Steps

---Begins a generation beside a trace; no step runs yet.
---@param tracer luasight.Tracer  a tracer with one invoke, which generates
---@param output fun(): any       the body of that invoke; returns a proxy of the generated ids
---@return luasight.StepwiseTrace
function stepwise.open(tracer, output)
  local recording = tracer._recording
  trace.record_only(tracer, function() trace.save_all(recording.graph, output()) end)
  trace.run_until(recording, traces.PASS)
  return setmetatable({ run = recording.pass.generation, _recording = recording }, Steps)
end

---Runs one step of the generation. The trace ends after the last step.
---@return boolean  # false where there is no step left
function Steps:step()
  local recording = self._recording
  if not recording.graph then return false end
  trace.run_until(recording, traces.STEP)
  if self.run.over then trace.finish(recording) end
  return true
end

return stepwise
