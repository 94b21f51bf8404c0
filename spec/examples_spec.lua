-- Every example runs to its end through the launcher. One that is new needs a line here.
local ffi = require "ffi"

ffi.cdef "char *getcwd(char *buffer, size_t size);"
local root = ffi.string(ffi.C.getcwd(ffi.new "char[4096]", 4096))

local encoder = os.getenv "LUASIGHT_SENTENCES" or "LUASIGHT_SENTENCES" -- see sentences_spec.lua

-- Arguments, a pattern of what is printed, and the file that must be there.
local runs = {
  ["logit_lens.lua"] = { "", '" Mary"', "models/pretrained/ioi/model.safetensors" },
  ["walkthrough.lua"] = { "", 'argmax counts from 0:.*%[1, 10%].*index 10 is out of range for dimension 1 with size 10.*' ..
    "weights:%s+true.*goes on with:%s+ Mary.*%[2, 14%].*8 tokens:%s+%[1, 8%].*clean:%s+ Mary.*step by step:%s+ Mary.*" ..
    "gave a drink to Mary.*logits of%s+%[1, 14, 1950%]", "models/pretrained/ioi/model.safetensors" },
  ["sentences.lua"] = { encoder, "How near they are.*1%.000.*After each layer: the nearest pair %(3 and 4%).*layer 5",
    encoder .. "/model.safetensors" },
  ["train_ioi.lua"] = { "trained --steps 3", "%d" },
}

local function exists(path)
  local file = io.open(path, "rb")
  return file and file:close()
end

describe("examples", function()
  local list = io.popen "ls examples"
  for name in list:lines() do
    if name:find "%.lua$" then
      it(("has %s, which runs"):format(name), function()
        local how = assert(runs[name], name .. " has no line in spec/examples_spec.lua")
        if how[3] and not exists(how[3]) then pending("there is no " .. how[3]) end
        local folder = os.tmpname()
        os.remove(folder)
        assert(os.execute("mkdir " .. folder) == 0)
        finally(function() os.execute("rm -r " .. folder) end)
        local status = os.execute(("cd %s && %s/bin/luasight %s/examples/%s %s > out 2>&1"):format(folder, root, root, name,
          how[1]))
        local file = assert(io.open(folder .. "/out", "rb"))
        local text = file:read "*a"
        file:close()
        assert.equal(0, status, text)
        assert.matches(how[2], text)
      end)
    end
  end
  list:close()
end)
