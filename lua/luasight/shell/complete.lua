--- Completion at the cursor: globals, modules by their path (also inside indices), fields and methods of tensors and
--- tables, operators and their keywords, and files inside of strings. Completion runs no code: a value that would have to
--- be computed, or whose access would be recorded in an open trace, is only known to be a tensor.
local commands = require "luasight.shell.commands"
local members = require "luasight.shell.members"
local model = require "luasight.model"
local operators = require "luasight.tensor.operators"
local tensor = require "luasight.tensor"
local tokens = require "luasight.shell.tokens"
local torch = require "luasight.tensor.torch"

local complete = {}

local TENSOR = members.TENSOR

-- ---- the chain before the cursor ---------------------------------------------------------------------------------------

local closes = { [")"] = "(", ["]"] = "[", ["}"] = "{" }

-- Returns the index of the opening bracket that belongs to the closing bracket with index i in a list of tokens.
local function opening(list, i)
  local depth, close = 0, list[i].text
  while i >= 1 do
    local token = list[i]
    if token.kind == "sign" then
      if token.text == close then depth = depth + 1 elseif token.text == closes[close] then depth = depth - 1 end
      if depth == 0 then return i end
    end
    i = i - 1
  end
end

local function ends_value(token)
  return token and (token.kind == "name" or token.kind == "sign" and closes[token.text] ~= nil and token.text ~= "}")
end

-- Takes apart the expression that ends with token i: `a.b[0]` is the name `a` (root), the field `b` (get) and the index 0;
-- a call is a part too. Returns the list of these parts; nil for an expression with other parts, such as operators.
local function chain(list, i)
  local steps = {}
  local function before(step) table.insert(steps, 1, step) end
  while list[i] do
    local token = list[i]
    if token.kind == "name" then
      local sign = list[i - 1]
      if not (sign and (sign.text == "." or sign.text == ":") and sign.kind == "sign") then
        before { root = token.text }
        return steps
      end
      before { get = token.text }
      i = i - 2
    elseif token.kind == "string" and ends_value(list[i - 1]) then
      before { call = true }
      i = i - 1
    elseif token.kind == "sign" and closes[token.text] then
      local from = opening(list, i)
      if not from or token.text ~= "]" and not ends_value(list[from - 1]) then return nil end
      before(token.text == "]" and { index = { unpack(list, from + 1, i - 1) } } or { call = true })
      i = from - 1
    else
      return nil
    end
  end
end

local function index(v, inside)
  if members.is_unknown(v) or tensor.is_handle(v) then return TENSOR end
  local sign = inside[1] and inside[1].text == "-" and -1 or 1
  local key = inside[sign < 0 and 2 or 1]
  if not key or #inside ~= (sign < 0 and 2 or 1) then return nil end
  local name = key.kind == "string" and key.text or key.kind == "number" and sign * tonumber(key.text)
  if model.is_handle(v) and type(name) == "number" or type(v) == "table" and name then return v[name] end
end

---Returns the value of the expression that ends with token i; TENSOR for a tensor whose value is not known, nil where the
---value is not known at all.
local function follow(list, i)
  local steps = chain(list, i)
  if not steps then return nil end
  local ok, result = pcall(function()
    local v
    for _, step in ipairs(steps) do
      if step.root then
        v = _G[step.root]
      elseif step.get then
        if members.is_tracer(v) then v = rawget(v, "_network").root end
        local owner = v
        v = members.get(v, step.get)
        if rawequal(owner, torch) and type(v) == "function" then v = TENSOR end
      elseif step.index then
        v = index(v, step.index)
      elseif not members.is_unknown(v) then
        v = nil -- the call is not run, so its result is not known
      end
      if v == nil then return nil end
    end
    return v
  end)
  return ok and result or nil
end

-- ---- keywords of operators ---------------------------------------------------------------------------------------------

