--- Runs several HTTP transfers at once with libcurl. libcurl calls no Lua function: it writes the bodies and headers that it
--- receives into C files (FILE *), some of which are in memory. libcurl is loaded when it is first used, so that a script
--- that downloads nothing needs no libcurl.
local ffi = require "ffi"
local system = require "luasight.ffi.system"

ffi.cdef [[
typedef struct luasight_file luasight_file;
typedef struct { int what; void *easy; union { void *pointer; int code; } data; } luasight_curl_message;
luasight_file *luasight_fopen(const char *, const char *) __asm__("fopen");
luasight_file *luasight_open_memstream(char **, size_t *) __asm__("open_memstream");
int luasight_fclose(luasight_file *) __asm__("fclose");
int luasight_fflush(luasight_file *) __asm__("fflush");
size_t luasight_fwrite(const void *, size_t, size_t, luasight_file *) __asm__("fwrite");
int luasight_fileno(luasight_file *) __asm__("fileno");
int luasight_fsync(int) __asm__("fsync");
int luasight_ftruncate(int, long) __asm__("ftruncate");
void luasight_free(void *) __asm__("free");
void *curl_easy_init(void);
int curl_easy_setopt(void *, int, ...);
int curl_easy_getinfo(void *, int, ...);
void curl_easy_cleanup(void *);
const char *curl_easy_strerror(int);
void *curl_slist_append(void *, const char *);
void curl_slist_free_all(void *);
void *curl_multi_init(void);
int curl_multi_add_handle(void *, void *);
int curl_multi_remove_handle(void *, void *);
int curl_multi_perform(void *, int *);
int curl_multi_wait(void *, void *, unsigned int, int, int *);
luasight_curl_message *curl_multi_info_read(void *, int *);
int curl_multi_cleanup(void *);
]]

-- The values of these options and codes are those of libcurl's curl.h.
local WRITEDATA, URL, USERAGENT, HTTPHEADER, HEADERDATA, ERRORBUFFER = 10001, 10002, 10018, 10023, 10029, 10010
local LOW_SPEED_LIMIT, LOW_SPEED_TIME, NOBODY, FAILONERROR, FOLLOWLOCATION, MAXREDIRS = 19, 20, 44, 45, 52, 68
local CONNECTTIMEOUT, NOSIGNAL, PROTOCOLS, REDIR_PROTOCOLS = 78, 99, 181, 182
local RESUME_FROM, MAXFILESIZE = 30116, 30117
local RESPONSE_CODE, SIZE_DOWNLOAD = 0x200002, 0x600008
local HTTP, HTTPS, DONE = 1, 2, 1

local curl = {
  CANNOT_RESUME = 33, CANNOT_WRITE = 23, TOO_LARGE = 63, -- result codes of libcurl
  TIMED_OUT = 28,
}

local library

---Returns the loaded library of libcurl, or nil where libcurl is not installed.
local function load()
  if library == nil then
    library = false
    for _, name in ipairs { "libcurl.so.4", "libcurl-gnutls.so.4", "libcurl-nss.so.4" } do
      local ok, lib = pcall(ffi.load, name)
      if ok then
        library = lib
        break
      end
    end
  end
  return library or nil
end

---Whether libcurl is installed.
---@return boolean
function curl.is_there() return load() ~= nil end

-- ---- one transfer ----------------------------------------------------------------------------------------------------

---@class luasight.Transfer  one HTTP transfer: what is asked for, and the result
---@field url string
---@field headers string[]?  "Name: value"
---@field head boolean?      true: asks for the headers alone and follows no redirection
---@field path string?       the file to which the body is appended; without it the body is returned as a text
---@field from integer?      the number of bytes that the file already has: only the rest of the body is asked for
---@field most integer?      the largest number of bytes that the body may have
---@field connect number     seconds after which an attempt to connect is given up
---@field stalled number     seconds without a received byte after which the transfer ends
---
---  the following fields are set when the transfer has ended:
---@field status integer     the HTTP status, 0 where the server did not answer
---@field answer table<string, string>  the headers of the last answer; the names are in lower case
---@field body string?       the received body, where `path` is nil
---@field code integer       the result code of libcurl, 0 on success
---@field problem string?    the error message of libcurl or of the operating system
---@field private _easy ffi.cdata*?  libcurl's handle of the transfer

