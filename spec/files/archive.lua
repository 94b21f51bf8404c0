-- Zip archives and pickles made by hand, for files that torch.save would never write.
local bit = require "bit"

local archive = {}

---A number of `width` bytes, the lowest first.
function archive.number(n, width)
  local bytes = {}
  for i = 1, width do
    bytes[i] = string.char(n % 256)
    n = math.floor(n / 256)
  end
  return table.concat(bytes)
end

local number = archive.number

---An archive of entries { name, bytes }, stored as they are. `change` may give other fields of an entry of the directory:
---method, flags, size, packed, place, name.
---@param entries { [1]: string, [2]: string, change: table? }[]
---@return string
function archive.zip(entries)
  local parts, directory, at = {}, {}, 0
  for i, entry in ipairs(entries) do
    local name, bytes, change = entry[1], entry[2], entry.change or {}
    local place = at
    local pad = -(at + 30 + #name) % 64 -- PyTorch aligns what is stored
    if pad > 0 and pad < 4 then pad = pad + 64 end
    local extra = pad > 0 and "FB" .. number(pad - 4, 2) .. ("Z"):rep(pad - 4) or ""
    parts[i] = "PK\3\4" .. number(0, 22) .. number(#name, 2) .. number(#extra, 2) .. name .. extra .. bytes
    at = at + #parts[i]
    local listed = change.name or name
    directory[i] = "PK\1\2" .. number(0, 4) .. number(change.flags or 0, 2) .. number(change.method or 0, 2) .. number(0, 8)
      .. number(change.packed or #bytes, 4) .. number(change.size or #bytes, 4) .. number(#listed, 2)
      .. number(#(change.extra or ""), 2) .. number(0, 10) .. number(change.place or place, 4) .. listed .. (change.extra or "")
  end
  local all = table.concat(directory)
  return table.concat(parts) .. all .. "PK\5\6" .. number(0, 4) .. number(#entries, 2) .. number(#entries, 2)
    .. number(#all, 4) .. number(at, 4) .. number(0, 2)
end

---A file of PyTorch with a pickle made by hand, and the storages by key.
---@param pickle string  without the two bytes of its protocol
---@param storages? table<string, string>
---@return string
function archive.torch(pickle, storages)
  local entries = { { "a/data.pkl", "\128\2" .. pickle }, { "a/byteorder", "little" } }
  for key, bytes in pairs(storages or {}) do entries[#entries + 1] = { "a/data/" .. key, bytes } end
  return archive.zip(entries)
end

---Instructions that push a text, a number, a name of Python, a tuple of what they are given.
function archive.text(s) return "X" .. number(#s, 4) .. s end
function archive.int(n) return n < 0 and "J" .. number(bit.tobit(n) % 2 ^ 32, 4) or "\138\8" .. number(n, 8) end
function archive.name(module, name) return "c" .. module .. "\n" .. name .. "\n" end
function archive.tuple(...) return "(" .. table.concat({ ... }) .. "t" end

---A storage of floats.
function archive.storage(key, elements, class)
  return archive.tuple(archive.text "storage", archive.name("torch", class or "FloatStorage"), archive.text(key),
    archive.text "cpu", archive.int(elements)) .. "Q"
end

local function ints(list)
  local all = {}
  for i, n in ipairs(list) do all[i] = archive.int(n) end
  return archive.tuple(unpack(all))
end

---A tensor on a storage.
function archive.tensor(storage, offset, shape, strides)
  return archive.name("torch._utils", "_rebuild_tensor_v2") .. archive.tuple(storage, archive.int(offset), ints(shape),
    ints(strides), "\137", archive.name("collections", "OrderedDict") .. ")R") .. "R"
end

---A dict of tensors, by name and instructions, and the end.
function archive.state(list)
  local parts = { "}(" }
  for _, pair in ipairs(list) do parts[#parts + 1] = archive.text(pair[1]) .. pair[2] end
  return table.concat(parts) .. "u."
end

return archive
