--- The nets of the random programs, as data. `build.lua` makes modules of them for the product, `walk.lua` runs them for the
--- plain executor; what a net computes stands here only.
---
--- A block has children, the names of its arguments, lines { name, operator, operands }, and a result: a name, or two names
--- for a tuple. `rows` says on which axis the rows of an input stand at a point where that is not axis 0; `declares` is what
--- the module tells the product about it (false: the rows cannot be told apart).
local nets = {}

nets.width = 5

local function linear(seed, inner) return { kind = "linear", seed = seed, inner = inner or 5, outer = 5 } end
local function tanh() return { kind = "tanh" } end
local function identity() return { kind = "identity" } end
local function norm(seed) return { kind = "norm", seed = seed, inner = 5, outer = 5 } end

local function block(children, lines, result, more)
  local b = { kind = "block", children = children, inputs = { "x" }, lines = lines, result = result }
  for k, v in pairs(more or {}) do b[k] = v end
  return b
end

local function chain(...)
  local children, lines, last = {}, {}, "x"
  for i, module in ipairs { ... } do
    local name = ("abc"):sub(i, i)
    children[i] = { name, module }
    lines[i] = { "h" .. i, "call", name, last }
    last = "h" .. i
  end
  return block(children, lines, last)
end

local turned = { input = 1, output = 1 }