local function number(n) return ffi.cast("long", n) end
local function large(n) return ffi.cast("int64_t", n) end

---Opens a file in memory. Returns the file, and a function that closes the file and returns the text written to it.
local function memory()
  local text, size = ffi.new "char *[1]", ffi.new "size_t[1]"
  local file = ffi.C.luasight_open_memstream(text, size)
  return file, function()
    ffi.C.luasight_fclose(file)
    local all = ffi.string(text[0], size[0])
    ffi.C.luasight_free(text[0])
    return all
  end
end

---Returns why the operating system refused to let libcurl write to `file`, or nil where it refuses no longer. To learn the
---reason, writes to the file once more, and then cuts the file back to its former size.
local function why_not(file, path)
  local block, reason = ffi.new "char[65536]", nil
  local there = io.open(path, "rb")
  local size = there and there:seek "end" or 0
  if there then there:close() end
  if ffi.C.luasight_fwrite(block, 1, 65536, file) < 65536 or ffi.C.luasight_fflush(file) ~= 0 then
    reason = system.last_problem()
  end
  ffi.C.luasight_ftruncate(ffi.C.luasight_fileno(file), size)
  return reason
end

local function prepare(lib, t)
  local easy = lib.curl_easy_init()
  local function set(option, value) lib.curl_easy_setopt(easy, option, value) end
  t._easy, t._error = easy, ffi.new "char[256]"
  t._answer, t._read_answer = memory()
  if t.path then
    t._file = ffi.C.luasight_fopen(t.path, "ab")
    if t._file == nil then t._no_file = system.last_problem() end
  end
  if not t.path or t._file == nil then t._file, t._read_body = memory() end
  for _, header in ipairs(t.headers or {}) do t._headers = lib.curl_slist_append(t._headers, header) end
  set(URL, ffi.cast("const char *", t.url))
  set(ERRORBUFFER, t._error)
  set(USERAGENT, ffi.cast("const char *", "luasight"))
  set(WRITEDATA, t._file)
  set(HEADERDATA, t._answer)
  set(NOSIGNAL, number(1))
  set(PROTOCOLS, number(HTTP + HTTPS))
  set(REDIR_PROTOCOLS, number(t.url:find "^https:" and HTTPS or HTTP + HTTPS))
  set(CONNECTTIMEOUT, number(t.connect))
  set(LOW_SPEED_LIMIT, number(1))
  set(LOW_SPEED_TIME, number(t.stalled))
  if t._headers then set(HTTPHEADER, t._headers) end
  if t.head then set(NOBODY, number(1))
  else
    set(FOLLOWLOCATION, number(1))
    set(MAXREDIRS, number(5))
  end
  if t.path then set(FAILONERROR, number(1)) end
  if t.most then set(MAXFILESIZE, large(t.most)) end
  if t.from and t.from > 0 then set(RESUME_FROM, large(t.from)) end
end

---Returns by name the headers of the last HTTP answer in `text`, which has several answers after a redirection.
local function headers_of(text)
  local headers = {}
  for line in text:gmatch "[^\r\n]+" do
    local name, value = line:match "^([^:%s]+):%s*(.-)%s*$"
    if line:find "^HTTP/" then headers = {} elseif name then headers[name:lower()] = value end
  end
  return headers
end

