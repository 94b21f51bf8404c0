--- The folders of luasight and what each may use. tools/layers compares it with what the objects, the includes and the requires
--- say. A list of reasons shrinks: an entry that is not needed any more is a fault too.

---@class House
---@field rows { [1]: string, only: string? }[]  folders, and files that stand for themselves. Each may use every row before it;
---                                              `only` names the ones that it may use, "public" means what `public` names
---@field exceptions table<string, string>  "from -> to": the reason; `from` is a file or a folder, `to` a file
---@field headers table<string, string>     headers besides core/X/X.h that other folders may include: the reason
---@field long table<string, string>        files above 400 lines: the reason
---@field raw table<string, string>         Lua files outside of `native` that call the C library or ffi: the reason
---@field unloaded table<string, string>    modules that none of the runs loads: the reason
---@field most table<string, integer>       how many entries a list may have
---@field native string                     the folder that may call C
---@field lua string[]                      where modules are looked for
---@field runs string[]                     commands whose requires are recorded
---@field clients string[]                  files and folders that require only what is public
---@field public table<string, true>        what examples, pages and families may require
return {
  rows = {
    { "core/abi.h" },
    { "core/base" },
    { "core/value" },
    { "core/torch" },
    { "core/files" },
    { "core/tokenizer", only = "core/abi.h core/base" },
    { "core/model", only = "core/abi.h core/base core/value core/torch" },
    { "core/trace", only = "core/abi.h core/base core/value core/torch core/model" },
    { "core/prompt", only = "" },
  },
  exceptions = {},
  headers = {},
  long = {},
  raw = {},
  unloaded = {},
  most = {},
  native = "bindings",
  lua = { "lua", "bindings", "models" },
  runs = {},
  clients = { "examples", "docs", "README.md" },
  public = {},
}