---Returns the names of an operator's arguments.
---@param name string
---@return string[]
function complete.keywords(name)
  local op, found, names = operators.find(name), {}, {}
  if not op then return names end
  for arguments in operators.schemas(op):gmatch "%((.-)%) %->" do
    arguments = arguments:gsub("%b[]", ""):gsub("%b()", "")
    for argument in arguments:gmatch "[^,]+" do
      local word = argument:match "^%s*%S+%s+([%w_]+)"
      if word and word ~= "self" and not found[word] then
        found[word] = true
        names[#names + 1] = word
      end
    end
  end
  return names
end

-- Returns the index of the innermost opening bracket that is not closed up to token i in a list of tokens.
local function enclosing(list, i)
  local depth = 0
  for k = i, 1, -1 do
    local token = list[k]
    if token.kind == "sign" then
      if closes[token.text] then depth = depth + 1
      elseif token.text == "(" or token.text == "[" or token.text == "{" then
        if depth == 0 then return k end
        depth = depth - 1
      end
    end
  end
end

-- Returns the names of an operator's arguments where the cursor is inside of `f{` or `f(x, {` and f is an operator, else nil.
local function keyword_candidates(list, last)
  local token = list[last]
  if not token or token.kind ~= "sign" or token.text ~= "{" and token.text ~= "," then return nil end
  local brace = enclosing(list, last)
  if not brace or list[brace].text ~= "{" then return nil end
  local callee = brace - 1
  if list[callee] and list[callee].kind == "sign" then
    local open = enclosing(list, callee)
    if not open or list[open].text ~= "(" then return nil end
    callee = open - 1
  end
  if not list[callee] or list[callee].kind ~= "name" then return nil end
  local names = complete.keywords(list[callee].text)
  for i, name in ipairs(names) do names[i] = name .. " = " end
  return #names > 0 and names or nil
end

-- ---- files -------------------------------------------------------------------------------------------------------------

local function quoted(path) return "'" .. path:gsub("'", "'\\''") .. "'" end

local function files(text)
  local folder = text:match "^(.*/)" or ""
  local shown = folder:gsub("^~/", (os.getenv "HOME" or "~") .. "/")
  local list = {}
  local ls = io.popen(("ls -1Ap -- %s 2>/dev/null"):format(quoted(shown == "" and "." or shown)))
  for name in ls:lines() do list[#list + 1] = name end
  ls:close()
  return list, text:sub(#folder + 1)
end

-- ---- candidates --------------------------------------------------------------------------------------------------------

local function globals()
  local names = members.of(_G, false, "")
  for word in ("and break do else elseif end false for function if in local nil not or repeat return then true until while")
    :gmatch "%a+" do
    names[#names + 1] = word
  end
  return names
end

---Returns all words with which the text before the cursor could be completed, and the part of such a word that the text
---has already at its end.
---@param before string
---@return string[] candidates, string partial
function complete.candidates(before)
  local word = before:match "^%s*:(%a*)$"
  if word then return commands.names(), word end
  local list = tokens.scan(before)
  local last = #list
  local token = list[last]
  if token and token.kind == "string" and token.open then return files(token.text) end
  local partial = ""
  if token and token.stop == #before and (token.kind == "name" or token.kind == "keyword" or token.kind == "number") then
    partial, last = token.text, last - 1
    token = list[last]
  end
  local sign = token and token.kind == "sign" and token.text
  if sign == "[" and (partial == "" or tonumber(partial)) then
    local v = follow(list, last - 1)
    return model.is_handle(v) and members.indices_of(v) or {}, partial
  elseif sign == "." or sign == ":" then
    return members.of(follow(list, last - 1), sign == ":", partial), partial
  elseif tonumber(partial) then
    return {}, partial
  end
  return keyword_candidates(list, last) or partial ~= "" and globals() or {}, partial
end

local function common_start(list)
  local start = list[1]
  for _, word in ipairs(list) do
    while word:sub(1, #start) ~= start do start = start:sub(1, -2) end
  end
  return start
end

local MOST = 120

---Arranges words in columns, as many as fit in `width` characters; returns the text.
---@param list string[]
---@param width integer
---@return string
function complete.columns(list, width)
  local longest, left = 0, #list - MOST
  for i = 1, math.min(MOST, #list) do longest = math.max(longest, #list[i]) end
  local across = math.max(1, math.floor(width / (longest + 2)))
  local rows = math.ceil(math.min(MOST, #list) / across)
  local lines = {}
  for row = 1, rows do
    local cells = {}
    for i = row, math.min(MOST, #list), rows do cells[#cells + 1] = list[i] .. (" "):rep(longest + 2 - #list[i]) end
    lines[row] = table.concat(cells):gsub("%s+$", "")
  end
  if left > 0 then lines[#lines + 1] = ("... and %d more"):format(left) end
  return table.concat(lines, "\n")
end

local function sorted(list, partial)
  local found, seen = {}, {}
  for _, word in ipairs(list) do
    if not seen[word] and word:sub(1, #partial) == partial then
      seen[word] = true
      found[#found + 1] = word
    end
  end
  table.sort(found, function(a, b)
    local x, y = tonumber(a:match "^%d+"), tonumber(b:match "^%d+")
    if x and y then return x < y end
    return a < b
  end)
  return found
end

---Completes the text before the cursor after a Tab: returns the text to insert behind `before`, or, where nothing can be
---inserted, "" and the list of the possible words as text.
---@param before string
---@param width integer  the columns of the terminal
---@return string insert, string? list
function complete.at(before, width)
  if before:find "^%s*$" or before:find "\n%s*$" then return "  " end
  local candidates, partial = complete.candidates(before)
  local found = sorted(candidates, partial)
  if #found == 0 then return "" end
  local insert = common_start(found):sub(#partial + 1)
  if #found == 1 or insert ~= "" then return insert end
  return "", complete.columns(found, width)
end

return complete