---Fills in the results of a transfer that has ended, and closes its files and its libcurl handle.
local function finish(lib, t, code)
  local status, bytes = ffi.new "long[1]", ffi.new "int64_t[1]"
  lib.curl_easy_getinfo(t._easy, RESPONSE_CODE, status)
  lib.curl_easy_getinfo(t._easy, SIZE_DOWNLOAD, bytes)
  t.status, t.code = tonumber(status[0]), code
  if code ~= 0 then
    local said = ffi.string(t._error)
    t.problem = said ~= "" and said or ffi.string(lib.curl_easy_strerror(code))
  end
  if not t._read_body then
    if code == curl.CANNOT_WRITE then t.problem = why_not(t._file, t.path) or t.problem end
    if code == 0 then
      ffi.C.luasight_fflush(t._file)
      ffi.C.luasight_fsync(ffi.C.luasight_fileno(t._file))
    end
    if ffi.C.luasight_fclose(t._file) ~= 0 and code ~= curl.CANNOT_WRITE then
      t.code, t.problem = curl.CANNOT_WRITE, system.last_problem()
    end
  else
    t.body = t._read_body()
    if t._no_file then t.code, t.problem = curl.CANNOT_WRITE, t._no_file end
  end
  t.answer = headers_of(t._read_answer())
  lib.curl_easy_cleanup(t._easy)
  if t._headers then lib.curl_slist_free_all(t._headers) end
  t._easy, t._file, t._answer, t._headers, t._read_body, t._read_answer = nil, nil, nil, nil, nil, nil
end

-- ---- several at once -------------------------------------------------------------------------------------------------

---@class luasight.Transfers  HTTP transfers that run at the same time
---@field private _lib table                    the loaded library of libcurl
---@field private _multi ffi.cdata*?            libcurl's handle of all transfers
---@field private _running luasight.Transfer[]  the transfers that have not ended
local Transfers = {}
Transfers.__index = Transfers

---@return luasight.Transfers
function curl.new()
  local lib = load()
  return setmetatable({ _lib = lib, _multi = lib.curl_multi_init(), _running = {} }, Transfers)
end

---Starts an HTTP transfer beside those that are running.
---@param t luasight.Transfer
function Transfers:add(t)
  prepare(self._lib, t)
  self._running[#self._running + 1] = t
  self._lib.curl_multi_add_handle(self._multi, t._easy)
end

---@return integer
function Transfers:count() return #self._running end

local function take(self, easy)
  for i, t in ipairs(self._running) do
    if t._easy == easy then return table.remove(self._running, i) end
  end
end

---Continues all running transfers for at most the given number of seconds; returns the transfers that ended in that time.
---@param seconds number
---@return luasight.Transfer[]
function Transfers:step(seconds)
  local lib, count, done = self._lib, ffi.new "int[1]", {}
  lib.curl_multi_perform(self._multi, count)
  if count[0] == #self._running and seconds > 0 then
    lib.curl_multi_wait(self._multi, nil, 0, math.ceil(seconds * 1000), count)
    lib.curl_multi_perform(self._multi, count)
  end
  local message = lib.curl_multi_info_read(self._multi, count)
  while message ~= nil do
    if message.what == DONE then
      local easy, code = message.easy, message.data.code
      lib.curl_multi_remove_handle(self._multi, easy)
      local t = take(self, easy)
      finish(lib, t, code)
      done[#done + 1] = t
    end
    message = lib.curl_multi_info_read(self._multi, count)
  end
  return done
end

---Returns the number of bytes of the transfer that have been received so far.
---@param t luasight.Transfer
---@return integer
function Transfers:bytes(t)
  if not t._easy then return 0 end
  local bytes = ffi.new "int64_t[1]"
  self._lib.curl_easy_getinfo(t._easy, SIZE_DOWNLOAD, bytes)
  return tonumber(bytes[0])
end

---Ends all transfers that are still running, with the code TIMED_OUT.
function Transfers:close()
  for _, t in ipairs(self._running) do
    self._lib.curl_multi_remove_handle(self._multi, t._easy)
    finish(self._lib, t, curl.TIMED_OUT)
  end
  self._running = {}
  if self._multi then self._lib.curl_multi_cleanup(self._multi) end
  self._multi = nil
end

return curl
