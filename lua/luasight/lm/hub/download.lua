--- Downloads files of the Hugging Face hub into the cache, several at once. A download continues an earlier partial one, runs
--- in one process only, and is checked before the file gets its name.
local binding = require "luasight.ffi"
local curl = require "luasight.ffi.curl"
local digest = require "luasight.ffi.digest"
local progress = require "luasight.base.progress"
local quoted = require("luasight.files.safetensors").quoted
local server = require "luasight.lm.hub.server"
local system = require "luasight.ffi.system"
local exists = require("luasight.files.checkpoint").exists

local download = {}

local AT_ONCE = 8
local LOCKED = 0.2 -- seconds between two attempts to take a lock that another process holds

---Returns the number of bytes of a file, 0 where there is no file.
local function size_of(path)
  local file = io.open(path, "rb")
  if not file then return 0 end
  local size = file:seek "end"
  file:close()
  return size or 0
end

---@class luasight.hub.Job  the download of one file
---@field file luasight.hub.File
---@field path string      the path of the complete file in the cache
---@field partial string   the path of the file during the download
---@field lock integer?    the lock that this process holds on the file
---@field tries integer    the number of attempts since the partial file last grew
---@field most integer     the largest number of bytes that the partial file has had
---@field resumed boolean? whether the download continues a partial file of an earlier process
---@field ready number     the time from which on the next attempt may begin, in seconds as system.now returns them

local function job_of(repository, file)
  local path = repository:blob(file.etag)
  return { file = file, path = path, partial = path .. ".incomplete", lock_path = repository:lock_path(file.etag), tries = 0,
    most = 0, ready = 0 }
end

local function close(job)
  if job.lock then system.unlock(job.lock) end
  job.lock = nil
end

local function refuse(job, repository, code, what, hint, cause)
  binding.raise(code, ("the file %s of the model %s: %s"):format(job.file.name, quoted(repository.id), what),
    { hint = hint, cause = cause })
end

