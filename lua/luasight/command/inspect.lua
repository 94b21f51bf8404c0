--- `luasight inspect FOLDER`: lists the modules of a model with shapes, dtypes and numbers of parameters, from config.json
--- and the headers of the weight files; no weights are read.
local outline = require "luasight.view.module_tree"

local inspect = { about = "shows the modules of a model folder: shapes, dtypes, parameters; reads no weights",
  arguments = { "FOLDER" },
  options = {
    { "--all", "every layer, also where neighbours are equal" },
    { "--json", "an object for programs: every tensor" },
  } }

-- ---- the content of the folder -----------------------------------------------------------------------------------------

-- Returns the network of a configuration without memory for its weights, and its architecture; nil where luasight has no
-- such family.
local function network(config)
  local models = require "luasight.models"
  if not models.files[config.model_type] then return nil end
  local architecture = models.find(config.model_type, config.architectures)
  return require "luasight.nn".skip_init(architecture.new, config), architecture
end

---Returns the file's description of each parameter by the parameter's path; without an architecture, names in the file are
---taken as paths.
local function read_headers(folder, architecture)
  local weights, found, bytes = require "luasight.files.checkpoint".read(folder), {}, 0
  for _, name in ipairs(weights:keys()) do
    local path = name
    if architecture then path = architecture.place(name) end
    local entry = weights:describe(name)
    bytes = bytes + entry.bytes
    if path then found[path] = { shape = outline.sizes(entry.shape), dtype = entry.dtype } end
  end
  weights:release()
  return found, bytes
end

-- ---- the tree ----------------------------------------------------------------------------------------------------------

local function tensor_of(path, name, found, tied, shape)
  local there = found[path]
  local other = not there and tied[path] or nil
  local list = there and there.shape or shape
  local count = there and outline.product(list) or 0
  return { name = name, shape = list, dtype = there and there.dtype, count = count, tied = other }
end

-- Returns the outline of a network, whose classes and order of modules are known.
local function of_network(net, found, tied)
  return outline.of_network(net, function(path, name, t)
    if found[path] or tied[path] then return tensor_of(path, name, found, tied, outline.sizes(t.shape)) end
  end)
end

local function by_number(a, b)
  local x, y = tonumber(a.name), tonumber(b.name)
  if x and y then return x < y end
  return a.name < b.name
end

local function finish(node)
  table.sort(node.children, by_number)
  table.sort(node.tensors, function(a, b) return a.name < b.name end)
  for _, tensor in ipairs(node.tensors) do node.count = node.count + tensor.count end
  for _, child in ipairs(node.children) do node.count = node.count + finish(child).count end
  node.known = nil
  return node
end

-- Returns an outline that is made of the names of the tensors alone.
local function of_names(found)
  local root = { name = "", tensors = {}, children = {}, known = {}, count = 0 }
  for path in pairs(found) do
    local node = root
    for name in path:gmatch "([^.]+)%." do
      if not node.known[name] then
        node.known[name] = { name = name, tensors = {}, children = {}, known = {}, count = 0 }
        node.children[#node.children + 1] = node.known[name]
      end
      node = node.known[name]
    end
    node.tensors[#node.tensors + 1] = tensor_of(path, path:match "[^.]+$", found, {})
  end
  return finish(root)
end

-- ---- text --------------------------------------------------------------------------------------------------------------

local function size_text(bytes)
  for _, unit in ipairs { "bytes", "KiB", "MiB", "GiB" } do
    if bytes < 1024 or unit == "GiB" then return (unit == "bytes" and "%d %s" or "%.1f %s"):format(bytes, unit) end
    bytes = bytes / 1024
  end
end

-- Returns the dtype of most of the numbers.
local function common_dtype(found)
  local counts, best = {}, nil
  for _, entry in pairs(found) do
    counts[entry.dtype] = (counts[entry.dtype] or 0) + outline.product(entry.shape)
    if not best or counts[entry.dtype] > counts[best] then best = entry.dtype end
  end
  return best
end

local function tensors_text(node, dtype)
  local parts = {}
  for i, t in ipairs(node.tensors) do
    local text = ("%s [%s]"):format(t.name, table.concat(t.shape, ", "))
    if t.dtype and t.dtype ~= dtype then text = text .. " " .. t.dtype end
    parts[i] = t.tied and ("%s tied to %s"):format(t.name, t.tied) or text
  end
  return table.concat(parts, ", ")
end

-- Returns the lines for a module and for all below it, each as { name, class, count, tensors }.
local function rows_of(node, depth, dtype, all, rows)
  rows[#rows + 1] = { ("  "):rep(depth) .. node.name, node.class or "", node.count > 0 and outline.grouped(node.count) or "",
    tensors_text(node, dtype) }
  for child, name, alike in outline.groups(node, all) do
    local at = #rows + 1
    rows_of(child, depth + 1, dtype, all, rows)
    if alike > 1 then
      rows[at][1] = ("  "):rep(depth + 1) .. name
      rows[at][2] = ("%d x %s"):format(alike, child.class or "the same")
      rows[at][3] = ("%d x %s"):format(alike, outline.grouped(child.count))
    end
  end
  return rows
end

local function print_rows(rows)
  local width = { 0, 0, 0 }
  for _, row in ipairs(rows) do
    for k = 1, 3 do width[k] = math.max(width[k], #row[k]) end
  end
  local pattern = ("%%-%ds  %%-%ds  %%%ds  %%s"):format(width[1], width[2], width[3])
  for _, row in ipairs(rows) do print((pattern:format(unpack(row)):gsub("%s+$", ""))) end
end

-- ---- JSON --------------------------------------------------------------------------------------------------------------

local function join(path, name) return path == "" and name or path .. "." .. name end

local function flat(node, path, list)
  for _, t in ipairs(node.tensors) do
    list[#list + 1] = { path = join(path, t.name), module = node.class, shape = t.shape, dtype = t.dtype, parameters = t.count,
      tied = t.tied }
  end
  for _, child in ipairs(node.children) do flat(child, join(path, child.name), list) end
  return list
end

-- ---- the command -------------------------------------------------------------------------------------------------------

---@param arguments string[]
---@param options { all: boolean?, json: boolean? }
function inspect.run(arguments, options)
  local _ = require "luasight" -- loading luasight gives shapes their methods
  local folder = require "luasight.lm.hub".locate(arguments[1], { model = true, weights = true })
  local config = require "luasight.files.checkpoint".config(folder)
  local net, architecture = network(config)
  local found, bytes = read_headers(folder, architecture)
  local tree = net and of_network(net, found, architecture.tied) or of_names(found)
  local dtype = common_dtype(found)
  if options.json then
    print(require "cjson".encode { folder = folder, model_type = config.model_type, class = tree.class, parameters = tree.count,
      bytes = bytes, dtype = dtype, known = net ~= nil, tensors = flat(tree, "", {}) })
    return
  end
  tree.name = tree.class or "(the whole)"
  tree.class = nil
  print(("%s: %s, %s parameters, %s, %s"):format(folder, config.model_type or "no model_type", outline.grouped(tree.count),
    dtype, size_text(bytes)))
  if not net then
    print(("luasight has no model of this type: this is what the weight files say (luasight models lists the types)"))
  end
  print()
  print_rows(rows_of(tree, 0, dtype, options.all, {}))
end

return inspect
