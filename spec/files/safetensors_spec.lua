-- Safetensors files: what is written comes back, and a hostile header is refused with a reason.
local ffi = require "ffi"
local ls = require "luasight"
local torch, safetensors = ls.torch, ls.safetensors

local DATA = os.getenv "LUASIGHT_DATA" or "../shared/data"

local folder, path

---Eight bytes, little-endian.
local function length_of(n)
  local bytes = {}
  for i = 1, 8 do
    bytes[i] = string.char(n % 256)
    n = math.floor(n / 256)
  end
  return table.concat(bytes)
end

local function put(bytes)
  local file = assert(io.open(path, "wb"))
  file:write(bytes)
  file:close()
end

local function bytes_of(name)
  local file = assert(io.open(name, "rb"))
  local bytes = file:read "*a"
  file:close()
  return bytes
end

---A file with this header and so many bytes of data.
local function file_of(header, data)
  if type(data) == "number" then data = ("\0"):rep(data) end
  return length_of(#header) .. header .. (data or "")
end

---The error that opening and reading all of the file gives.
local function refusal(bytes)
  put(bytes)
  local ok, err = pcall(safetensors.load, path)
  assert.is_false(ok, "the file was accepted")
  assert.are.equal("table", type(err))
  assert.are.equal(path, err.message:sub(1, #path))
  assert.is_nil(err.message:find "%c", "the message has more than one line")
  return err
end

local function item(dtype, shape, from, to)
  return ('{"dtype":"%s","shape":%s,"data_offsets":[%s,%s]}'):format(dtype, shape, from, to)
end

local function with(entry, data) return file_of('{"x":' .. entry .. "}", data) end

local F4 = item("F32", "[1]", 0, 4)

-- Each: what is wrong, the file, what the message says, the code where it is not "format".
local attacks = {
  { "an empty file", "", "is empty" },
  { "seven bytes", "\1\0\0\0\0\0\0", "has 7 bytes" },
  { "a header longer than the file", length_of(100) .. "{}", "claims 100 bytes" },
  { "a header length of 2^64 - 1", ("\255"):rep(8) .. "{}", "100 MB" },
  { "a header length of 2^63", "\0\0\0\0\0\0\0\128{}", "100 MB" },
  { "a header just above 100 MB", length_of(100000001) .. "{}", "100 MB" },
  { "a header of no bytes", length_of(0), "begin with {" },
  { "a header that begins with a blank", file_of " {}", "begin with {" },
  { "a header that is a list", file_of "[]", "begin with {" },
  { "a Git LFS pointer", "version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "git lfs pull" },
  { "a PyTorch archive", "PK\3\4" .. ("\9"):rep(40), "directory of the zip archive is not at its end" },
  { "a web page", "<!DOCTYPE html><html></html>", "web page" },
  { "a header that never closes", file_of("{", 0), "ends where" },
  { "a header that ends in a name", file_of '{"x', "ends in the name" },
  { "a header that ends in a tensor", file_of('{"x":{"dtype":"F32"', 4), "ends inside a description" },
  { "a missing colon", file_of('{"x"' .. F4 .. "}", 4), "colon" },
  { "a missing comma", file_of('{"x":' .. F4 .. '"y":' .. F4 .. "}", 4), "comma" },
  { "a comma at the end", file_of('{"x":' .. F4 .. ",}", 4), "in quotes" },
  { "text behind the header", file_of('{"x":' .. F4 .. "}x", 4), "behind the closing brace" },
  { "a second object behind the header", file_of('{"x":' .. F4 .. "}{}", 4), "behind the closing brace" },
  { "a NUL behind the header", file_of('{"x":' .. F4 .. "}\0", 4), "behind the closing brace" },
  { "a name without quotes", file_of("{x:" .. F4 .. "}", 4), "in quotes" },
  { "crossed brackets", with('{"shape":[1}]', 4), "not valid JSON at byte" },
  { "invalid UTF-8 in a name", file_of('{"\255\254":' .. F4 .. "}", 4), "not valid JSON at byte" },
  { "overlong UTF-8 in a name", file_of('{"\192\128":' .. F4 .. "}", 4), "not valid JSON at byte" },
  { "half a surrogate in a name", file_of('{"\\ud800":' .. F4 .. "}", 4), "not valid JSON at byte" },
  { "a NUL in a name", file_of('{"a\\u0000b":' .. F4 .. "}", 4), "not valid JSON at byte" },
  { "a raw line break in a name", file_of('{"a\nb":' .. F4 .. "}", 4), "not valid JSON at byte" },
  { "an escaped line break in the name of a bad tensor", file_of('{"a\\nb\\u001b[2J\\u009b":{}}', 4), "a\\x0Ab" },
  { "a name of a megabyte in a bad tensor", file_of('{"' .. ("n"):rep(2 ^ 20) .. '":{}}', 4), "%.%.%." },
  { "a bomb of brackets", file_of('{"x":' .. ("["):rep(1e6), 4), "too deep" },
  { "a bomb of braces", file_of(('{"x":'):rep(1e5), 4), "too deep" },
  { "a bomb of closing brackets", file_of('{"x":' .. ("]"):rep(1e5), 4), "ends inside a description" },
  { "a description of a megabyte", with('{"shape":[' .. ("1,"):rep(5e5) .. "1]}", 4), "at most 65536" },
  { "a tensor that is a number", with("1", 4), "not a JSON object" },
  { "a tensor that is null", with("null", 4), "not a JSON object" },
  { "a tensor that is nothing", with("", 4), "ends inside a description" },
  { "no dtype", with('{"shape":[1],"data_offsets":[0,4]}', 4), "no dtype" },
  { "a dtype that is a number", with('{"dtype":1,"shape":[1],"data_offsets":[0,4]}', 4), "no dtype" },
  { "an unknown dtype", with(item("F31", "[1]", 0, 4), 4), 'unknown dtype "F31"' },
  { "a dtype of four bits", with(item("F4", "[2]", 0, 1), 1), "dtype F4" },
  { "a dtype of six bits", with(item("F6_E2M3", "[4]", 0, 3), 3), "dtype F6_E2M3" },
  { "no shape", with('{"dtype":"F32","data_offsets":[0,4]}', 4), "no shape" },
  { "a shape that is a number", with(item("F32", "1", 0, 4), 4), "no shape" },
  { "a negative size", with(item("F32", "[-1]", 0, 4), 4), "dimension 0" },
  { "a size that is no whole number", with(item("F32", "[1.0]", 0, 4), 4), "dimension 0" },
  { "a size that is a text", with(item("F32", '[1,"1"]', 0, 4), 4), "dimension 1" },
  { "a size of 2^64", with(item("F32", "[18446744073709551616]", 0, 4), 4), "not valid JSON at byte" },
  { "a shape whose product overflows to 0", with(item("F32", "[4294967296,4294967296]", 0, 0), 0), "overflows" },
  { "a shape whose bytes overflow", with(item("F64", "[2305843009213693952]", 0, 0), 0), "overflows" },
  { "a shape that overflows but for a zero", with(item("F32", "[0,9223372036854775807,4]", 0, 0), 0), "overflows" },
  { "65 dimensions", with(item("U8", "[" .. ("1,"):rep(64) .. "1]", 0, 1), 1), "65 dimensions" },
  { "no data_offsets", with('{"dtype":"F32","shape":[1]}', 4), "no data_offsets" },
  { "one data offset", with('{"dtype":"F32","shape":[1],"data_offsets":[0]}', 4), "two whole numbers" },
  { "three data offsets", with('{"dtype":"F32","shape":[1],"data_offsets":[0,4,8]}', 4), "two whole numbers" },
  { "a negative offset", with(item("F32", "[1]", -4, 0), 4), "two whole numbers" },
  { "an offset in floating point", with(item("F32", "[1]", 0, "4.0"), 4), "two whole numbers" },
  { "an end before the begin", with(item("F32", "[1]", 4, 0), 4), "before they begin" },
  { "data beyond the file", with(item("F32", "[2]", 0, 8), 4), "cut short" },
  { "data at 2^63 - 1", with(item("U8", "[0]", "9223372036854775807", "9223372036854775807"), 4), "cut short" },
  { "fewer bytes than the shape needs", with(item("F32", "[2]", 0, 4), 4), "need 8 bytes, its data_offsets hold 4" },
  { "more bytes than the shape needs", with(item("F16", "[1]", 0, 4), 4), "need 2 bytes, its data_offsets hold 4" },
  { "two tensors on the same data", file_of('{"x":' .. F4 .. ',"y":' .. F4 .. "}", 4), 'inside the data of "x"' },
  { "two tensors that overlap",
    file_of('{"x":' .. item("U8", "[4]", 0, 4) .. ',"y":' .. item("U8", "[4]", 3, 7) .. "}", 7), 'inside the data of "x"' },
  { "a gap in front", with(item("F32", "[1]", 4, 8), 8), "belong to no tensor" },
  { "a gap between two tensors",
    file_of('{"x":' .. F4 .. ',"y":' .. item("F32", "[1]", 8, 12) .. "}", 12), "belong to no tensor" },
  { "bytes behind the last tensor", with(F4, 5), "1 bytes behind" },
  { "data without tensors", file_of("{}", 1), "1 bytes behind" },
  { "a file cut short by one byte", with(F4, 3), "cut short" },
  { "a name twice", file_of('{"x":' .. F4 .. ',"x":' .. item("F32", "[1]", 4, 8) .. "}", 8), "twice" },
  { "a name twice, once in escapes",
    file_of('{"x":' .. F4 .. ',"\\u0078":' .. item("F32", "[1]", 4, 8) .. "}", 8), "twice" },
  { "a key of a tensor twice", with('{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}', 4), "duplicate" },
  { "an unknown key", with('{"dtype":"F32","shape":[1],"data_offsets":[0,4],"code":"rm"}', 4), 'unknown key "code"' },
  { "metadata that is a list", file_of '{"__metadata__":[]}', "not a JSON object" },
  { "metadata that holds a number", file_of '{"__metadata__":{"a":1}}', 'has "a", which is not a text' },
  { "metadata that holds an object", file_of '{"__metadata__":{"a":{}}}', 'has "a", which is not a text' },
  { "metadata twice", file_of '{"__metadata__":{},"__metadata__":{}}', "twice" },
  { "a key of the metadata twice", file_of '{"__metadata__":{"a":"","a":""}}', "duplicate" },
  { "metadata of 17 MB", file_of('{"__metadata__":{"a":"' .. ("x"):rep(17 * 2 ^ 20) .. '"}}'), "at most 16777216" },
  { "a BOOL that is 2", with(item("BOOL", "[3]", 0, 3), "\0\1\2"), "element 2 is 2" },
}

describe("safetensors", function()
  local live

  before_each(function()
    collectgarbage()
    collectgarbage()
    live = ls.live()
    folder = os.tmpname()
    os.remove(folder)
    assert(os.execute("mkdir " .. folder))
    path = folder .. "/x.safetensors"
  end)

  after_each(function()
    os.execute("rm -r " .. folder)
    collectgarbage()
    collectgarbage()
    assert.are.equal(live, ls.live())
  end)

  describe("refuses", function()
    for _, attack in ipairs(attacks) do
      local what, bytes, says, code = unpack(attack)
      it(what, function()
        local err = refusal(bytes)
        assert.is_truthy(err.message:find(says), err.message)
        assert.are.equal(code or "format", err.code)
      end)
    end

    it("a missing file, a folder and a device, each by name", function()
      for name, says in pairs {
        [folder .. "/none"] = "No such file", [folder] = "is a folder", ["/dev/null"] = "plain file",
      } do
        local ok, err = pcall(safetensors.open, name)
        assert.is_false(ok)
        assert.are.equal("io", err.code)
        assert.is_truthy(err.message:find(says), err.message)
      end
    end)

    it("every prefix of a good file", function()
      safetensors.save(path, { a = torch.tensor { 1, 2 }, b = torch.tensor({ 3 }, { dtype = "int64" }) })
      local bytes = bytes_of(path)
      for n = 0, #bytes - 1 do assert.is_false((pcall(safetensors.load, put(bytes:sub(1, n)) or path))) end
    end)
  end)

  describe("reads", function()
    it("a file without tensors, and blanks behind and within the header", function()
      put(file_of "{}")
      assert.are.same({}, safetensors.load(path))
      put(file_of('{ "x" :\n' .. item("I64", "[ ]", 0, 8) .. "\t}  \r\n", "\7" .. ("\0"):rep(7)))
      assert.are.equal(7, safetensors.load(path).x:item())
    end)

    it("names of any kind", function()
      put(file_of('{"":' .. item("U8", "[1]", 0, 1) .. ',"\\u00e9\\"\\\\":' .. item("U8", "[1]", 1, 2) .. "}", "\1\2"))
      local tensors = safetensors.load(path)
      assert.are.equal(1, tensors[""]:item())
      assert.are.equal(2, tensors["é\"\\"]:item())
    end)

    it("64 dimensions and tensors without elements", function()
      put(file_of('{"deep":' .. item("U8", "[" .. ("1,"):rep(63) .. "1]", 0, 1) .. ',"none":' ..
        item("F32", "[0,3]", 1, 1) .. "}", "\5"))
      local file = safetensors.open(path)
      assert.are.equal(64, #file:describe("deep").shape)
      assert.are.equal("[0, 3]", tostring(file:describe("none").shape))
      assert.are.equal("[0, 3]", tostring(file:get("none").shape))
    end)

    it("tensors that stand at odd addresses", function()
      for blanks = 0, 7 do
        local header = '{"a":' .. item("U8", "[1]", 0, 1) .. ',"x":' .. item("I32", "[2]", 1, 9) .. "}"
        put(file_of(header .. (" "):rep(blanks), "\9\1\0\0\0\2\0\0\0"))
        assert.are.same({ 1, 2 }, safetensors.load(path).x:tolist())
      end
    end)

    -- The bytes of 1 in every dtype that one of the supported libtorches knows.
    local ones = {
      BOOL = { "bool", "\1" }, U8 = { "uint8", "\1" }, I8 = { "int8", "\1" }, I16 = { "int16", "\1\0" },
      U16 = { "uint16", "\1\0" }, I32 = { "int32", "\1\0\0\0" }, U32 = { "uint32", "\1\0\0\0" },
      I64 = { "int64", "\1" .. ("\0"):rep(7) }, U64 = { "uint64", "\1" .. ("\0"):rep(7) },
      F8_E5M2 = { "float8_e5m2", "\60" }, F8_E4M3 = { "float8_e4m3fn", "\56" }, F8_E8M0 = { "float8_e8m0fnu", "\127" },
      F8_E4M3FNUZ = { "float8_e4m3fnuz", "\64" }, F8_E5M2FNUZ = { "float8_e5m2fnuz", "\64" },
      F16 = { "float16", "\0\60" },
      BF16 = { "bfloat16", "\128\63" }, F32 = { "float32", "\0\0\128\63" },
      F64 = { "float64", ("\0"):rep(6) .. "\240\63" },
      C64 = { "complex64", "\0\0\128\63\0\0\0\0" },
    }
    local old = { U16 = true, U32 = true, U64 = true, F8_E5M2 = true, F8_E4M3 = true, F8_E8M0 = true,
      F8_E4M3FNUZ = true, F8_E5M2FNUZ = true } -- these an old libtorch does not have
    for code, want in pairs(ones) do
      it("dtype " .. code, function()
        local name, bytes = want[1], want[2]
        local whole = with(item(code, "[]", 0, #bytes), bytes)
        put(whole)
        assert.are.equal(name, safetensors.open(path):describe("x").dtype)
        local ok, tensors = pcall(safetensors.load, path)
        if not ok and old[code] then
          assert.is_truthy(tensors.message:find(name, 1, true), tensors.message)
          return
        end
        assert.is_true(ok, tostring(tensors))
        assert.are.equal(name, tensors.x.dtype)
        if code ~= "C64" then
          local value = tensors.x:to("float64"):item()
          assert.are.equal(1, value == true and 1 or value)
        end
        safetensors.save(path, tensors)
        assert.are.equal(bytes, bytes_of(path):sub(-#bytes))
      end)
    end

    it("the names, shapes and metadata without touching the data", function()
      safetensors.save(path, { b = torch.zeros(2, 3), a = torch.zeros(4) },
        { metadata = { format = "pt", ["é"] = "\n" } })
      local file = safetensors.open(path)
      assert.are.same({ "a", "b" }, file:keys())
      assert.is_true(file:has "a")
      assert.is_false(file:has "c")
      local entry = file:describe "b"
      assert.are.equal("float32", entry.dtype)
      assert.are.equal(24, entry.bytes)
      assert.are.equal("[2, 3]", tostring(entry.shape))
      assert.are.same({ format = "pt", ["é"] = "\n" }, file:metadata())
      local ok, err = pcall(file.get, file, "bb")
      assert.is_false(ok)
      assert.are.equal("name", err.code)
      assert.is_truthy(tostring(err.message):find('did you mean "b"', 1, true), err.message)
      file:release()
      file:release()
      ok, err = pcall(file.keys, file)
      assert.is_false(ok)
      assert.are.equal("state", err.code)
    end)

    it("tensors that outlive the file and never change it", function()
      safetensors.save(path, { x = torch.tensor { 1, 2, 3 } })
      local before = bytes_of(path)
      local file = safetensors.open(path)
      local x = file:get "x"
      file:release()
      x:mul_(2)
      assert.are.same({ 2, 4, 6 }, x:tolist())
      assert.are.equal(before, bytes_of(path))
      assert.are.same({ 1, 2, 3 }, safetensors.load(path).x:tolist())
    end)
  end)

  describe("writes", function()
    it("the same bytes as the reference writer", function()
      safetensors.save(path, {
        b = torch.tensor({ 1 }, { dtype = "uint8" }), a = torch.tensor({ 2 }, { dtype = "uint8" }),
        z = torch.tensor({ { 3 } }, { dtype = "int64" }), ["m\n"] = torch.tensor { 0, 0 },
      }, { metadata = { format = "pt" } })
      local header = '{"__metadata__":{"format":"pt"},"z":' .. item("I64", "[1,1]", 0, 8) .. ',"m\\n":' ..
        item("F32", "[2]", 8, 16) .. ',"a":' .. item("U8", "[1]", 16, 17) .. ',"b":' .. item("U8", "[1]", 17, 18) .. "}"
      header = header .. (" "):rep(-#header % 8)
      assert.are.equal(file_of(header, "\3" .. ("\0"):rep(15) .. "\2\1"), bytes_of(path))
    end)

    it("views as they are seen", function()
      local x = torch.tensor { { 1, 2, 3 }, { 4, 5, 6 } }
      safetensors.save(path, { t = x:t(), column = x[":, 1"], row = x[1], grown = x[":, 0:1"]:expand { 2, 3 } })
      local back = safetensors.load(path)
      assert.are.same({ { 1, 4 }, { 2, 5 }, { 3, 6 } }, back.t:tolist())
      assert.are.same({ 2, 5 }, back.column:tolist())
      assert.are.same({ 4, 5, 6 }, back.row:tolist())
      assert.are.same({ { 1, 1, 1 }, { 4, 4, 4 } }, back.grown:tolist())
    end)

    it("over the file that its tensors are mapped from", function()
      safetensors.save(path, { x = torch.tensor { 1, 2, 3 } })
      local x = safetensors.load(path).x
      safetensors.save(path, { x = x * 2, y = torch.zeros(100) })
      assert.are.same({ 1, 2, 3 }, x:tolist())
      assert.are.same({ 2, 4, 6 }, safetensors.load(path).x:tolist())
    end)

    it("nothing where it fails, and leaves what is there", function()
      safetensors.save(path, { x = torch.tensor { 1 } })
      local before = bytes_of(path)
      local function fails(code, says, ...)
        local ok, err = pcall(safetensors.save, ...)
        assert.is_false(ok, says)
        assert.are.equal(code, err.code)
        assert.is_truthy(err.message:find(says), err.message)
      end
      local x = torch.tensor { 2 }
      fails("io", "No such file", folder .. "/none/x.safetensors", { x = x })
      fails("io", "Is a directory", folder, { x = x })
      fails("argument", "not a tensor but a number", path, { x = 1 })
      fails("argument", "cannot be the name", path, { x })
      fails("argument", "cannot be the name", path, { ["a\0b"] = x })
      fails("argument", "not valid UTF%-8", path, { ["\255"] = x })
      fails("argument", "reserves this name", path, { __metadata__ = x })
      fails("argument", "metadata \"step\" is a number", path, { x = x }, { metadata = { step = 1 } })
      fails("name", "no option \"step\"", path, { x = x }, { step = "1" })
      fails("argument", "takes a table", path, nil)
      assert.are.equal(before, bytes_of(path))
      local list = assert(io.popen("ls -A " .. folder))
      assert.are.equal("x.safetensors\n", list:read "*a")
      list:close()
    end)

    it("nothing on a full disk", function()
      if not os.getenv "LUASIGHT_FULL_DISK" then
        pending("set LUASIGHT_FULL_DISK to a folder on a small, full file system")
        return
      end
      local full = os.getenv "LUASIGHT_FULL_DISK" .. "/x.safetensors"
      local ok, err = pcall(safetensors.save, full, { x = torch.zeros(2 ^ 22) })
      assert.is_false(ok)
      assert.are.equal("io", err.code)
      assert.is_truthy(err.message:find "No space left", err.message)
      assert.is_nil((io.open(full)))
    end)
  end)

  it("reads the published activations of nano-sort", function()
    local name = DATA .. "/models/nano-sort/golden_activations.safetensors"
    if not io.open(name) then
      pending("LUASIGHT_DATA has no models/nano-sort")
      return
    end
    local file = safetensors.open(name)
    assert.are.equal(25, #file:keys())
    assert.are.equal("[3, 11]", tostring(file:describe("idx").shape))
    assert.is_truthy(file:metadata().note)
    local tensors = safetensors.load(name)
    local bytes = bytes_of(name)
    for key, x in pairs(tensors) do assert.are.equal("float32", x.dtype, key) end
    local out = ffi.new "double[1]"
    ffi.copy(out, bytes, 8)
    local first = ffi.new "float[1]"
    ffi.copy(first, bytes:sub(9 + #bytes:match "^........(%b{}%s*)"), 4)
    assert.are.equal(first[0], tensors.idx[{ 0, 0 }]:item())
  end)
end)
