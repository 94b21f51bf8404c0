--- Sends requests to the server of the Hugging Face hub, and raises the errors for answers that are not as expected.
local binding = require "luasight.ffi"
local cache = require "luasight.lm.hub.cache"
local curl = require "luasight.ffi.curl"
local quoted = require("luasight.files.safetensors").quoted
local system = require "luasight.ffi.system"
local cjson = require("cjson").new()

local server = {
  tries = 5,       -- the largest number of attempts for a request that fails temporarily
  delay = 1,       -- the seconds before the second attempt; twice as many before each further one
  patience = 60,   -- the longest pause in seconds that is made where the server asks for a pause
}

local LONGEST_ANSWER = 2 ^ 26
local MOST_HOPS = 5

---Returns the URL of the hub's server, which the environment variable HF_ENDPOINT can change.
---@return string
function server.endpoint() return ((os.getenv "HF_ENDPOINT" or "https://huggingface.co"):gsub("/+$", "")) end

---Escapes a text such that it can be a part of a URL.
---@param text string
---@param keep_slashes boolean?
---@return string
function server.escape(text, keep_slashes)
  return (text:gsub(keep_slashes and "[^%w%-._~/]" or "[^%w%-._~]", function(c) return ("%%%02X"):format(c:byte()) end))
end

local function seconds(name, default) return tonumber(os.getenv(name) or "") or default end

