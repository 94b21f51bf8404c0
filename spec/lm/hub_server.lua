-- A hub on loopback, for spec/lm/hub_spec.lua, that can be as bad as told: luajit spec/lm/hub_server.lua FOLDER
-- Writes its port into FOLDER/port. FOLDER/model.lua gives { run, id, commit, files = { [name] = { etag, bytes, large } } } and
-- faults, which begin anew with another `run`:
-- by "METHOD path" a list, of which each request takes the next one:
--   { status = 500, headers = { ... } }   answers so                { cut = n }     sends n bytes of the body, then closes
--   { stall = n }   sends n bytes and then nothing more             { bytes = "x" } sends this as body, with its length
--   { no_range = true }   sends all, whatever was asked for
-- Each request is a line in FOLDER/log.
local ffi = require "ffi"
ffi.cdef [[
typedef struct { uint16_t family, port; uint32_t address; char zero[8]; } address_in;
typedef struct { int number; short wanted, found; } poll_entry;
int socket(int, int, int);
int bind(int, const address_in *, uint32_t);
int listen(int, int);
int accept(int, void *, void *);
int getsockname(int, address_in *, uint32_t *);
long recv(int, void *, size_t, int);
long send(int, const void *, size_t, int);
int close(int);
int poll(poll_entry *, unsigned long, int);
]]
local C, folder = ffi.C, arg[1]
local NO_SIGNAL = 0x4000

local function swapped(n) return bit.bor(bit.lshift(bit.band(n, 255), 8), bit.rshift(n, 8)) end

local function put(name, text, mode)
  local file = assert(io.open(folder .. "/" .. name, mode))
  file:write(text)
  file:close()
end

-- ---- one request -------------------------------------------------------------------------------------------------------

local buffer = ffi.new "char[65536]"

local function read_request(socket)
  local text = ""
  while not text:find "\r\n\r\n" do
    local n = tonumber(C.recv(socket, buffer, 65536, 0))
    if n <= 0 then return nil end
    text = text .. ffi.string(buffer, n)
  end
  local method, path = text:match "^(%u+) (%S+)"
  return { method = method, path = path, range = tonumber(text:match "\r\n[Rr]ange: bytes=(%d+)%-"),
    token = text:match "\r\n[Aa]uthorization: ([^\r]*)", host = text:match "\r\n[Hh]ost: ([^\r]*)" }
end

local function send(socket, text)
  local at = 0
  while at < #text do
    local n = tonumber(C.send(socket, ffi.cast("const char *", text) + at, #text - at, NO_SIGNAL))
    if n <= 0 then return end
    at = at + n
  end
end

local function head(status, headers, length)
  local lines = { ("HTTP/1.1 %d X"):format(status), "Connection: close" }
  for name, value in pairs(headers) do lines[#lines + 1] = name .. ": " .. value end
  if length then lines[#lines + 1] = "Content-Length: " .. length end
  return table.concat(lines, "\r\n") .. "\r\n\r\n"
end

local run, seen, stalled = nil, {}, {} -- the test; how often it asked for what; connections that stay open

local function listing(model)
  local names = {}
  for name in pairs(model.files) do names[#names + 1] = ('{"rfilename":"%s"}'):format(name) end
  for _, name in ipairs(model.also or {}) do names[#names + 1] = ('{"rfilename":"%s"}'):format(name) end
  return ('{"id":"%s","sha":"%s","siblings":[%s]}'):format(model.id, model.commit, table.concat(names, ","))
end

---Status, headers and body of the answer as it should be.
local function answer_of(model, request)
  local path, commit = request.path, model.commit
  for _, revision in ipairs { "main", commit, "v1%2Fa" } do
    if path == ("/api/models/%s/revision/%s"):format(model.id, revision) then return 200, {}, listing(model) end
  end
  local resolve = "^/" .. model.id:gsub("%p", "%%%0") .. "/resolve/"
  local name = path:match(resolve .. commit .. "/(.*)$") or path:match(resolve .. "main/(.*)$")
  local stored = path:match "^/stored/(.*)$"
  local file = model.files[name or stored]
  if not file then
    return 404, { ["X-Error-Code"] = path:find "/resolve/" and "EntryNotFound" or "RepoNotFound" }, "no"
  end
  if name and file.large then
    return 302, { ["X-Repo-Commit"] = commit, ["X-Linked-Etag"] = '"' .. file.etag .. '"', ["X-Linked-Size"] = #file.bytes,
      ["Location"] = ("http://localhost:%s/stored/%s"):format(request.host:match ":(%d+)", name) }, ""
  end
  return 200, { ["X-Repo-Commit"] = commit, ["ETag"] = '"' .. file.etag .. '"' }, file.bytes
end

local function serve(socket)
  local request = read_request(socket)
  if not request then return true end
  put("log", ("%s %s%s%s\n"):format(request.method, request.path, request.range and " from " .. request.range or "",
    request.token and " with " .. request.token or ""), "a")
  local model = dofile(folder .. "/model.lua")
  if model.run ~= run then run, seen = model.run, {} end
  local key = request.method .. " " .. request.path
  seen[key] = (seen[key] or 0) + 1
  local fault = model.faults[key] and model.faults[key][seen[key]] or {}
  local status, headers, body = answer_of(model, request)
  if fault.status then
    send(socket, head(fault.status, fault.headers or {}, 2) .. (request.method == "HEAD" and "" or "no"))
    return true
  end
  body = fault.bytes or body
  if fault.headers then headers = fault.headers end
  if request.range and status == 200 and not fault.no_range then
    if request.range >= #body then
      send(socket, head(416, { ["Content-Range"] = "bytes */" .. #body }, 0))
      return true
    end
    headers["Content-Range"] = ("bytes %d-%d/%d"):format(request.range, #body - 1, #body)
    status, body = 206, body:sub(request.range + 1)
  end
  send(socket, head(status, headers, #body))
  if request.method == "HEAD" then return true end
  if fault.stall then
    send(socket, body:sub(1, fault.stall))
    return false
  end
  send(socket, fault.cut and body:sub(1, fault.cut) or body)
  return true
end

-- ---- all of them -------------------------------------------------------------------------------------------------------

local listener = C.socket(2, 1, 0)
local here, length = ffi.new "address_in", ffi.new("uint32_t[1]", 16)
here.family, here.address = 2, 0x0100007F
assert(C.bind(listener, here, 16) == 0 and C.listen(listener, 64) == 0)
C.getsockname(listener, here, length)
put("port.new", tostring(swapped(here.port)), "w")
os.rename(folder .. "/port.new", folder .. "/port")

local entry, idle = ffi.new "poll_entry", 0
repeat
  entry.number, entry.wanted, entry.found = listener, 1, 0
  idle = idle + 1
  if C.poll(entry, 1, 200) > 0 then
    idle = 0
    local socket = C.accept(listener, nil, nil)
    if socket >= 0 then
      if serve(socket) then C.close(socket) else stalled[#stalled + 1] = socket end
    end
  end
  local stop = io.open(folder .. "/stop")
  if stop then stop:close() end
until stop or idle > 1500 -- five minutes: the test was killed
for _, socket in ipairs(stalled) do C.close(socket) end
