--- Line editing with libedit, where it is installed. There are no callbacks: libedit gives back after each key, keys that
--- are ours (Tab, Ctrl-C, Ctrl-Z) put themselves into the line, where they are found and taken out again.
local ffi = require "ffi"
local system = require "luasight.ffi.system"

ffi.cdef [[
typedef struct editline luasight_editor;
typedef struct history luasight_history;
typedef struct { const char *buffer, *cursor, *end; } luasight_line;
typedef struct { int number; const char *text; } luasight_event;
luasight_editor *el_init(const char *, void *, void *, void *);
void el_end(luasight_editor *);
const char *el_gets(luasight_editor *, int *);
int el_set(luasight_editor *, int, ...);
const luasight_line *el_line(luasight_editor *);
void el_push(luasight_editor *, const char *);
int el_source(luasight_editor *, const char *);
luasight_history *history_init(void);
void history_end(luasight_history *);
int luasight_history_at(luasight_history *, luasight_event *, int, ...) __asm__("history");
void *luasight_dlopen(const char *, int) __asm__("dlopen");
void luasight_prompt_set(const char *);
char *luasight_prompt(void *);
]]

-- Numbers of histedit.h.
local PROMPT, EDITOR, SIGNAL, BIND, SETTY, HIST, UNBUFFERED, REFRESH = 0, 2, 3, 4, 8, 10, 15, 20
local SETSIZE, ENTER, SETUNIQUE = 1, 10, 20

-- The function that libedit asks for the prompt is in a small library that comes with luasight.
local prompter
local function prompt_library()
  prompter = prompter or ffi.load(require "luasight.ffi.library".place "prompt")
  return prompter
end

local TAB, CTRL_C, CTRL_D, CTRL_Z, DELETE = "\t", "\3", "\4", "\26", "\127"

---@class luasight.Editor
---@field private _lib table
---@field private _el ffi.cdata*
---@field private _history ffi.cdata*
local Editor = {}
Editor.__index = Editor

local editline = {}

-- The terminal's description stays in globals of a library that libedit uses: unloading them at the end would leak it.
local STAYS = 0x1001 -- RTLD_LAZY | RTLD_NODELETE

local function library()
  for _, name in ipairs { "libedit.so.2", "libedit.so.0", "libedit.so" } do
    local ok, lib = pcall(ffi.load, name)
    if ok then
      ffi.C.luasight_dlopen(name, STAYS)
      return lib
    end
  end
end

---Whether libedit is installed.
---@return boolean
function editline.is_there() return library() ~= nil end

local function number(n) return ffi.new("int", n) end

