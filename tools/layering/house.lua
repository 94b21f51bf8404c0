--- The folders of luasight and what each may use. tools/layers compares it with what the objects, the includes and the requires
--- say. An entry of a list of reasons that is not needed any more is a fault too, so the lists can only shrink.

---@class House
---@field rows HouseRow[]         each folder may use itself and every row before it
---@field trees string[]          the folders in which every file belongs to a row
---@field lua string[]            where modules are looked for
---@field native string           the folder whose files may call C
---@field public string[]         the modules that examples, pages and families may require
---@field clients string[]        files and folders that require only those
---@field others string[]         folders whose files have no row, but are not too long either
---@field runs string[]           commands whose requires are recorded
---@field most table<string, integer>       how many entries a list of reasons may have
---@field exceptions table<string, string>  arrows upwards, "from -> to": a file or folder -> a file or C function
---@field headers table<string, string>     headers besides core/X/X.h that other folders include
---@field long table<string, string>        files above 400 lines
---@field raw table<string, string>         Lua files outside of `native` that call the C library or ffi
---@field unloaded table<string, string>    modules that none of the runs loads

---@class HouseRow
---@field [1] string    a folder, or a file that stands for itself
---@field only string?  the rows that it may use, where these are not all before it; "public" means the modules of `public`
---@field also string?  files and folders elsewhere that count as this one

