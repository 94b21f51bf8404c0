--- Computes SHA-256 and SHA-1 of texts and files with OpenSSL's libcrypto, which libcurl needs too.
local ffi = require "ffi"

ffi.cdef [[
void *EVP_MD_CTX_new(void);
void EVP_MD_CTX_free(void *);
const void *EVP_sha256(void);
const void *EVP_sha1(void);
int EVP_DigestInit_ex(void *, const void *, void *);
int EVP_DigestUpdate(void *, const void *, size_t);
int EVP_DigestFinal_ex(void *, unsigned char *, unsigned int *);
]]

local digest = {}
local library
local BLOCK = 2 ^ 20

local function load()
  if library == nil then
    library = false
    for _, name in ipairs { "libcrypto.so.3", "libcrypto.so.1.1" } do
      local ok, lib = pcall(ffi.load, name)
      if ok then
        library = lib
        break
      end
    end
  end
  return library or nil
end

---Whether libcrypto is installed.
---@return boolean
function digest.is_there() return load() ~= nil end

---Returns the digest, in hexadecimal, of a text followed by the content of a file; or nil and the reason where the file
---cannot be read.
---@param kind "sha256"|"sha1"
---@param text string
---@param path string?
---@return string? digest, string? problem
function digest.of(kind, text, path)
  local lib = load()
  local context = ffi.gc(lib.EVP_MD_CTX_new(), lib.EVP_MD_CTX_free)
  lib.EVP_DigestInit_ex(context, kind == "sha256" and lib.EVP_sha256() or lib.EVP_sha1(), nil)
  lib.EVP_DigestUpdate(context, text, #text)
  if path then
    local file, problem = io.open(path, "rb")
    if not file then return nil, problem end
    for block in function() return file:read(BLOCK) end do lib.EVP_DigestUpdate(context, block, #block) end
    file:close()
  end
  local bytes, count = ffi.new "unsigned char[64]", ffi.new "unsigned int[1]"
  lib.EVP_DigestFinal_ex(context, bytes, count)
  return (ffi.string(bytes, count[0]):gsub(".", function(c) return ("%02x"):format(c:byte()) end))
end

return digest