---Makes a request to the hub, which contains the user's access token where there is one; the request is not sent yet.
---@param url string
---@param fields table?  further fields of luasight.Transfer
---@return luasight.Transfer
function server.request(url, fields)
  local t = { url = url, headers = {}, connect = seconds("HF_HUB_ETAG_TIMEOUT", 10),
    stalled = seconds("HF_HUB_DOWNLOAD_TIMEOUT", 10) }
  for name, v in pairs(fields or {}) do t[name] = v end
  local token = cache.token()
  if token and url:sub(1, #server.endpoint()) == server.endpoint() then
    if token:find "[%c%s]" then
      binding.raise("argument", "the access token for the hub (HF_TOKEN) has blanks or control characters in it")
    end
    t.headers[1] = "Authorization: Bearer " .. token
  end
  return t
end

-- ---- errors ----------------------------------------------------------------------------------------------------------

---Returns after how many seconds a request that ended should be sent again; nil where another attempt makes no sense.
---@param t luasight.Transfer
---@param try integer  the number of attempts so far
---@param most integer?  the largest number of attempts
---@return number?
function server.retry_after(t, try, most)
  if try >= (most or server.tries) then return nil end
  local wait = server.delay * 2 ^ (try - 1)
  if t.status == 429 or t.status == 503 then
    local asked = tonumber(t.answer["retry-after"] or "")
    if asked and asked > server.patience then return nil end
    return asked or wait
  end
  if t.status >= 500 or t.status == 408 then return wait end
  if t.code ~= 0 and t.status < 400 and t.code ~= curl.CANNOT_WRITE and t.code ~= curl.TOO_LARGE then return wait end
end

local TLS = { [35] = true, [51] = true, [58] = true, [60] = true, [77] = true }

---Returns whether a request failed because the server could not be reached or has an error of its own, so that the files in the
---cache may be used instead.
---@param t luasight.Transfer
---@return boolean
function server.is_away(t) return t.status >= 500 or t.code ~= 0 and t.status == 0 and not TLS[t.code] end

---Returns the error message in the server's answer, cut to one line; "" where there is none.
local function said(t)
  local text = t.answer["x-error-message"]
  return text and ": " .. (text:gsub("%c", " "):sub(1, 200)) or ""
end

---Raises an error that says what a failed request means for the user.
---@param t luasight.Transfer
---@param what string  the requested thing, such as 'model "a/b"'
function server.fail(t, what)
  local where, code = server.endpoint(), "io"
  local message, hint
  if t.status == 401 then
    message = ("%s: there is no %s that is public (status 401%s)"):format(where, what, said(t))
    hint = cache.token() and "the token is not accepted: check HF_TOKEN, or log in again"
      or "check the name; for a private or gated model set HF_TOKEN to your token"
  elseif t.status == 403 then
    message = ("%s: this user has no access to the %s (status 403%s)"):format(where, what, said(t))
    hint = "ask for access on the page of the model, and set HF_TOKEN to your token"
  elseif t.status == 404 then
    local revision = t.answer["x-error-code"] == "RevisionNotFound"
    message = ("%s: there is no %s%s (status 404)"):format(where, what, revision and " at this revision" or "")
    hint, code = "check the name, or pass a folder", "name"
  elseif t.status == 429 then
    local wait = tonumber(t.answer["retry-after"] or "")
    message = ("%s: too many requests (status 429%s)"):format(where, wait and (", wait %d seconds"):format(wait) or "")
    hint = "try again later; with a token in HF_TOKEN more requests are allowed"
  elseif t.status >= 400 then
    message = ("%s: the server failed to send the %s (status %d%s)"):format(where, what, t.status, said(t))
    hint = "try again later"
  else
    local host = t.url:match "^%a+://([^/]+)" or t.url
    message = (t.status == 0 and "%s: the server cannot be reached for the %s: %s"
      or "%s: the connection breaks again and again, for the %s: %s"):format(host, what, t.problem or "no answer")
    hint = "check the network; with HF_HUB_OFFLINE=1 only the cache is used"
  end
  binding.raise(code, message, { hint = hint, cause = t.problem })
end

-- ---- requests --------------------------------------------------------------------------------------------------------

---Sends several requests at once, and repeats those that fail temporarily.
---@param requests luasight.Transfer[]
---@param renew fun(t: luasight.Transfer): luasight.Transfer  makes a new request like a failed one
---@param most integer?  the largest number of attempts for each request
---@return luasight.Transfer[]  # the requests with their answers, in the same order
function server.ask(requests, renew, most)
  local transfers, results, waiting, tries, open = curl.new(), {}, {}, {}, 0
  local function begin(i, t)
    t._number, tries[i] = i, (tries[i] or 0) + 1
    transfers:add(t)
  end
  local ok, e = pcall(function()
    for i, t in ipairs(requests) do
      begin(i, t)
      open = open + 1
    end
    while open > 0 do
      for _, t in ipairs(transfers:step(0.1)) do
        local i = t._number
        local wait = server.retry_after(t, tries[i], most)
        if wait then waiting[#waiting + 1] = { i, t, system.now() + wait }
        else results[i], open = t, open - 1 end
      end
      for k = #waiting, 1, -1 do
        if system.now() >= waiting[k][3] then
          local again = table.remove(waiting, k)
          begin(again[1], renew(again[2]))
        end
      end
      if transfers:count() == 0 and open > 0 then system.sleep(0.02) end
    end
  end)
  transfers:close()
  if not ok then error(e, 0) end
  return results
end

local NO_HOST, NO_CONNECTION = 6, 7

---Returns the commit of a model's revision and the names of its files; nil and the failed request where the server cannot be
---reached.
---@param id string
---@param revision string
---@param patient boolean  true: repeats a failed request, unless the host does not exist or refuses connections
---@return string? commit, table<string, boolean>|luasight.Transfer names
function server.listing(id, revision, patient)
  local url = ("%s/api/models/%s/revision/%s"):format(server.endpoint(), id, server.escape(revision))
  local function request() return server.request(url, { most = LONGEST_ANSWER }) end
  local t = server.ask({ request() }, request, 1)[1]
  if patient and server.retry_after(t, 1) and t.code ~= NO_HOST and t.code ~= NO_CONNECTION then
    t = server.ask({ request() }, request)[1]
  end
  if server.is_away(t) then return nil, t end
  if t.code ~= 0 or t.status ~= 200 then server.fail(t, "model " .. quoted(id)) end
  local ok, value = pcall(cjson.decode, t.body)
  local commit = ok and type(value) == "table" and value.sha
  if type(commit) ~= "string" or not cache.is_commit(commit) or type(value.siblings) ~= "table" then
    binding.raise("format", ("%s: the server's answer about the model %s has no commit or no files, so this is no hub"):format(
      server.endpoint(), quoted(id)), { hint = "check HF_ENDPOINT" })
  end
  local names = {}
  for _, entry in ipairs(value.siblings) do
    if type(entry) == "table" and type(entry.rfilename) == "string" then names[entry.rfilename] = true end
  end
  return commit, names
end

---@class luasight.hub.File  a file of a model on the hub
---@field name string
---@field url string
---@field etag string   the file's ETag on the hub, which is the file's name in the cache's folder blobs
---@field size integer?  the number of bytes; nil where the hub does not say

local function url_of(id, commit, name)
  return ("%s/%s/resolve/%s/%s"):format(server.endpoint(), id, commit, server.escape(name, true))
end

local function unquoted(etag) return etag and etag:gsub("^W/", ""):match '^"?([^"]*)"?$' end

---Returns the description of a file, its ETag and size, from the headers of the server's answer.
local function described(t, name, id)
  local etag = unquoted(t.answer["x-linked-etag"] or t.answer.etag)
  if not etag or etag == "" or #etag > 200 or etag:find "[^%w%-._+]" or etag:find "^%." then
    binding.raise("format", ("%s: the server's answer about the file %s of the model %s has an invalid ETag, %s"):format(
      server.endpoint(), quoted(name), quoted(id), quoted(etag)), { hint = "check HF_ENDPOINT" })
  end
  local size = t.answer["x-linked-size"] or t.status == 200 and t.answer["content-length"] or nil
  return { name = name, etag = etag, size = tonumber(size) }
end

local function target_of(t)
  local to = t.status >= 300 and t.status < 400 and t.answer.location
  if not to or t.answer["x-linked-etag"] then return nil end
  local host = t.url:match "^(%a+://[^/]+)"
  if to:find "^/[^/]" then return host .. to end
  return to:sub(1, #host + 1) == host .. "/" and to or nil
end

---Returns the URL, the ETag and the size of each of several files on the hub; sends one request for each file, all at once.
---@param id string
---@param commit string
---@param names string[]
---@return luasight.hub.File[]
function server.describe(id, commit, names)
  local found, asked = {}, {}
  for i, name in ipairs(names) do asked[i] = { name = name, url = url_of(id, commit, name), hop = 0 } end
  while #asked > 0 do
    local requests = {}
    local function request(of) return server.request(of.url, { head = true, _of = of }) end
    for i, of in ipairs(asked) do requests[i] = request(of) end
    asked = {}
    for _, t in ipairs(server.ask(requests, function(t) return request(t._of) end)) do
      local of = t._of
      if t.code ~= 0 or t.status >= 400 then server.fail(t, ("file %s of the model %s"):format(quoted(of.name), quoted(id))) end
      local to = target_of(t)
      if to and of.hop < MOST_HOPS then asked[#asked + 1] = { name = of.name, url = to, hop = of.hop + 1 }
      else
        local file = described(t, of.name, id)
        file.url = url_of(id, commit, of.name)
        found[#found + 1] = file
      end
    end
  end
  return found
end

return server