---A setting that takes words.
local function set_words(lib, el, what, ...)
  local words = { ... }
  for i, word in ipairs(words) do words[i] = ffi.cast("const char *", word) end
  words[#words + 1] = ffi.cast("void *", nil)
  lib.el_set(el, what, unpack(words))
end

local keys = {
  { "^R", "em-inc-search-prev" }, { "\\e[3~", "ed-delete-next-char" },
  { "\\e[1;5C", "em-next-word" }, { "\\e[1;5D", "ed-prev-word" },
}
-- Ctrl-R takes a key that inserts itself into what it looks for; any other ends the search and then does its work. So our
-- keys stand for a sequence that no terminal sends, whose last character is what goes into the line.
local ours = { "^I", "^C", "^Z" }
for _, key in ipairs(ours) do
  keys[#keys + 1] = { "\\e[luasight" .. key, "ed-insert" }
  keys[#keys + 1] = { "-s", key, "\\e[luasight" .. key }
end

---Ends an editor; what keys of ours stand for would stay behind.
local function close(lib, el)
  for _, key in ipairs(ours) do set_words(lib, el, BIND, "-r", key) end
  lib.el_end(el)
end

---An editor on standard input and output; nil where libedit is not installed.
---@param size integer  how many lines of history it keeps
---@return luasight.Editor?
function editline.open(size)
  local lib = library()
  if not lib then return nil end
  -- Letters beyond ASCII are letters only where the locale says so.
  local locale = os.setlocale("", "ctype")
  if not locale or not locale:lower():find "utf%-?8" then os.setlocale("C.UTF-8", "ctype") end
  local el = ffi.gc(lib.el_init("luasight", io.stdin, io.stdout, io.stderr), function(el) close(lib, el) end)
  local self = setmetatable({ _lib = lib, _el = el, _history = ffi.gc(lib.history_init(), lib.history_end),
    _event = ffi.new "luasight_event", _count = ffi.new "int[1]" }, Editor)
  lib.luasight_history_at(self._history, self._event, SETSIZE, number(size))
  lib.luasight_history_at(self._history, self._event, SETUNIQUE, number(1))
  lib.el_set(self._el, HIST, lib.luasight_history_at, self._history)
  lib.el_set(self._el, PROMPT, prompt_library().luasight_prompt)
  lib.el_set(self._el, SIGNAL, number(1))
  set_words(lib, el, EDITOR, "emacs")
  lib.el_source(self._el, nil) -- the user's ~/.editrc
  for _, key in ipairs(keys) do set_words(lib, el, BIND, unpack(key)) end
  set_words(lib, el, SETTY, "-d", "-isig") -- while a line is edited, Ctrl-C is a key
  return self
end

---Adds to the history that the arrow keys walk through.
---@param text string
function Editor:remember(text)
  self._lib.luasight_history_at(self._history, self._event, ENTER, ffi.cast("const char *", text))
end

---@return string text, string before  # the line, and what of it is before the cursor
function Editor:_text()
  local line = self._lib.el_line(self._el)
  return ffi.string(line.buffer, line["end"] - line.buffer), ffi.string(line.buffer, line.cursor - line.buffer)
end

function Editor:_edit(on) self._lib.el_set(self._el, UNBUFFERED, number(on and 1 or 0)) end

---Takes the key before the cursor out of the line, as if it had been deleted by hand, so that the screen shows it.
function Editor:_take_out()
  self._lib.el_push(self._el, DELETE)
  self._lib.el_gets(self._el, self._count)
end

---Types what `complete` gives; a list goes below the line.
function Editor:_complete(before, complete)
  local more, list = complete(before)
  if more and more ~= "" then self._lib.el_push(self._el, more) end
  if list then
    io.write("\n", list, "\n")
    io.flush()
    self._lib.el_set(self._el, REFRESH)
  end
end

---Ctrl-Z: stops the program; when it goes on, so does the line.
function Editor:_suspend()
  local text = self:_text()
  self:_edit(false)
  io.write "\n"
  io.flush()
  system.suspend()
  self:_edit(true)
  if text ~= "" then self._lib.el_push(self._el, text) end
end

---Reads one line.
---@param prompt string
---@param complete fun(before: string): string?, string?  what to insert after the text before the cursor, what to list
---@return "line"|"clear"|"end" how, string? text
function Editor:read(prompt, complete)
  prompt_library().luasight_prompt_set(prompt)
  io.flush()
  self:_edit(true)
  local how, result
  repeat
    if self._lib.el_gets(self._el, self._count) == nil then -- the line has become empty, or there is no terminal any more
      how = system.has_hung_up(0) and "end" or nil
    else
      local text, before = self:_text()
      local key = before:sub(-1)
      if text:sub(-1) == "\n" then
        how, result = "line", text:sub(1, -2)
      elseif text == CTRL_D then
        how = "end"
      elseif key == CTRL_C then
        how = "clear"
      elseif key == TAB or key == CTRL_Z then
        self:_take_out()
        if key == TAB then self:_complete(before:sub(1, -2), complete) else self:_suspend() end
      end
    end
  until how
  self:_edit(false)
  if how ~= "line" then io.write "\n" end
  return how, result
end

return editline
