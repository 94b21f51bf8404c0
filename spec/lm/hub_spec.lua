-- Models of the hub by name: a hub of our own on loopback (spec/lm/hub_server.lua), which is as bad as told, and caches as
-- Python leaves them. Nothing here reaches out.
local ls = require "luasight"
local cache = require "luasight.lm.hub.cache"
local checkpoint = require "luasight.files.checkpoint"
local curl = require "luasight.ffi.curl"
local digest = require "luasight.ffi.digest"
local hub = require "luasight.lm.hub"
local server = require "luasight.lm.hub.server"
local system = require "luasight.ffi.system"

local COMMIT, ID = ("0123456789abcdef"):rep(3):sub(1, 40), "some/model"
local EVERYTHING = { model = true, weights = true, tokenizer = true }
local folder, environment, model, port
local run = 0

local function text_of(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "*a"
  file:close()
  return text
end

local function put(path, text)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
end

local function output(command)
  local pipe = io.popen(command)
  local text = pipe:read "*a"
  pipe:close()
  return text
end

-- The environment as the cache sees it, for one test.
local getenv = os.getenv
local function environ(name)
  if name:find "^HF_" or name:find "^XDG_" or name:find "^TRANSFORMERS_" or name:find "^HUGG" then return environment[name] end
  return getenv(name)
end

---A file of the model as git or LFS names it; the hash is made by other programs than ours.
local function file(bytes, large)
  local path = folder .. "/hashed"
  put(path, (large and "" or ("blob %d\0"):format(#bytes)) .. bytes)
  local etag = output((large and "sha256sum " or "sha1sum ") .. path):match "^%x+"
  return { bytes = bytes, etag = etag, large = large }
end

local function literal(v)
  if type(v) == "table" then
    local parts = {}
    for key, element in pairs(v) do parts[#parts + 1] = ("[%s]=%s"):format(literal(key), literal(element)) end
    return "{" .. table.concat(parts, ",") .. "}"
  end
  return type(v) == "string" and ("%q"):format(v):gsub("\r", "\\13"):gsub("%z", "\\0") or tostring(v)
end

---Tells the server what it has, and how it is to fail.
local function tell()
  put(folder .. "/server/model.new", "return " .. literal(model))
  os.rename(folder .. "/server/model.new", folder .. "/server/model.lua")
end

local function fault(key, list)
  model.faults[key:gsub("RESOLVE", "/" .. ID .. "/resolve/" .. COMMIT)] = list
  tell()
end

local function log() return text_of(folder .. "/server/log") end
local function forget_log() put(folder .. "/server/log", "") end

local function start()
  os.execute(("mkdir -p %s/server && : > %s/server/log"):format(folder, folder))
  local line = "env -u LD_PRELOAD luajit spec/lm/hub_server.lua %s/server >/dev/null 2>%s/server/error &"
  os.execute(line:format(folder, folder))
  for _ = 1, 500 do
    if checkpoint.exists(folder .. "/server/port") then break end
    system.sleep(0.02)
  end
  port = text_of(folder .. "/server/port")
end

local function snapshot(commit) return ("%s/home/hub/models--some--model/snapshots/%s"):format(folder, commit or COMMIT) end
local function blob(name) return ("%s/home/hub/models--some--model/blobs/%s"):format(folder, model.files[name].etag) end

---The error of a call, which is one line.
local function failure(f, ...)
  local ok, err = pcall(f, ...)
  assert.is_false(ok)
  assert.equal("table", type(err), tostring(err))
  assert.is_nil(err.message:find "%c", err.message)
  return err
end

local function fails(code, says, want)
  local err = failure(hub.folder, ID, want or EVERYTHING)
  assert.equal(code, err.code, tostring(err))
  assert.matches(says, err.message, 1, true)
  return err
end

---Nothing but whole files has a name, and no lock is held.
local function is_clean()
  local list = output("find " .. folder .. "/home -type f -path '*/blobs/*'")
  for path in list:gmatch "[^\n]+" do
    local etag = path:match "[^/]+$"
    if not etag:find "incomplete" then
      local known = false
      for _, f in pairs(model.files) do known = known or f.etag == etag and text_of(path) == f.bytes end
      assert.is_true(known, path)
    end
  end
  for path in output("find " .. folder .. "/home -name '*.lock'"):gmatch "[^\n]+" do
    local lock = system.lock(path)
    assert.truthy(lock)
    system.unlock(lock)
  end
end

describe("a model of the hub", function()
  if not (curl.is_there() and digest.is_there()) then
    pending "needs libcurl and libcrypto"
    return
  end

  local shard = ("0123456789"):rep(30000)

  setup(function()
    folder = os.tmpname()
    os.remove(folder)
    os.execute("mkdir " .. folder)
    start()
    os.getenv = environ -- luacheck: ignore 122
    server.delay = 0.01
  end)

  teardown(function()
    io.stderr:write(text_of(folder .. "/server/error"))
    put(folder .. "/server/stop", "")
    os.getenv = getenv -- luacheck: ignore 122
    server.delay = 1
    os.execute("sleep 0.3; rm -rf " .. folder)
  end)

  before_each(function()
    os.execute("rm -rf " .. folder .. "/home")
    forget_log()
    environment = { HF_HOME = folder .. "/home", HF_ENDPOINT = "http://127.0.0.1:" .. port, HF_HUB_DOWNLOAD_TIMEOUT = "1" }
    run = run + 1
    model = { run = run, id = ID, commit = COMMIT, faults = {}, files = {
      ["config.json"] = file(text_of "spec/reference/gpt2/new/config.json"),
      ["model.safetensors"] = file(text_of "spec/reference/gpt2/new/model.safetensors", true),
      ["tokenizer.json"] = file(text_of "models/pretrained/ioi/tokenizer.json"),
      ["tokenizer_config.json"] = file(text_of "models/pretrained/ioi/tokenizer_config.json"),
      ["README.md"] = file "not needed", ["pytorch_model.bin"] = file("not needed", true), ["vocab.json"] = file "not needed",
    } }
    tell()
  end)

  ---Two pieces and an index in the place of the one file.
  local function in_pieces()
    model.files["model.safetensors"] = nil
    model.files["a.safetensors"], model.files["sub/b.safetensors"] = file("A" .. shard, true), file("B" .. shard, true)
    model.files["model.safetensors.index.json"] =
      file '{"weight_map":{"x":"a.safetensors","y":"sub/b.safetensors","z":"a.safetensors"}}'
    tell()
  end

  it("is fetched into the cache as Python lays it out, only what is needed", function()
    local got = hub.folder(ID, EVERYTHING)
    assert.equal(snapshot(), got)
    assert.equal(COMMIT, text_of(folder .. "/home/hub/models--some--model/refs/main"))
    local listed = {}
    for name in output("ls " .. got):gmatch "[^\n]+" do listed[#listed + 1] = name end
    assert.same({ "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json" }, listed)
    for _, name in ipairs(listed) do
      assert.equal(model.files[name].bytes, text_of(got .. "/" .. name))
      assert.equal("../../blobs/" .. model.files[name].etag .. "\n", output("readlink " .. got .. "/" .. name))
      assert.equal(model.files[name].bytes, text_of(blob(name)))
    end
    is_clean()
    assert.is_nil(output("find " .. folder .. "/home"):find "incomplete")
    forget_log()
    hub.folder(ID, EVERYTHING)
    assert.equal("GET /api/models/some/model/revision/main\n", log()) -- all is there: one question
    forget_log()
    hub.folder(ID, EVERYTHING, COMMIT)
    assert.equal("", log()) -- a commit never changes
  end)

  it("is loaded by its name, and a folder of that name wins", function()
    local ids = { 3, 1, 4 }
    local expected = ls.LanguageModel "spec/reference/gpt2/new"(ids).logits
    assert.is_true(ls.torch.equal(expected, ls.LanguageModel(ID)(ids).logits))
    assert.equal(snapshot(), ls.Tokenizer(ID).folder)
    forget_log()
    assert.equal("spec/reference", hub.locate("spec/reference", EVERYTHING))
    assert.equal("", log())
    assert.matches("the option revision is for models of the hub", failure(ls.LanguageModel, "spec/reference/gpt2/new",
      { revision = "main" }).message, 1, true)
    environment.HF_HUB_OFFLINE = "1"
    assert.is_true(ls.torch.equal(expected, ls.LanguageModel(ID)(ids).logits))
    assert.equal("", log())
  end)

  it("at a revision is that one", function()
    assert.equal(snapshot(), hub.folder(ID, EVERYTHING, "v1/a"))
    assert.equal(COMMIT, text_of(folder .. "/home/hub/models--some--model/refs/v1/a"))
    for _, revision in ipairs { "../x", "/x", "a/../b", "", "a b", 7, "x/" } do
      assert.matches("a revision is a branch", failure(hub.folder, ID, EVERYTHING, revision).message, 1, true)
    end
  end)

  it("without weights or tokenizer fetches none", function()
    hub.folder(ID, { model = true })
    assert.equal("config.json\n", output("ls " .. snapshot()))
    assert.equal("meta", ls.LanguageModel(ID, { device = "meta", tokenizer = "models/pretrained/ioi" }).lm_head.weight.device)
    assert.equal("config.json\n", output("ls " .. snapshot()))
  end)

  it("in pieces is fetched with all that the index names, in any folder below", function()
    in_pieces()
    local got = hub.folder(ID, EVERYTHING)
    assert.equal("B" .. shard, text_of(got .. "/sub/b.safetensors"))
    assert.equal("../../../blobs/" .. model.files["sub/b.safetensors"].etag .. "\n",
      output("readlink " .. got .. "/sub/b.safetensors"))
    is_clean()
  end)

  it("gives the token to the hub, and to nobody else", function()
    environment.HF_TOKEN = "hf_secret"
    hub.folder(ID, EVERYTHING)
    for line in log():gmatch "[^\n]+" do
      assert.equal(line:find "/stored/" == nil, line:find("with Bearer hf_secret", 1, true) ~= nil, line)
    end
    assert.matches("/stored/", log(), 1, true)
    environment.HF_TOKEN = nil
    put(folder .. "/home/token", "hf_filed\n")
    assert.equal("hf_filed", cache.token())
    environment.HF_TOKEN_PATH = folder .. "/nothing"
    assert.is_nil(cache.token())
    environment.HF_TOKEN = "a\r\nb"
    assert.matches("control characters", failure(hub.folder, ID, EVERYTHING, "v2").message, 1, true)
  end)

  it("goes on after cut connections where it stopped", function()
    in_pieces()
    fault("GET /stored/a.safetensors", { { cut = 100000 }, { cut = 50000 }, { cut = 1 } })
    local got = hub.folder(ID, EVERYTHING)
    assert.equal("A" .. shard, text_of(got .. "/a.safetensors"))
    for _, from in ipairs { 100000, 150000, 150001 } do
      assert.matches("GET /stored/a.safetensors from " .. from .. "\n", log(), 1, true)
    end
    is_clean()
  end)

  it("goes on with what an earlier process left, and starts over where that was wrong", function()
    in_pieces()
    os.execute("mkdir -p " .. folder .. "/home/hub/models--some--model/blobs")
    put(blob "a.safetensors" .. ".incomplete", ("A" .. shard):sub(1, 1000))
    put(blob "sub/b.safetensors" .. ".incomplete", ("x"):rep(1000))
    local got = hub.folder(ID, EVERYTHING)
    assert.matches("GET /stored/a.safetensors from 1000\n", log(), 1, true)
    assert.matches("GET /stored/sub/b.safetensors from 1000\n", log(), 1, true)
    assert.equal("A" .. shard, text_of(got .. "/a.safetensors"))
    assert.equal("B" .. shard, text_of(got .. "/sub/b.safetensors"))
    is_clean()
  end)

  it("starts over where the server cannot go on", function()
    in_pieces()
    fault("GET /stored/a.safetensors", { { cut = 1000 }, { no_range = true } })
    assert.equal("A" .. shard, text_of(hub.folder(ID, EVERYTHING) .. "/a.safetensors"))
    is_clean()
  end)

  it("waits where the server asks for it, and tries again after errors of the server", function()
    in_pieces()
    local wait = { status = 429, headers = { ["Retry-After"] = "1" } }
    fault("GET /api/models/some/model/revision/main", { { status = 503 }, wait })
    fault("HEAD RESOLVE/config.json", { { status = 500 }, { status = 502 } })
    fault("GET RESOLVE/config.json", { { status = 500 }, { status = 429, headers = { ["Retry-After"] = "0" } } })
    local start_of = system.now()
    hub.folder(ID, EVERYTHING)
    assert.is_true(system.now() - start_of >= 1)
    is_clean()
  end)

  it("goes on after a peer that stalls", function()
    in_pieces()
    fault("GET /stored/a.safetensors", { { stall = 1000 } })
    assert.equal("A" .. shard, text_of(hub.folder(ID, EVERYTHING) .. "/a.safetensors"))
    assert.matches("GET /stored/a.safetensors from 1000\n", log(), 1, true)
  end)

  it("that is not there, not for everybody or not for this user says what to do", function()
    local api = "GET /api/models/some/model/revision/main"
    fault(api, { { status = 401 }, { status = 401 }, { status = 403, headers = { ["X-Error-Message"] = "ask\27[1m first" } },
      { status = 404, headers = { ["X-Error-Code"] = "RevisionNotFound" } }, { status = 404 },
      { status = 429, headers = { ["Retry-After"] = "3600" } } })
    local err = fails("io", 'there is no model "some/model" that is public (status 401)')
    assert.matches("set HF_TOKEN to your token", err.hint, 1, true)
    environment.HF_TOKEN = "hf_old"
    assert.matches("the token is not accepted", fails("io", "status 401").hint, 1, true)
    err = fails("io", 'this user has no access to the model "some/model" (status 403: ask [1m first)')
    assert.matches("ask for access", err.hint, 1, true)
    fails("name", 'there is no model "some/model" at this revision (status 404)')
    fails("name", 'there is no model "some/model" (status 404)')
    fails("io", "too many requests (status 429, wait 3600 seconds)")
    assert.is_false(checkpoint.exists(folder .. "/home"))
  end)

  it("is what the cache has where the server is away, and an error where that has not all", function()
    hub.folder(ID, EVERYTHING)
    local off = { status = 500 }
    fault("GET /api/models/some/model/revision/main", { [2] = off, [3] = off, [4] = off, [5] = off, [6] = off, [7] = off,
      [8] = off, [9] = off, [10] = off, [11] = off })
    assert.equal(snapshot(), hub.folder(ID, EVERYTHING))
    os.remove(snapshot() .. "/model.safetensors")
    fails("io", 'the server failed to send the model "some/model" (status 500)')
    environment.HF_ENDPOINT = "http://127.0.0.1:1"
    local err = fails("io", '127.0.0.1:1: the server cannot be reached for the model "some/model": ')
    assert.truthy(err.cause)
    assert.equal(snapshot(), hub.folder(ID, { model = true, tokenizer = true }))
  end)

  it("offline is what the cache has, and nothing is asked for", function()
    environment.HF_HUB_OFFLINE = "yes"
    local err = fails("io", 'the model "some/model" is not there in the cache folder ' .. folder)
    assert.matches("without HF_HUB_OFFLINE", err.hint, 1, true)
    environment.HF_HUB_OFFLINE = nil
    hub.folder(ID, { model = true })
    forget_log()
    environment.HF_HUB_OFFLINE = "1"
    assert.equal(snapshot(), hub.folder(ID, { model = true }))
    fails("io", "is not whole in the cache")
    assert.equal("", log())
  end)

  it("whose bytes are wrong gets no name", function()
    local function wrong(bytes, says, code)
      os.execute("rm -rf " .. folder .. "/home")
      run = run + 1
      model.run = run
      fault("GET /stored/model.safetensors", bytes)
      fails(code or "format", says)
      is_clean()
      assert.is_false(checkpoint.exists(blob "model.safetensors"))
      assert.is_false(checkpoint.exists(snapshot() .. "/model.safetensors"))
    end
    local right = model.files["model.safetensors"].bytes
    local other = right:sub(1, -2) .. string.char((right:byte(-1) + 1) % 256)
    wrong({ { bytes = other } }, "model.safetensors of the model \"some/model\": its bytes are not those that the hub names")
    wrong({ { bytes = right .. "x" } }, ("the server sends more than the %d bytes that the hub says"):format(#right))
    local short = { bytes = right:sub(1, 1000) }
    wrong({ short, short, short, short, short, short, short, short, short, short, short },
      ("the server sends less than the %d bytes"):format(#right))
    local cut = { cut = 0 }
    wrong({ cut, cut, cut, cut, cut, cut }, "the connection breaks again and again, for the file \"model.safetensors\"", "io")
    model.faults = {}
    os.execute("rm -rf " .. folder .. "/home")
    local small = model.files["config.json"]
    run = run + 1
    model.run = run
    fault("GET RESOLVE/config.json", { { bytes = ("x"):rep(#small.bytes) } })
    fails("format", "config.json of the model \"some/model\": its bytes are not those")
  end)

  it("whose index reaches out of the folder, or names what is not there, is refused", function()
    in_pieces()
    for _, name in ipairs { "../x", "/etc/passwd", "a/../../x", "a\\u0000b" } do
      run = run + 1
      model.run = run
      model.files["model.safetensors.index.json"] = file('{"weight_map":{"x":"' .. name .. '"}}')
      model.also = { name }
      os.execute("rm -rf " .. folder .. "/home")
      tell()
      fails("format", "which is not inside the folder")
      assert.is_nil(log():find("passwd", 1, true))
    end
    model.also = nil
    os.execute("rm -rf " .. folder .. "/home")
    model.files["model.safetensors.index.json"] = file '{"weight_map":{"x":"c.safetensors"}}'
    tell()
    fails("format", 'names the file "c.safetensors", which the model "some/model" does not have')
  end)

  it("of a server that names a blob so that it would be elsewhere is refused", function()
    for _, etag in ipairs { "../../x", "a/b", ".x", "", ("x"):rep(300), "a b" } do
      model.files["config.json"].etag = etag
      tell()
      fails("format", "the server's answer about \"config.json\"")
    end
    model.commit = "../../x"
    tell()
    fails("format", "is not that of a hub")
  end)

  it("on a full disk says so, and what came before stays", function()
    if output "id -u" ~= "0\n" and not checkpoint.exists "/dev/full" then pending "needs /dev/full" end
    in_pieces()
    os.execute("mkdir -p " .. folder .. "/home/hub/models--some--model/blobs")
    assert.equal(0, os.execute(("ln -s /dev/full %s.incomplete"):format(blob "a.safetensors")))
    local err = fails("io", ".incomplete cannot be written")
    assert.matches("No space left on device", err.cause, 1, true)
    assert.matches("free some disk space", err.hint, 1, true)
    assert.is_true(checkpoint.exists(snapshot() .. "/config.json"))
    os.remove(blob "a.safetensors" .. ".incomplete")
    assert.equal("A" .. shard, text_of(hub.folder(ID, EVERYTHING) .. "/a.safetensors"))
  end)

  it("into a folder where nothing can be written says so", function()
    environment.HF_HUB_CACHE = "/proc/nothing"
    fails("io", "cannot be")
  end)

  it("that another process is fetching is waited for", function()
    in_pieces()
    local etag = model.files["a.safetensors"].etag
    local path = cache.repository(ID, "main"):lock_path(etag)
    -- the other one holds the lock as Python does, with flock, and then has the file
    os.execute(("flock %s sh -c 'sleep 1; cp %s/a %s' & sleep 0.3"):format(path, folder, blob "a.safetensors"))
    put(folder .. "/a", "A" .. shard)
    local got = hub.folder(ID, EVERYTHING)
    assert.equal("A" .. shard, text_of(got .. "/a.safetensors"))
    assert.is_nil(log():find("GET /stored/a.safetensors", 1, true))
    is_clean()
  end)

  it("is fetched once by several processes at the same time", function()
    in_pieces()
    local script = folder .. "/fetch.lua"
    put(script, ('print(require "luasight.lm.hub".folder("%s", { model = true, weights = true }))'):format(ID))
    local command = ("HF_HOME=%s/home HF_ENDPOINT=%s bin/luasight %s"):format(folder, environment.HF_ENDPOINT, script)
    local said = output(("(%s & %s & %s & wait) 2>&1"):format(command, command, command))
    assert.equal((snapshot() .. "\n"):rep(3), said)
    assert.equal(1, select(2, log():gsub("GET /stored/a.safetensors\n", "")))
    is_clean()
  end)

  it("goes on where a killed process stopped", function()
    in_pieces()
    fault("GET /stored/a.safetensors", { { stall = 120000 } })
    local script = folder .. "/fetch.lua"
    put(script, ('require "luasight.lm.hub".folder("%s", { model = true, weights = true })'):format(ID))
    os.execute(("HF_HUB_DOWNLOAD_TIMEOUT=60 HF_HOME=%s/home HF_ENDPOINT=%s timeout -s KILL 2 bin/luasight %s 2>/dev/null")
      :format(folder, environment.HF_ENDPOINT, script))
    local got = hub.folder(ID, EVERYTHING)
    assert.equal("A" .. shard, text_of(got .. "/a.safetensors"))
    assert.matches("GET /stored/a.safetensors from %d%d%d+\n", log())
    is_clean()
  end)

  describe("and Python's huggingface_hub", function()
    local python = "env -u LD_PRELOAD python3 -c 'import huggingface_hub%s' 2>&1"
    local there = output(python:format("")) == ""

    ---What Python says in the environment of the test.
    local function says(code)
      local set = {}
      for name, value in pairs(environment) do set[#set + 1] = ("%s=%s"):format(name, value) end
      return output(("env %s HF_HUB_DISABLE_XET=1 "):format(table.concat(set, " ")) .. python:format("\n" .. code))
    end

    it("use what luasight fetched", function()
      if not there then
        pending "needs huggingface_hub for python3"
        return
      end
      in_pieces()
      hub.folder(ID, EVERYTHING)
      forget_log()
      environment.HF_HUB_OFFLINE = "1"
      local names = { "config.json", "tokenizer.json", "model.safetensors.index.json", "a.safetensors", "sub/b.safetensors" }
      for _, name in ipairs(names) do
        assert.equal(snapshot() .. "/" .. name .. "\n",
          says(('from huggingface_hub import hf_hub_download\nprint(hf_hub_download("%s", "%s"))'):format(ID, name)))
      end
      environment.HF_HUB_OFFLINE = nil
      -- asked again with the network there, it finds all and fetches nothing
      says(('from huggingface_hub import hf_hub_download\nprint(hf_hub_download("%s", "a.safetensors"))'):format(ID))
      assert.matches(("HEAD /%s/resolve/main/a.safetensors\n"):format(ID), log(), 1, true)
      assert.is_nil(log():find("GET /" .. ID, 1, true) or log():find("GET /stored", 1, true))
      assert.equal("some/model model []\n", says("c = huggingface_hub.scan_cache_dir()\n"
        .. "for r in c.repos: print(r.repo_id, r.repo_type, c.warnings)"))
    end)

    it("fetched what luasight uses", function()
      if not there then
        pending "needs huggingface_hub for python3"
        return
      end
      for _, name in ipairs { "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json" } do
        local path = says(('from huggingface_hub import hf_hub_download\nprint(hf_hub_download("%s", "%s"))'):format(ID, name))
        assert.equal(snapshot() .. "/" .. name .. "\n", path)
      end
      forget_log()
      assert.equal(snapshot(), hub.folder(ID, EVERYTHING))
      assert.equal("GET /api/models/some/model/revision/main\n", log())
      environment.HF_HUB_OFFLINE = "1"
      assert.equal(snapshot(), hub.folder(ID, EVERYTHING))
      assert.equal(snapshot(), hub.folder(ID, EVERYTHING, COMMIT))
    end)
  end)
end)

describe("a name on the hub", function()
  it("is what huggingface_hub takes for one", function()
    for _, name in ipairs { "gpt2", "openai-community/gpt2", "a/b.c_d-e", "_a/b", "A1/" .. ("x"):rep(96) } do
      assert.is_true(hub.is_id(name), name)
    end
    for _, name in ipairs { "", "/a", "a/", "a/b/c", "./a", "../a", "a/../b", "a--b/c", "a/b.git", "a b", "a/-b", "a/b-", "~/a",
      "a/" .. ("x"):rep(97), "a\0b", "models/pretrained/ioi" } do
      assert.is_false(hub.is_id(name), name)
    end
  end)
end)
