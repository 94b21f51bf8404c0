--- The folder of files downloaded from the Hugging Face hub. It has the layout of Python's huggingface_hub, so that luasight
--- and Python programs can use each other's files:
---
---     CACHE/models--OWNER--NAME/refs/main               the commit of the branch main when the hub was last asked
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

---Returns whether an environment variable has a value that means yes, such as 1 or ON.
---@param name string
---@return boolean
function cache.is_on(name) return yes[(variable(name) or ""):upper()] or false end

---Returns a path in which ~ and $NAME are replaced in the way of Python's functions expanduser and expandvars.
local function expanded(path)
  path = path:gsub("^~", function() return os.getenv "HOME" end)
  return (path:gsub("%$(%w[%w_]*)", os.getenv):gsub("%${(%w[%w_]*)}", os.getenv))
end

---Returns the folder that Python's huggingface_hub uses for its files.
---@return string
function cache.home()
  return expanded(variable "HF_HOME" or (variable "XDG_CACHE_HOME" or "~/.cache") .. "/huggingface")
end

---Returns the folder of the cache, in which every model has a folder.
---@return string
function cache.folder()
  return expanded(variable "HF_HUB_CACHE" or variable "HUGGINGFACE_HUB_CACHE" or cache.home() .. "/hub")
end

---Returns whether the user has forbidden requests to the hub by an environment variable.
---@return boolean
function cache.is_offline() return cache.is_on "HF_HUB_OFFLINE" or cache.is_on "TRANSFORMERS_OFFLINE" end

local function first_line(path)
  local file = io.open(path, "r")
  local line = file and file:read "*l"
  if file then file:close() end
  line = line and line:match "^%s*(.-)%s*$"
  return line ~= "" and line or nil
end

---Returns the user's access token for the hub: from the environment variable HF_TOKEN, else from the file that `hf auth login`
---writes; nil where there is none.
---@return string?
function cache.token()
  if cache.is_on "HF_HUB_DISABLE_IMPLICIT_TOKEN" then return nil end
  local token = variable "HF_TOKEN" or variable "HUGGING_FACE_HUB_TOKEN"
    or first_line(expanded(variable "HF_TOKEN_PATH" or cache.home() .. "/token"))
  return token and token:match "^%s*(.-)%s*$"
end

-- ---- one model -------------------------------------------------------------------------------------------------------

---@class luasight.hub.Repository  a model's folder in the cache
---@field id string      the name of the model, "owner/name"
---@field revision string  a branch, a tag or a commit
---@field path string    the path of the model's folder
---@field locks string   the path of the folder with the locks of the model's files
local Repository = {}
Repository.__index = Repository

---Returns the object for the folder of a model in the cache; the folder need not exist.
---@param id string
---@param revision string
---@return luasight.hub.Repository
function cache.repository(id, revision)
  local root, name = cache.folder(), "models--" .. id:gsub("/", "--")
  return setmetatable({ id = id, revision = revision, path = root .. "/" .. name, locks = root .. "/.locks/" .. name },
    Repository)
end

---Returns whether a revision is the full name of a commit: 40 hexadecimal digits.
---@param revision string
---@return boolean
function cache.is_commit(revision) return #revision == 40 and not revision:find "[^%x]" end

---Returns the commit to which the revision belonged when the hub was last asked; nil where the hub has not been asked yet.
---@return string?
function Repository:commit()
  if cache.is_commit(self.revision) then return self.revision end
  local commit = first_line(self.path .. "/refs/" .. self.revision)
  return commit and cache.is_commit(commit) and commit or nil
end

---Returns the path of the folder with the files of a commit.
---@param commit string
---@return string
function Repository:snapshot(commit) return self.path .. "/snapshots/" .. commit end

local function refuse(path)
  failure.raise("io", ("%s: the downloaded file cannot be written: the disk is full, or there is no permission"):format(path),
    { hint = "set HF_HOME to another folder for files of the hub" })
end

local function above(path) return path:match "^(.*)/[^/]+$" end

---Writes the commit to which the revision belongs into the cache.
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

---Returns the path of the file with the bytes that an ETag names.
---@param etag string
---@return string
function Repository:blob(etag) return self.path .. "/blobs/" .. etag end

---Makes the folders for the file with an ETag and for the file's lock; returns the path of the lock.
---@param etag string
---@return string
function Repository:lock_path(etag)
  system.make_folder(self.path .. "/blobs", "777")
  system.make_folder(self.locks, "777")
  return ("%s/%s.lock"):format(self.locks, etag)
end

---Makes the link that has the file's name in the snapshot of a commit and points to the blob with the file's bytes.
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