local BELOW = "the lower folder asks the higher one directly; a pointer or an argument should stand between"
local BINDING = "calls the core where it is used; such calls belong into the binding"
local FAMILIES = "the door does not offer it to families yet"
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
    { "core/start" }, -- what connects the others when the library starts
    { "core/prompt", only = "core/abi.h" }, -- a library by itself, which the line editor loads
    { "bindings/luasight/ffi" },
    { "lua/luasight/base", also = [[
      lua/luasight/near.lua lua/luasight/colon.lua lua/luasight/progress.lua lua/luasight/error.lua ]] },
    { "lua/luasight/files", also = [[
      lua/luasight/safetensors.lua lua/luasight/checkpoint.lua ]] },
    { "lua/luasight/tensor", also = [[
      lua/luasight/tensor.lua lua/luasight/values.lua lua/luasight/methods.lua lua/luasight/operators.lua
      lua/luasight/compat.lua lua/luasight/index.lua lua/luasight/torch.lua lua/luasight/print_tensor.lua ]] },
    { "lua/luasight/nn", also = [[
      lua/luasight/nn.lua lua/luasight/record.lua lua/luasight/optim.lua ]] },
    { "lua/luasight/trace", also = [[
      lua/luasight/trace.lua lua/luasight/tracer.lua lua/luasight/steps.lua lua/luasight/batch.lua
      lua/luasight/attached.lua lua/luasight/gradients.lua lua/luasight/scan.lua lua/luasight/edits.lua
      lua/luasight/tokens.lua lua/luasight/inputs.lua lua/luasight/graph_words.lua ]] },
    { "lua/luasight/model", also = [[
      lua/luasight/model.lua lua/luasight/handle.lua lua/luasight/place.lua lua/luasight/points.lua
      lua/luasight/aliases.lua lua/luasight/rename.lua lua/luasight/cache.lua ]] },
    { "lua/luasight/text", also = [[
      lua/luasight/tokenizer.lua lua/luasight/tokenizer_batch.lua lua/luasight/tokenizer_files.lua
      lua/luasight/tokenizer_ids.lua lua/luasight/tokenizer_older.lua lua/luasight/tokenizer_sentencepiece.lua
      lua/luasight/tokenizer_trainer.lua lua/luasight/jinja.lua lua/luasight/jinja ]] },
    { "lua/luasight/view", also = [[
      lua/luasight/plot.lua lua/luasight/plot lua/luasight/outline.lua ]] },
    { "lua/luasight/lm", also = [[
      lua/luasight/language_model.lua lua/luasight/prompt.lua lua/luasight/generation.lua lua/luasight/generation
      lua/luasight/loader.lua lua/luasight/layout.lua lua/luasight/hub.lua lua/luasight/hub lua/luasight/pieces.lua ]] },
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
    "luasight",
    "luasight.models.decoder", "luasight.models.gpt2", "luasight.models.llama", "luasight.models.names",
  },
  clients = { "README.md", "docs", "examples" },
  others = { "examples", "spec", "tools" },
  runs = { "tools/with-build luajit tools/layering/tour.lua" },
  most = {},

  exceptions = {
    -- core
    ["core/torch -> ls__stream_value"] = "belongs to core/value",
    ["core/model/node.c -> ls__trace_check_field"] = "the recording front door belongs to core/trace",
    ["core/model/node.c -> ls__trace_record"] = "settling has a form for functions and one for traces",
    ["core/model/node.c -> ls_trace_abandon"] = BELOW,
    ["core/model/run.c -> ls__narrow_cut"] = BELOW,
    ["core/model/run.c -> ls__trace_protect"] = BELOW,
    ["core/model/run.c -> ls__trace_replaces"] = BELOW,
    ["core/prompt/prompt.c -> core/base/base.h"] = "it is part of the whole library so far",
    -- lua
    ["bindings/luasight/ffi/init.lua -> lua/luasight/error.lua"] = "raises errors by itself; they could be handed in",
    ["lua/luasight/tokenizer.lua -> lua/luasight/hub.lua"] =
      "opens tokenizers of the hub; the way to find a folder could be handed in",
    ["lua/luasight/tracer.lua -> lua/luasight/cache.lua"] = "tracer:cache; the model could register it",
    ["lua/luasight/tracer.lua -> lua/luasight/plot/graph.lua"] = "tracer:graph():plot; the picture could register itself",
    ["lua/luasight/loader.lua -> models/luasight/models/init.lua"] =
      "finds the family of a model; families could register themselves",
    -- models
    ["models -> lua/luasight/error.lua"] = FAMILIES,
    ["models -> lua/luasight/near.lua"] = FAMILIES,
    ["models -> lua/luasight/tensor.lua"] = FAMILIES,
    ["models -> lua/luasight/record.lua"] = FAMILIES,
    ["models -> lua/luasight/nn.lua"] = FAMILIES,
    ["models -> lua/luasight/nn/norm.lua"] = FAMILIES,
    ["models -> lua/luasight/nn/parameter.lua"] = FAMILIES,
    ["models -> lua/luasight/nn/text.lua"] = FAMILIES,
    -- what users read
    ["docs/adding-a-family.md -> lua/luasight/tensor.lua"] = FAMILIES,
    ["examples/data/arguments.lua -> lua/luasight/command/options.lua"] = "examples read their options as commands do",
  },

  headers = {
    ["core/model/graph.h"] = "to become core/model/model.h without what only core/model needs",
  },

  long = {
    ["core/files/pickle.c"] = "one machine with a case for each instruction",
    ["core/torch/op.cc"] = "to be split into the choice of an overload and the call",
    ["core/trace/grad.c"] = "the gradients of a trace; one line above",
    ["lua/luasight/record.lua"] = "to be split into recording and calling",
    ["lua/luasight/shell/complete.lua"] = "to be split into what is asked and what is known",
    ["spec/more_spec.lua"] = SPEC,
    ["spec/tokenizer_spec.lua"] = SPEC,
    ["spec/launcher_spec.lua"] = SPEC,
    ["spec/invoke_spec.lua"] = SPEC,
    ["spec/hub_spec.lua"] = SPEC,
    ["spec/plot_spec.lua"] = SPEC,
    ["spec/trace_spec.lua"] = SPEC,
  },

  raw = {
    ["lua/luasight/batch.lua"] = BINDING,
    ["lua/luasight/cache.lua"] = BINDING,
    ["lua/luasight/edits.lua"] = BINDING,
    ["lua/luasight/generation.lua"] = BINDING,
    ["lua/luasight/gradients.lua"] = BINDING,
    ["lua/luasight/handle.lua"] = BINDING,
    ["lua/luasight/init.lua"] = BINDING,
    ["lua/luasight/language_model.lua"] = BINDING,
    ["lua/luasight/layout.lua"] = BINDING,
    ["lua/luasight/loader.lua"] = BINDING,
    ["lua/luasight/methods.lua"] = BINDING,
    ["lua/luasight/model.lua"] = BINDING,
    ["lua/luasight/nn/methods.lua"] = BINDING,
    ["lua/luasight/nn/parameter.lua"] = BINDING,
    ["lua/luasight/nn/state.lua"] = BINDING,
    ["lua/luasight/operators.lua"] = BINDING,
    ["lua/luasight/place.lua"] = BINDING,
    ["lua/luasight/plot/tree.lua"] = BINDING,
    ["lua/luasight/points.lua"] = BINDING,
    ["lua/luasight/prompt.lua"] = BINDING,
    ["lua/luasight/record.lua"] = BINDING,
    ["lua/luasight/safetensors.lua"] = BINDING,
    ["lua/luasight/scan.lua"] = BINDING,
    ["lua/luasight/shell/commands.lua"] = BINDING,
    ["lua/luasight/shell/complete.lua"] = BINDING,
    ["lua/luasight/shell/show.lua"] = BINDING,
    ["lua/luasight/tensor.lua"] = BINDING,
    ["lua/luasight/tokenizer.lua"] = BINDING,
    ["lua/luasight/tokenizer_batch.lua"] = BINDING,
    ["lua/luasight/tokenizer_ids.lua"] = BINDING,
    ["lua/luasight/tokenizer_sentencepiece.lua"] = BINDING,
    ["lua/luasight/tokens.lua"] = BINDING,
    ["lua/luasight/torch.lua"] = BINDING,
    ["lua/luasight/trace.lua"] = BINDING,
    ["lua/luasight/tracer.lua"] = BINDING,
    ["lua/luasight/values.lua"] = BINDING,
  },

  unloaded = {},
}
