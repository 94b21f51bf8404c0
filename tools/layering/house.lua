--- The folders of luasight and the folders that each may use. tools/layers compares this table with the symbols of objects,
--- with includes and with requires. An entry of a list of reasons that is no longer needed is a fault too, so the lists can
--- only shrink.

---@class House
---@field rows HouseRow[]         each folder may use itself and every row before it
---@field trees string[]          the folders in which every file belongs to a row
---@field lua string[]            the folders in which modules are searched
---@field native string           the folder whose files may call C
---@field public string[]         the modules that examples, pages and families may require
---@field clients string[]        files and folders that require only public modules
---@field others string[]         folders whose files have no row; the limit of length is checked for them too
---@field runs string[]           commands whose requires are recorded
---@field most table<string, integer>       the largest number of entries of each list of reasons
---@field exceptions table<string, string>  uses of a later row, "from -> to": a file or folder -> a file or C function
---@field headers table<string, string>     headers other than core/X/X.h that other folders include
---@field long table<string, string>        files above 400 lines
---@field raw table<string, string>         Lua files outside of `native` that call the C library or ffi
---@field unloaded table<string, string>    modules that are not loaded by any of the runs

---@class HouseRow
---@field [1] string    a folder, or a single file
---@field only string?  the rows that it may use, where these are not all rows before it; "public" stands for `public`
---@field also string?  files and folders elsewhere that belong to this row

local SPEC = "the tests of one subject, with their data; to be split by what they test"

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
    { "core/start" }, -- runs when the library is loaded, and connects the other folders
    { "core/prompt", only = "core/abi.h" }, -- a library of its own, which the line editor loads
    { "bindings/luasight/ffi" },
    { "lua/luasight/base" },
    { "lua/luasight/files" },
    { "lua/luasight/tensor" },
    { "lua/luasight/nn" },
    { "lua/luasight/family.lua" }, -- the functions that families of models may use
    { "lua/luasight/trace" },
    { "lua/luasight/model" },
    { "lua/luasight/text" },
    { "lua/luasight/view" },
    { "lua/luasight/lm" },
    { "lua/luasight/methods" },
    { "lua/luasight/init.lua" },
    { "models/luasight/models", only = "public" },
    { "lua/luasight/shell" },
    { "lua/luasight/command" },
  },
  trees = { "core", "bindings", "lua", "models" },
  lua = { "lua", "bindings", "models" },
  native = "bindings",
  public = {
    "luasight", "luasight.family",
    "luasight.command.options", -- examples read their options as commands do
    "luasight.models.parts.decoder", "luasight.models.gpt2", "luasight.models.llama", "luasight.models.parts.names",
  },
  clients = { "README.md", "docs", "examples" },
  others = { "examples", "spec", "tools" },
  runs = { "tools/with-build luajit tools/layering/tour.lua" },
  most = { exceptions = 5, raw = 0 },

  exceptions = {
    -- lua
    ["bindings/luasight/ffi/init.lua -> lua/luasight/base/error.lua"] = "raises errors by itself; they could be handed in",
    ["lua/luasight/text/tokenizer/init.lua -> lua/luasight/lm/hub/init.lua"] =
      "opens tokenizers of the hub; the way to find a folder could be handed in",
    ["lua/luasight/trace/tracer.lua -> lua/luasight/model/cache.lua"] = "tracer:cache; the model could register it",
    ["lua/luasight/trace/tracer.lua -> lua/luasight/view/plot/graph.lua"] =
      "tracer:graph():plot; the picture could register itself",
    ["lua/luasight/lm/loader.lua -> models/luasight/models/init.lua"] =
      "finds the family of a model; families could register themselves",
  },

  headers = {
  },

  long = {
    ["spec/abi/arguments.lua"] = "a valid call of every function of the header",
    ["spec/trace/graph_file_spec.lua"] = SPEC,
    ["spec/trace/batch_memory_spec.lua"] = SPEC,
    ["spec/operators/trial.lua"] = "one table of what random arguments operators get; run by hand",
    ["core/files/pickle.c"] = "one machine with a case for each instruction",
    ["spec/text/tokenizer_spec.lua"] = SPEC,
    ["spec/command/launcher_spec.lua"] = SPEC,
    ["spec/lm/hub_spec.lua"] = SPEC,
  },

  raw = {},

  unloaded = {},
}
