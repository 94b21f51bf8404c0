--- The public functions: which functions of which files make up which class, in the order of the reference. The editors'
--- definitions (definitions.lua) and the reference (reference.lua) are both made from this list and from the annotations.

---@class PublicSource
---@field [1] string       the file
---@field [2] string       the table in that file to which the functions belong, "" for local functions
---@field only string[]?   the names of the functions; by default all that do not begin with _

---@class PublicGroup
---@field title string
---@field class string      the name of the class in LuaLS
---@field call string       the text in front of a function's name in a call: "tracer:", "ls."
---@field sources PublicSource[]
---@field fields string?    the file in which the class with its fields is annotated
---@field layers string?    the file whose classes of modules have their constructors in this group
---@field about string?     a sentence in front of the functions

---@class PublicPage
---@field name string       the name of the page's file
---@field title string
---@field groups PublicGroup[]

local lua = "lua/luasight/"

---@type PublicPage[]
return {
  {
    name = "luasight", title = "The library",
    groups = {
      { title = "ls", class = "luasight", call = "ls.", fields = lua .. "init.lua", sources = {
        { lua .. "model/init.lua", "model", only = { "Model", "args" } },
        { lua .. "lm/init.lua", "language_model" },
        { lua .. "text/tokenizer/init.lua", "", only = { "Tokenizer" } },
        { lua .. "trace/init.lua", "trace", only = { "session" } },
        { lua .. "tensor/init.lua", "tensor", only = { "tuple", "struct", "scope" } },
        { lua .. "init.lua", "ls" },
      } },
    },
  },
  {
    name = "models", title = "Models and modules",
    groups = {
      { title = "A module", class = "luasight.Module", call = "module:", fields = lua .. "model/handle.lua",
        sources = { { lua .. "model/handle.lua", "methods" } } },
      { title = "What can be read at a module", class = "luasight.Points", call = "points", fields = lua .. "model/points.lua",
        sources = {} },
      { title = "One place", class = "luasight.Point", call = "point", fields = lua .. "model/points.lua", sources = {} },
      { title = "A model", class = "luasight.Model", call = "model:", fields = lua .. "model/handle.lua",
        sources = { { lua .. "model/init.lua", "root_methods" }, { lua .. "model/methods.lua", "root_methods" } } },
      { title = "A language model", class = "luasight.LanguageModel", call = "model:",
        fields = lua .. "lm/init.lua", sources = {} },
      { title = "Options of a generation", class = "luasight.GenerationOptions", call = "",
        fields = lua .. "lm/generation/settings.lua", sources = {} },
    },
  },
  {
    name = "tracer", title = "Inside a body",
    groups = {
      { title = "A tracer", class = "luasight.Tracer", call = "tracer:", fields = lua .. "trace/init.lua",
        sources = { { lua .. "trace/tracer.lua", "methods" } } },
      { title = "A cache", class = "luasight.Cache", call = "cache:", fields = lua .. "model/cache.lua",
        sources = { { lua .. "model/cache.lua", "methods" } } },
      { title = "A recorded graph", class = "luasight.GraphText", call = "graph:", fields = lua .. "trace/tracer.lua",
        sources = { { lua .. "trace/tracer.lua", "Graph" } } },
    },
  },
  {
    name = "tensors", title = "Tensors and proxies",
    groups = {
      { title = "A tensor, or a proxy of one", class = "luasight.Tensor", call = "x:", fields = lua .. "tensor/init.lua",
        sources = { { lua .. "tensor/methods.lua", "methods" } } },
      { title = "A tuple, a list or a struct", class = "luasight.Sequence", call = "s:", fields = lua .. "tensor/init.lua",
        sources = {} },
      { title = "torch", class = "luasight.torch", call = "torch.", fields = lua .. "tensor/torch.lua",
        sources = { { lua .. "tensor/torch.lua", "torch" } } },
    },
  },
  {
    name = "nn", title = "Modules of your own",
    groups = {
      { title = "nn", class = "luasight.nn", call = "nn.", fields = lua .. "nn/init.lua", sources = {
        { lua .. "nn/parameter.lua", "parameter", only = { "Parameter", "Buffer", "skip_init" } },
        { lua .. "nn/attention.lua", "attention" },
        { lua .. "nn/module.lua", "module", only = { "is_module" } },
        { lua .. "nn/record.lua", "record", only = { "tap" } },
      } },
      { title = "What every module can do", class = "luasight.nn.Module", call = "net:", fields = lua .. "nn/module.lua",
        sources = { { lua .. "nn/methods.lua", "Module" } } },
      { title = "Layers with weights, and others", class = "luasight.nn", call = "nn.", layers = lua .. "nn/linear.lua",
        sources = {} },
      { title = "Norms", class = "luasight.nn", call = "nn.", layers = lua .. "nn/norm.lua", sources = {} },
      { title = "Activations", class = "luasight.nn", call = "nn.", layers = lua .. "nn/activation.lua", sources = {} },
      { title = "Containers", class = "luasight.nn", call = "nn.", layers = lua .. "nn/container.lua", sources = {} },
      { title = "A list of modules", class = "luasight.nn.List", call = "list:", sources = {
        { lua .. "nn/container.lua", "List", only = { "len", "each", "append", "extend" } } } },
      { title = "Modules by name", class = "luasight.nn.ModuleDict", call = "dict:", sources = {
        { lua .. "nn/container.lua", "ModuleDict", only = { "len", "each", "keys" } } } },
      { title = "nn.init", class = "luasight.nn.init", call = "nn.init.", fields = lua .. "nn/initializers.lua",
        sources = { { lua .. "nn/initializers.lua", "init" } } },
    },
  },
  {
    name = "training", title = "Training",
    groups = {
      { title = "optim", class = "luasight.optim", call = "ls.optim.", fields = lua .. "nn/optim.lua",
        sources = { { lua .. "nn/optim.lua", "optim" } } },
      { title = "An optimizer", class = "luasight.Optimizer", call = "optimizer:", fields = lua .. "nn/optim.lua",
        sources = { { lua .. "nn/optim.lua", "methods" } } },
      { title = "A schedule", class = "luasight.Schedule", call = "schedule:", fields = lua .. "nn/optim.lua",
        sources = { { lua .. "nn/optim.lua", "Cosine" } } },
    },
  },
  {
    name = "text", title = "Tokenizers",
    groups = {
      { title = "A tokenizer", class = "luasight.Tokenizer", call = "tokenizer:", fields = lua .. "text/tokenizer/init.lua",
        sources = { { lua .. "text/tokenizer/init.lua", "methods" } } },
      { title = "Options", class = "luasight.TokenizerOptions", call = "", fields = lua .. "text/tokenizer/batch.lua",
        sources = {} },
      { title = "tokenizer_trainer", class = "luasight.TokenizerTrainer", call = "ls.tokenizer_trainer.",
        fields = lua .. "text/tokenizer/trainer.lua", sources = { { lua .. "text/tokenizer/trainer.lua", "trainer" } } },
      { title = "What a training gives", class = "luasight.TrainedTokenizer", call = "trained:",
        fields = lua .. "text/tokenizer/trainer.lua", sources = { { lua .. "text/tokenizer/trainer.lua", "Trained" } } },
    },
  },
  {
    name = "files", title = "Files, pictures, progress",
    groups = {
      { title = "safetensors", class = "luasight.safetensors", call = "ls.safetensors.",
        fields = lua .. "files/safetensors.lua",
        sources = { { lua .. "files/safetensors.lua", "safetensors", only = { "open", "load", "save" } } } },
      { title = "An open file", class = "luasight.safetensors.File", call = "file:", fields = lua .. "files/safetensors.lua",
        sources = { { lua .. "files/safetensors.lua", "File" } } },
      { title = "plot", class = "luasight.plot", call = "ls.plot.", fields = lua .. "view/plot/init.lua",
        sources = { { lua .. "view/plot/init.lua", "plot" } } },
      { title = "Options of lines", class = "luasight.LineOptions", call = "", fields = lua .. "view/plot/line.lua",
        sources = {} },
      { title = "Options of heat maps", class = "luasight.HeatMapOptions", call = "", fields = lua .. "view/plot/heatmap.lua",
        sources = {} },
      { title = "Options of attention patterns", class = "luasight.AttentionOptions", call = "",
        fields = lua .. "view/plot/attention.lua", sources = {} },
      { title = "A picture", class = "luasight.Plot", call = "picture:", fields = lua .. "view/plot/figure.lua",
        sources = { { lua .. "view/plot/figure.lua", "Plot" } } },
      { title = "progress", class = "luasight.Progress", call = "ls.progress.", fields = lua .. "base/progress.lua",
        sources = { { lua .. "base/progress.lua", "progress", only = { "new" } } } },
      { title = "A bar", class = "luasight.ProgressBar", call = "bar:", fields = lua .. "base/progress.lua",
        sources = { { lua .. "base/progress.lua", "Bar" } } },
    },
  },
  {
    name = "errors", title = "Errors",
    groups = {
      { title = "An error", class = "luasight.Error", call = "e:", fields = lua .. "base/error.lua", sources = {},
        about = "What everything raises. The page [Errors](../errors.md) has the codes." },
    },
  },
}
