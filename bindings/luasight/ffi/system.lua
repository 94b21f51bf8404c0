--- Calls of the operating system: terminals, time, folders, locks, and the handler of Ctrl-C.
local ffi = require "ffi"

-- These C functions are declared under names that begin with luasight_, because a script may declare the functions under their
-- own names with other structures.
ffi.cdef [[
typedef struct { unsigned short rows, columns, x, y; } luasight_window;
typedef struct { long seconds, nanoseconds; } luasight_time;
typedef struct { int number; short wanted, found; } luasight_poll;
typedef void (*luasight_handler)(int);
int luasight_isatty(int) __asm__("isatty");
int luasight_ioctl(int, unsigned long, ...) __asm__("ioctl");
int luasight_clock_gettime(int, luasight_time *) __asm__("clock_gettime");
int luasight_mkdir(const char *, unsigned int) __asm__("mkdir");
unsigned int luasight_umask(unsigned int) __asm__("umask");
int luasight_getpid(void) __asm__("getpid");
int luasight_kill(int, int) __asm__("kill");
int luasight_poll_files(luasight_poll *, unsigned long, int) __asm__("poll");
luasight_handler luasight_signal(int, luasight_handler) __asm__("signal");
int luasight_open(const char *, int, ...) __asm__("open");
int luasight_close(int) __asm__("close");
int luasight_flock(int, int) __asm__("flock");
int luasight_symlink(const char *, const char *) __asm__("symlink");
char *luasight_strerror(int) __asm__("strerror");
]]

local system = {}

local WINDOW_SIZE, MONOTONIC, INTERRUPT, STOP = 0x5413, 1, 2, 20

---Whether standard input (0), output (1) or error (2) is a terminal.
---@param number integer
---@return boolean
function system.is_terminal(number) return ffi.C.luasight_isatty(number) ~= 0 end

local window = ffi.new "luasight_window"

---Returns the width in columns of the terminal behind a file descriptor, 80 where it is not a terminal.
---@param number integer
---@return integer
function system.columns(number)
  if ffi.C.luasight_ioctl(number, WINDOW_SIZE, window) ~= 0 or window.columns == 0 then return 80 end
  return window.columns
end

local polled = ffi.new "luasight_poll"

---Returns whether the terminal behind a file descriptor has been closed.
---@param number integer
---@return boolean
function system.has_hung_up(number)
  polled.number, polled.wanted, polled.found = number, 0, 0
  ffi.C.luasight_poll_files(polled, 1, 0)
  return polled.found ~= 0 -- `poll` reports hang-ups and errors also if it is asked for no event
end

local time = ffi.new "luasight_time"

---Returns the seconds since an unspecified moment in the past; the clock never goes back.
---@return number
function system.now()
  ffi.C.luasight_clock_gettime(MONOTONIC, time)
  return tonumber(time.seconds) + tonumber(time.nanoseconds) * 1e-9
end

---Makes a folder and its parents; unless `mode` says otherwise, only the user may read them.
---@param path string
---@param mode string?  the permissions in octal ("700")
function system.make_folder(path, mode)
  local number = tonumber(mode or "700", 8)
  for at in path:gmatch "()/" do
    if at > 1 then ffi.C.luasight_mkdir(path:sub(1, at - 1), number) end
  end
  ffi.C.luasight_mkdir(path, number)
end

---Returns why the last call of the operating system failed.
---@return string
function system.last_problem() return ffi.string(ffi.C.luasight_strerror(ffi.errno())) end

local CREATE, READ_WRITE, CLOSE_ON_EXEC, EXCLUSIVE, NOT_NOW = 0x40, 2, 0x80000, 2, 4

---Locks a file with flock, as other programs do. The lock is held until `unlock` or the end of the process.
---@param path string  the file, which is made where it does not exist
---@return integer|false|nil lock, string? problem  # false: another process holds the lock; nil: the file cannot be opened
function system.lock(path)
  local number = ffi.C.luasight_open(path, READ_WRITE + CREATE + CLOSE_ON_EXEC, ffi.cast("int", tonumber("664", 8)))
  if number < 0 then return nil, system.last_problem() end
  if ffi.C.luasight_flock(number, EXCLUSIVE + NOT_NOW) == 0 then return number end
  ffi.C.luasight_close(number)
  return false
end

---@param lock integer
function system.unlock(lock) ffi.C.luasight_close(lock) end

---Returns the name under which a new file is written before it is renamed to `path`; no other process uses this name.
---@param path string
---@return string
function system.beside(path) return ("%s.%d.new"):format(path, ffi.C.luasight_getpid()) end

---Makes a symbolic link at `path`, which replaces whatever file is there.
---@param target string
---@param path string
---@return boolean made
function system.link(target, path)
  local beside = system.beside(path)
  os.remove(beside)
  return ffi.C.luasight_symlink(target, beside) == 0 and os.rename(beside, path) == true
end

---Waits for some seconds.
---@param seconds number
function system.sleep(seconds) ffi.C.luasight_poll_files(polled, 0, math.ceil(seconds * 1000)) end

---Opens a file as io.open does; if the file is new, only the user may read it.
---@param path string
---@param mode string
---@return file*? file, string? problem
function system.open_private(path, mode)
  local before = ffi.C.luasight_umask(tonumber("077", 8))
  local file, problem = io.open(path, mode)
  ffi.C.luasight_umask(before)
  return file, problem
end

---Returns a function that restores the present handler of Ctrl-C: LuaJIT's own handler removes itself after one interrupt.
---@return fun()
function system.keep_interrupt()
  local ignore = ffi.cast("luasight_handler", 1)
  local handler = ffi.C.luasight_signal(INTERRUPT, ignore)
  local function set() ffi.C.luasight_signal(INTERRUPT, handler) end
  set()
  return set
end

---Suspends this process and its process group, as Ctrl-Z does; returns when the process is resumed.
function system.suspend() ffi.C.luasight_kill(0, STOP) end

return system