local function net(name, traits, root) nets[#nets + 1] = { name = name, traits = traits, root = root } end

net("chain", {}, chain(linear(1), tanh(), linear(2)))

net("identities", { "shared value" }, chain(identity(), identity(), identity()))

net("residual", { "residual" }, block({ { "a", linear(3) }, { "b", linear(4) } },
  { { "h", "call", "a", "x" }, { "y", "call", "b", "h" }, { "r", "add", "y", "h" } }, "r"))

net("residuals", { "residual" }, block({ { "a", tanh() }, { "b", linear(5) }, { "c", tanh() } },
  { { "h", "call", "a", "x" }, { "y", "call", "b", "h" }, { "r", "add", "h", "y" }, { "z", "call", "c", "r" },
    { "s", "add", "r", "z" } }, "s"))

net("dead way", { "residual" }, block({ { "e", tanh() }, { "a", tanh() } },
  { { "h", "call", "e", "x" }, { "y", "call", "a", "h" }, { "k", "mul", "y", 0 }, { "r", "add", "h", "k" } }, "r"))

net("fork", { "shared value" }, block({ { "a", linear(6) }, { "b", linear(7) }, { "c", tanh() } },
  { { "h", "call", "a", "x" }, { "y", "call", "b", "h" }, { "z", "call", "c", "h" }, { "r", "add", "y", "z" } }, "r"))

net("views", { "view" }, block({ { "a", linear(8) }, { "b", linear(9) }, { "c", identity() } },
  { { "h", "call", "a", "x" }, { "v", "t", "h" }, { "y", "call", "b", "h" }, { "w", "t", "v" }, { "r", "add", "y", "w" },
    { "o", "call", "c", "r" } }, "o"))

net("turned", { "transposed" }, block({ { "a", linear(10) }, { "b", block({ { "d", { kind = "tanh", rows = turned,
  declares = turned } } }, { { "y", "call", "d", "x" } }, "y", { rows = turned, declares = turned }) }, { "c", linear(11) } },
  { { "h", "call", "a", "x" }, { "v", "t", "h" }, { "y", "call", "b", "v" }, { "w", "t", "y" }, { "r", "call", "c", "w" } },
  "r"))

net("turned, unsaid", { "transposed", "unknown rows" }, block({ { "a", linear(12) },
  { "b", { kind = "tanh", rows = turned } }, { "c", tanh() } },
  { { "h", "call", "a", "x" }, { "v", "t", "h" }, { "y", "call", "b", "v" }, { "w", "t", "y" }, { "r", "call", "c", "w" } },
  "r"))

net("turned, denied", { "transposed", "unknown rows" }, block({ { "a", tanh() },
  { "b", { kind = "tanh", rows = turned, declares = { input = false, output = false } } }, { "c", linear(13) } },
  { { "h", "call", "a", "x" }, { "v", "t", "h" }, { "y", "call", "b", "v" }, { "w", "t", "y" }, { "r", "call", "c", "w" } },
  "r"))

net("slices", { "view" }, block({ { "a", linear(14) }, { "b", linear(15, 2) }, { "c", tanh() } },
  { { "h", "call", "a", "x" }, { "s", "slice", "h", ":, 1:3" }, { "y", "call", "b", "s" }, { "r", "add", "y", "h" },
    { "o", "call", "c", "r" } }, "o"))

net("pair", { "tuple" }, block({ { "a", linear(16) }, { "t", block({ { "d", tanh() } },
  { { "y", "call", "d", "x" }, { "k", "mul", "y", 2 } }, { "y", "k" }) }, { "b", linear(17) }, { "c", tanh() } },
  { { "h", "call", "a", "x" }, { "p", "call", "t", "h" }, { "y", "item", "p", 0 }, { "k", "item", "p", 1 },
    { "m", "call", "b", "y" }, { "n", "call", "c", "k" }, { "r", "add", "m", "n" } }, "r"))

net("pair of one", { "tuple", "view" }, block({ { "t", block({ { "a", linear(18) } }, { { "h", "call", "a", "x" } },
  { "h", "h" }) }, { "b", linear(19) }, { "c", tanh() } },
  { { "p", "call", "t", "x" }, { "y", "item", "p", 0 }, { "z", "item", "p", 1 }, { "m", "call", "b", "y" },
    { "n", "call", "c", "z" }, { "r", "add", "m", "n" } }, "r"))

net("twice", { "called twice" }, block({ { "a", linear(20) }, { "b", tanh() } },
  { { "h", "call", "a", "x" }, { "k", "call", "b", "h" }, { "i", "call", "a", "k" }, { "o", "call", "b", "i" } }, "o"))

net("block twice", { "called twice" }, block({ { "k", block({ { "a", linear(21) }, { "b", tanh() } },
  { { "h", "call", "a", "x" }, { "y", "call", "b", "h" }, { "r", "add", "y", "x" } }, "r") } },
  { { "h", "call", "k", "x" }, { "o", "call", "k", "h" } }, "o"))

local common = linear(22)
net("common child", { "shared module" }, block({
  { "p", block({ { "s", common }, { "a", tanh() } }, { { "h", "call", "s", "x" }, { "y", "call", "a", "h" } }, "y") },
  { "q", block({ { "s", common } }, { { "y", "call", "s", "x" } }, "y") } },
  { { "h", "call", "p", "x" }, { "o", "call", "q", "h" } }, "o"))

net("tap", { "tap" }, block({ { "a", linear(23) }, { "b", tanh() } },
  { { "h", "call", "a", "x" }, { "k", "mul", "h", 0.5 }, { "q", "tap", "q", "k" }, { "y", "call", "b", "q" },
    { "r", "add", "y", "k" } }, "r"))

net("two arguments", { "two arguments" }, block({ { "a", linear(24) }, { "b", block({ { "d", tanh() } },
  { { "y", "call", "d", "x" }, { "r", "add", "y", "m" } }, "r", { inputs = { "x", "m" } }) }, { "c", tanh() } },
  { { "h", "call", "a", "x" }, { "y", "call", "b", "h", "x" }, { "o", "call", "c", "y" } }, "o"))

net("batch norm", { "batch norm", "residual" }, block({ { "a", linear(25) }, { "n", norm(26) }, { "b", tanh() },
  { "o", norm(27) } },
  { { "h", "call", "a", "x" }, { "k", "call", "n", "h" }, { "y", "call", "b", "k" }, { "r", "add", "y", "h" },
    { "z", "call", "o", "r" } }, "z"))

---Where a program may add the module `nets.added`: at the child of this name.
nets.added = block({ { "e", linear(31) }, { "d", linear(32) } },
  { { "h", "call", "e", "x" }, { "r", "relu", "h" }, { "code", "tap", "code", "r" }, { "y", "call", "d", "code" } }, "y")

for _, one in ipairs(nets) do
  nets[one.name] = one
  one.host = one.root.children[1][1] -- the child that gets the added module, as its field `sae`
end

return nets
