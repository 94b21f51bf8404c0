--- The cache of the Hugging Face hub, with the layout of Python's huggingface_hub, so that each program can use the files
--- that the other downloaded:
---
---     CACHE/models--OWNER--NAME/refs/main               the commit of a branch or tag when the hub was last asked
---     CACHE/models--OWNER--NAME/snapshots/COMMIT/FILE   a link to a blob
---     CACHE/models--OWNER--NAME/blobs/ETAG              the bytes of a file; ETAG.incomplete during the download
---     CACHE/.locks/models--OWNER--NAME/ETAG.lock        the lock of the process that downloads the blob
local failure = require "luasight.base.error"
local system = require "luasight.ffi.system"
local exists = require("luasight.files.checkpoint").exists

local cache = {}

local yes = { ["1"] = true, ON = true, YES = true, TRUE = true }

local function variable(name)
  local value = os.getenv(name)
  if value == "" then return nil end
  return value
end

---Returns whether an environment variable has one of the values that mean yes.
---@param name string
---@return boolean
function cache.is_on(name) return yes[(variable(name) or ""):upper()] or false end

---Returns a path in which ~ and $NAME are replaced as by Python's expanduser and expandvars.
local function expanded(path)
  path = path:gsub("^~", function() return os.getenv "HOME" end)
  return (path:gsub("%$(%w[%w_]*)", os.getenv):gsub("%${(%w[%w_]*)}", os.getenv))
end

---@return string
function cache.home()
  return expanded(variable "HF_HOME" or (variable "XDG_CACHE_HOME" or "~/.cache") .. "/huggingface")
end

---@return string
function cache.folder()
  return expanded(variable "HF_HUB_CACHE" or variable "HUGGINGFACE_HUB_CACHE" or cache.home() .. "/hub")
end

---@return boolean
function cache.is_offline() return cache.is_on "HF_HUB_OFFLINE" or cache.is_on "TRANSFORMERS_OFFLINE" end

local function first_line(path)
  local file = io.open(path, "r")
  local line = file and file:read "*l"
  if file then file:close() end
  line = line and line:match "^%s*(.-)%s*$"
  return line ~= "" and line or nil
end

---Returns the user's token from HF_TOKEN, or from the file that `hf auth login` writes.
---@return string?
function cache.token()
  if cache.is_on "HF_HUB_DISABLE_IMPLICIT_TOKEN" then return nil end
  local token = variable "HF_TOKEN" or variable "HUGGING_FACE_HUB_TOKEN"
    or first_line(expanded(variable "HF_TOKEN_PATH" or cache.home() .. "/token"))
  return token and token:match "^%s*(.-)%s*$"
end

-- ---- one model -------------------------------------------------------------------------------------------------------

---@class luasight.hub.Repository
---@field id string
---@field revision string
---@field path string    the folder of the repository
---@field locks string
local Repository = {}
Repository.__index = Repository

---@param id string
---@param revision string
---@return luasight.hub.Repository
function cache.repository(id, revision)
  local root, name = cache.folder(), "models--" .. id:gsub("/", "--")
  return setmetatable({ id = id, revision = revision, path = root .. "/" .. name, locks = root .. "/.locks/" .. name },
    Repository)
end

---Returns whether a revision is the full name of a commit.
---@param revision string
---@return boolean
function cache.is_commit(revision) return #revision == 40 and not revision:find "[^%x]" end

---Returns the commit of the revision when the hub was last asked; nil where it was not asked yet.
---@return string?
function Repository:commit()
  if cache.is_commit(self.revision) then return self.revision end
  local commit = first_line(self.path .. "/refs/" .. self.revision)
  return commit and cache.is_commit(commit) and commit or nil
end

---@param commit string
---@return string
function Repository:snapshot(commit) return self.path .. "/snapshots/" .. commit end

local function refuse(path)
  failure.raise("io", ("%s: the file cannot be written: the disk is full, or there is no permission"):format(path),
    { hint = "set HF_HOME to another folder for files of the hub" })
end

local function above(path) return path:match "^(.*)/[^/]+$" end

---Writes down the commit of the revision.
---@param commit string
function Repository:note(commit)
  if self.revision == commit or self:commit() == commit then return end
  local path = self.path .. "/refs/" .. self.revision
  system.make_folder(above(path), "777")
  local beside = system.beside(path)
  local file = io.open(beside, "w")
  local written = file and file:write(commit)
  if not (file and file:close() and written and os.rename(beside, path)) then refuse(path) end
end

---@param etag string
---@return string
function Repository:blob(etag) return self.path .. "/blobs/" .. etag end

---Makes the folders for a blob and its lock; returns the path of the lock.
---@param etag string
---@return string
function Repository:lock_path(etag)
  system.make_folder(self.path .. "/blobs", "777")
  system.make_folder(self.locks, "777")
  return ("%s/%s.lock"):format(self.locks, etag)
end

---Makes the link from the file of a snapshot to its blob.
---@param commit string
---@param name string
---@param etag string
function Repository:link(commit, name, etag)
  local path = self:snapshot(commit) .. "/" .. name
  if exists(path) then return end
  system.make_folder(above(path), "777")
  local up = ("../"):rep(select(2, name:gsub("/", "")) + 2)
  if not system.link(up .. "blobs/" .. etag, path) then refuse(path) end
end

return cache
