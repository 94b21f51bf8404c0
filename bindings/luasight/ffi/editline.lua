--- Reads and edits the lines that a user types in a terminal, with libedit where it is installed. libedit calls no Lua
--- function: it returns after each key, and the keys that luasight handles itself (Tab, Ctrl-C, Ctrl-Z) are inserted into
--- the line as characters, which luasight then removes from it.
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

-- The values of these constants are those of libedit's histedit.h.
local PROMPT, EDITOR, SIGNAL, BIND, SETTY, HIST, UNBUFFERED, REFRESH = 0, 2, 3, 4, 8, 10, 15, 20
local SETSIZE, ENTER, SETUNIQUE = 1, 10, 20

-- libedit asks a C function for the prompt; the function is in a small library that is built with luasight.
local prompter
local function prompt_library()
  prompter = prompter or ffi.load(require "luasight.ffi.library".place "prompt")
  return prompter
end

local TAB, CTRL_C, CTRL_D, CTRL_Z, DELETE = "\t", "\3", "\4", "\26", "\127"

---@class luasight.Editor  reads lines that a user edits in a terminal
---@field private _lib table            the loaded library of libedit
---@field private _el ffi.cdata*        libedit's handle of the editor
---@field private _history ffi.cdata*   libedit's list of earlier lines
local Editor = {}
Editor.__index = Editor

local editline = {}

-- libedit's terminal library keeps the terminal's description in global variables: unloading it at exit would leak that
-- memory.
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

---Sets an option of libedit whose value is a list of words.
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
-- The keys that luasight handles itself. libedit tells luasight of such a key by inserting the key's character into the line.
-- The binding has two stages: the key stands for a sequence that no terminal sends, and this sequence is bound to "insert a
-- character". A key bound directly would, in a search of the history (Ctrl-R), become a part of the text searched for.
local ours = { "^I", "^C", "^Z" }
for _, key in ipairs(ours) do
  keys[#keys + 1] = { "\\e[luasight" .. key, "ed-insert" }
  keys[#keys + 1] = { "-s", key, "\\e[luasight" .. key }
end

---Closes an editor; libedit would leak the key bindings of luasight if they were not removed first.
local function close(lib, el)
  for _, key in ipairs(ours) do set_words(lib, el, BIND, "-r", key) end
  lib.el_end(el)
end

---Opens an editor on standard input and output; returns nil where libedit is not installed.
---@param size integer  the largest number of lines in the editor's history
---@return luasight.Editor?
function editline.open(size)
  local lib = library()
  if not lib then return nil end
  -- libedit accepts letters beyond ASCII only in a locale whose encoding is UTF-8.
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
  lib.el_source(self._el, nil) -- reads the user's ~/.editrc
  for _, key in ipairs(keys) do set_words(lib, el, BIND, unpack(key)) end
  set_words(lib, el, SETTY, "-d", "-isig") -- while a line is edited, Ctrl-C is read as a key and sends no signal
  return self
end

---Adds a line to the history through which the arrow keys move.
---@param text string
function Editor:remember(text)
  self._lib.luasight_history_at(self._history, self._event, ENTER, ffi.cast("const char *", text))
end

---Returns the line that is being edited.
---@return string text, string before  # the whole line, and the part of it before the cursor
function Editor:_text()
  local line = self._lib.el_line(self._el)
  return ffi.string(line.buffer, line["end"] - line.buffer), ffi.string(line.buffer, line.cursor - line.buffer)
end

function Editor:_edit(on) self._lib.el_set(self._el, UNBUFFERED, number(on and 1 or 0)) end

---Removes the character before the cursor, which a key that luasight handles itself has inserted into the line. libedit's
---delete key is sent to remove the character, so that libedit redraws the screen.
function Editor:_take_out()
  self._lib.el_push(self._el, DELETE)
  self._lib.el_gets(self._el, self._count)
end

---Inserts the completion that the function `complete` returns for the text before the cursor; where the function returns a
---list of candidates too, the list is printed below the line.
function Editor:_complete(before, complete)
  local more, list = complete(before)
  if more and more ~= "" then self._lib.el_push(self._el, more) end
  if list then
    io.write("\n", list, "\n")
    io.flush()
    self._lib.el_set(self._el, REFRESH)
  end
end

---Handles Ctrl-Z: suspends the process, and continues with the same line when the process is resumed.
function Editor:_suspend()
  local text = self:_text()
  self:_edit(false)
  io.write "\n"
  io.flush()
  system.suspend()
  self:_edit(true)
  if text ~= "" then self._lib.el_push(self._el, text) end
end

---Reads one line from the terminal.
---@param prompt string
---@param complete fun(before: string): string?, string?  returns the text to insert behind the cursor, and a list to print
---@return "line"|"clear"|"end" how, string? text  # clear: the user pressed Ctrl-C; end: Ctrl-D, or the terminal is closed
function Editor:read(prompt, complete)
  prompt_library().luasight_prompt_set(prompt)
  io.flush()
  self:_edit(true)
  local how, result
  repeat
    if self._lib.el_gets(self._el, self._count) == nil then -- nil: the user cleared the line, or the terminal is closed
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