---Returns as text what is wrong with the downloaded file, or nil. The bytes are compared with the ETag that the hub returns for
---the file: SHA-256 for a large file, git's SHA-1 for a small one.
local function flaw(job)
  local etag, size = job.file.etag, size_of(job.partial)
  if job.file.size and size ~= job.file.size then
    return ("the file has %d bytes, but the hub says %d"):format(size, job.file.size)
  end
  local kind = not etag:find "[^%x]" and (#etag == 64 and "sha256" or #etag == 40 and "sha1") or nil
  if not kind then return nil end
  local got = digest.of(kind, kind == "sha1" and ("blob %d\0"):format(size) or "", job.partial)
  if got ~= etag:lower() then return "its bytes are not those that the hub names: the hash differs" end
end

-- ---- one transfer ----------------------------------------------------------------------------------------------------

---Begins or continues the download of a file; returns false where another process holds the file's lock.
local function begin(job, repository, transfers)
  if not job.lock then
    local lock, problem = system.lock(job.lock_path)
    if lock == nil then
      refuse(job, repository, "io", job.lock_path .. " cannot be made", "set HF_HOME to another folder", problem)
    end
    if not lock then return false end
    job.lock = lock
    job.resumed = size_of(job.partial) > 0
  end
  if exists(job.path) then -- another process has downloaded the file meanwhile
    job.done = true
    return true
  end
  local from = size_of(job.partial)
  if job.file.size and from > job.file.size or job.file.size == 0 then
    os.remove(job.partial)
    from = 0
  end
  job.from = from
  if job.file.size and from == job.file.size and from > 0 then
    job.whole = true
    return true
  end
  job.transfer = server.request(job.file.url, { path = job.partial, from = from, most = job.file.size, _job = job })
  transfers:add(job.transfer)
  return true
end

---Checks a file whose download is complete, and renames the file to its final path. A wrong file is removed. If it continued an
---older partial file, the download starts again; otherwise an error is raised.
local function settle(job, repository)
  local wrong = flaw(job)
  if not wrong then
    if not os.rename(job.partial, job.path) then
      refuse(job, repository, "io", job.path .. " cannot be written", "set HF_HOME to another folder")
    end
    job.done = true
    return
  end
  os.remove(job.partial)
  if not job.resumed then
    refuse(job, repository, "format", wrong, "try again; if the error stays, a proxy may be changing the files")
  end
  job.resumed, job.whole = false, false -- the older partial file may be wrong, so the download starts again
end

local function too_short(job, repository)
  refuse(job, repository, "format", ("the server sends less than the %d bytes that the hub says"):format(job.file.size),
    "try again; if the error stays, a proxy may be changing the files")
end

---Decides what follows on the end of a file's transfer: the file is complete, the transfer is tried again later, or an error
---is raised.
local function ended(job, repository)
  local t = job.transfer
  job.transfer = nil
  if t.code == curl.CANNOT_WRITE then
    refuse(job, repository, "io", job.partial .. " cannot be written", "free some disk space, or set HF_HOME to another folder",
      t.problem)
  end
  if t.code == curl.TOO_LARGE then
    refuse(job, repository, "format", ("the server sends more than the %d bytes that the hub says"):format(job.file.size),
      "try again; if the error stays, a proxy may be changing the files")
  end
  if t.code == curl.CANNOT_RESUME or t.status == 416 then
    os.remove(job.partial)
    job.tries = job.tries + 1
    if job.tries < server.tries then return end
    too_short(job, repository)
  end
  local size = size_of(job.partial)
  if t.code == 0 and (not job.file.size or size >= job.file.size) then
    job.whole = true
    return
  end
  if size > job.most then job.most, job.tries = size, 0 end
  job.tries = job.tries + 1
  local ended_early = t.code == 0
  if ended_early then t.code = curl.TIMED_OUT end
  local wait = server.retry_after(t, job.tries)
  if not wait and ended_early then too_short(job, repository) end
  if not wait then server.fail(t, ("file %s of the model %s"):format(quoted(job.file.name), quoted(repository.id))) end
  job.ready = system.now() + wait
end

-- ---- all of them -----------------------------------------------------------------------------------------------------

local MEGA = 1e6

local function total_of(files)
  local total = 0
  for _, file in ipairs(files) do total = total + (file.size or 0) end
  return total
end

local function progress_of(jobs, transfers)
  local bytes = 0
  for _, job in ipairs(jobs) do
    if job.done then bytes = bytes + (job.file.size or 0)
    else bytes = bytes + (job.from or 0) + (job.transfer and transfers:bytes(job.transfer) or 0) end
  end
  return bytes
end

---Runs one round over all downloads (jobs): begins those that can begin, continues the running transfers, and handles the
---transfers that ended. Returns whether a download is still open.
local function go_on(jobs, repository, transfers, seconds)
  local now, open = system.now(), 0
  for _, job in ipairs(jobs) do
    if not job.done then
      open = open + 1
      if job.whole then settle(job, repository)
      elseif not job.transfer and now >= job.ready and transfers:count() < AT_ONCE then
        if not begin(job, repository, transfers) then job.ready = now + LOCKED end
      end
      if job.done then close(job) end
    end
  end
  for _, t in ipairs(transfers:step(seconds)) do ended(t._job, repository) end
  if open > 0 and transfers:count() == 0 then system.sleep(0.01) end
  return open > 0
end

---Downloads those of the files that the cache does not have, and links all files into the snapshot of the commit.
---@param repository luasight.hub.Repository
---@param commit string
---@param files luasight.hub.File[]
function download.fetch(repository, commit, files)
  local jobs = {}
  for _, file in ipairs(files) do
    if not exists(repository:blob(file.etag)) then jobs[#jobs + 1] = job_of(repository, file) end
  end
  local transfers = curl.new()
  local bar = progress.new { total = math.ceil(total_of(files) / MEGA), label = "downloading (MB)", after = 1 }
  local ok, e = pcall(function()
    while go_on(jobs, repository, transfers, 0.1) do bar:set(math.floor(progress_of(jobs, transfers) / MEGA)) end
  end)
  transfers:close()
  bar:close()
  for _, job in ipairs(jobs) do close(job) end
  if not ok then error(e, 0) end
  for _, file in ipairs(files) do repository:link(commit, file.name, file.etag) end
end

return download
