--- A program as readable Lua: what the product runs, and what a failing seed prints.
local text = {}

local function number(v)
  if type(v) ~= "table" then return ("%.17g"):format(v) end
  local parts = {}
  for i, one in ipairs(v) do parts[i] = number(one) end
  return "{ " .. table.concat(parts, ", ") .. " }"
end

local operand
operand = function(o)
  if o.var then return o.var end
  if o.number then return number(o.number) end
  if o.tuple then return ("tuple(%s, %s)"):format(operand(o.tuple[1]), operand(o.tuple[2])) end
  if o.ids then return "ids" .. number(o.ids) end
  return "T" .. number(o.const)
end
text.operand = operand

local function place(path, call)
  local m = path == "" and "M" or "M." .. path:gsub("%.(%d+)", "[%1]")
  return call and call > 0 and ("%s:call(%d)"):format(m, call) or m
end

local function point(p)
  local m = place(p.path, p.call)
  if p.kind == "tap" then return ("%s.%s"):format(m, p.name) end
  if p.kind == "input" then return ("%s.input[0][%d]"):format(m, p.arg) end
  return m .. ".output" .. (p.field and "." .. p.field or p.piece and ("[%d]"):format(p.piece) or "")
end
text.point = point

local infix = { add = "+", sub = "-", mul = "*" }

local forms = {
  read = function(s) return ("%s = %s"):format(s.out, point(s.point)) end,
  calc = function(s)
    local a = operand(s.a)
    if infix[s.f] then return ("%s = %s %s %s"):format(s.out, a, infix[s.f], operand(s.b)) end
    if s.f == "slice" then return ("%s = %s[%q]"):format(s.out, a, s.spec) end
    return ("%s = %s:%s()"):format(s.out, a, s.f)
  end,
  call = function(s) return ("%s = %s(%s)"):format(s.out, place(s.path), operand(s.a)) end,
  hook = function(s) return ("%s = %s(%s, { hook = true })"):format(s.out, place(s.path), operand(s.a)) end,
  inplace = function(s) return ("%s:%s(%s)"):format(s.of, s.f, s.b and operand(s.b) or "") end,
  set = function(s) return ("%s[%q] = %s"):format(s.of, s.spec, operand(s.value)) end,
  replace = function(s) return ("%s = %s"):format(point(s.point), operand(s.value)) end,
  skip = function(s) return ("%s:skip(%s)"):format(place(s.path, s.call), operand(s.value)) end,
  apply = function(s)
    return ("%s = tracer:apply(function(t) return t %s %s end, %s)"):format(s.out, infix[s.f], operand(s.b), operand(s.a))
  end,
  cache = function(s) return ("%s = tracer:cache { modules = { %q } }"):format(s.out, s.point.path) end,
  stop = function() return "tracer:stop()" end,
  text = function(s) return ("%s = tracer.generator.output"):format(s.out) end,
  next = function() return "tracer:next()" end,
  grad = function(s) return ("%s = %s.grad"):format(s.out, s.of) end,
  setgrad = function(s) return ("%s.grad = %s"):format(s.of, operand(s.value)) end,
  backward = function(s)
    return ("torch.sum(%s * %s):backward%s"):format(s.of, operand(s.by), s.retain and " { retain_graph = true }" or "()")
  end,
  save = function(s) return ("%s:save()"):format(s.of) end,
  demand = function(s) return ("%s:sum():item()"):format(s.of) end,
}

local function body(list, indent, out)
  for _, s in ipairs(list) do
    if s.op == "iter" then
      out[#out + 1] = ("%sfor _ in tracer:iter(%d, %d) do"):format(indent, s.from, s.to)
      body(s.body, indent .. "  ", out)
      out[#out + 1] = indent .. "end"
    else
      out[#out + 1] = indent .. forms[s.op](s)
    end
  end
end

---All names that a program gives values.
local function names(list, all)
  for _, s in ipairs(list) do
    if s.out then all[#all + 1] = s.out end
    if s.body then names(s.body, all) end
  end
  return all
end

---The expressions that hand out the values, by name; a cached value is asked for by a function, which may raise an error.
local function kept(list, out)
  for _, s in ipairs(list) do
    if s.out then out[s.out] = s.op == "cache" and ("function() return %s[%q].output end"):format(s.out, s.point.path)
      or s.out end
    if s.body then kept(s.body, out) end
  end
  return out
end

-- The traces of a session: one for each input.
local function traces_of(program, out)
  out[#out + 1] = "session(function()"
  for i, invoke in ipairs(program.invokes) do
    out[#out + 1] = ("  M:trace(inputs[%d], function(tracer)"):format(i)
    body(invoke.body, "    ", out)
    out[#out + 1] = "  end)"
  end
  out[#out + 1] = "end)"
end

---A chunk: torch, tuple, session, M (the model), T (makes a tensor) come in; its values go out through `keep`, by name.
---@param program table
---@return string
function text.of(program)
  local all = names(program.edit or {}, {})
  for _, invoke in ipairs(program.invokes) do names(invoke.body, all) end
  local out = { "local torch, tuple, session, M, T, inputs, keep = ..." }
  if #all > 0 then out[#out + 1] = "local " .. table.concat(all, ", ") end
  if program.edit then
    out[#out + 1] = "M = M:edit(function()"
    body(program.edit, "  ", out)
    out[#out + 1] = "end)"
  end
  local generate = "M:generate(%%s{ max_new_tokens = %d, eos_token_id = false }, function(tracer)"
  local start = program.steps and generate:format(program.steps) or "M:trace(%sfunction(tracer)"
  if program.session then
    traces_of(program, out)
  elseif program.single then
    out[#out + 1] = start:format("inputs[1], ")
    body(program.invokes[1].body, "  ", out)
  else
    out[#out + 1] = start:format ""
    for i, invoke in ipairs(program.invokes) do
      out[#out + 1] = ("  tracer:invoke(%sfunction()"):format(invoke.input and ("inputs[%d], "):format(i) or "")
      body(invoke.body, "    ", out)
      out[#out + 1] = "  end)"
    end
  end
  if not program.session then out[#out + 1] = "end)" end
  local values = kept(program.edit or {}, {})
  for _, invoke in ipairs(program.invokes) do kept(invoke.body, values) end
  for _, name in ipairs(all) do out[#out + 1] = ("keep(%q, %s)"):format(name, values[name]) end
  return table.concat(out, "\n") .. "\n"
end

---The program with its inputs and its net, to be read.
---@param program table
---@return string
function text.whole(program)
  local out = { ("-- net %q of spec/random/nets.lua; T makes a float64 tensor"):format(program.net) }
  for i, invoke in ipairs(program.invokes) do
    if invoke.input then out[#out + 1] = ("-- inputs[%d] = %s"):format(i, operand(invoke.input)) end
  end
  return table.concat(out, "\n") .. "\n" .. text.of(program)
end

return text
