-- The manual: all pages are in the navigation, all links lead somewhere, in Markdown and on the web pages, which load nothing
-- from elsewhere.
package.path = "tools/?.lua;" .. package.path
local document = dofile "spec/manual/document.lua"
local support = require "spec.support"
local public = require "manual.public"
local reference = require "manual.reference"
local site = require "manual.site"

local function exists(path)
  local file = io.open(path, "rb")
  return file and file:close()
end

local function sorted(set)
  local list = {}
  for name in pairs(set) do list[#list + 1] = name end
  table.sort(list)
  return list
end

local function pages_on_disk()
  local list = {}
  for path in support.output "find docs -name '*.md' | LC_ALL=C sort":gmatch "[^\n]+" do list[#list + 1] = path end
  return list
end

---A path with its `..` taken out.
local function plain(path)
  local parts = {}
  for part in path:gmatch "[^/]+" do
    if part == ".." and #parts > 0 then parts[#parts] = nil elseif part ~= "." then parts[#parts + 1] = part end
  end
  return table.concat(parts, "/")
end

local function beside(path, to) return plain((path:match "^(.*/)" or "") .. to) end

---The anchors of a Markdown page, as GitHub and lowdown name them.
local function anchors(path)
  local set = {}
  for _, line in ipairs(document.lines(path)) do
    local title = line:match "^#+ (.*)$"
    if title then set[title:lower():gsub("[^%w%s%-_]", ""):gsub("%s", "-")] = true end
  end
  return set
end

describe("the manual in Markdown", function()
  it("has links that lead to files and headings", function()
    local wrong, count = {}, 0
    local paths = pages_on_disk()
    for _, path in ipairs { "README.md", "CONTRIBUTING.md", "CHANGELOG.md" } do paths[#paths + 1] = path end
    for _, path in ipairs(paths) do
      local text = table.concat(document.lines(path), "\n"):gsub("\n```.-\n```", ""):gsub("`[^`\n]*`", "")
      for to in text:gmatch "%]%(([^%s%)]+)%)" do
        count = count + 1
        local file, anchor = to:match "^([^#]*)#?(.*)$"
        local target = file == "" and path or beside(path, file)
        if not to:find "^https://" then
          local fine = exists(target) and (anchor == "" or anchors(target)[anchor])
          if not fine then wrong[path .. ": " .. to] = true end
        end
      end
    end
    assert.same({}, sorted(wrong))
    assert.is_true(count > 25, count)
  end)

  it("has every page in its list", function()
    local listed = {}
    for _, page in ipairs(site.list()) do
      if page.path then listed[#listed + 1] = page.path end
    end
    table.sort(listed)
    assert.same(pages_on_disk(), listed)
  end)
end)

describe("the manual as web pages", function()
  if select(2, support.run "command -v lowdown") ~= 0 then
    pending("needs lowdown: tools/setup docs")
    return
  end

  local files
  setup(function() files = site.pages() end)
  teardown(function() files = nil end)

  it("has links that lead to pages and places on them", function()
    local wrong, count = {}, 0
    for name, html in pairs(files) do
      for to in html:gmatch 'href="([^"]*)"' do
        count = count + 1
        local file, anchor = to:match "^([^#]*)#?(.*)$"
        local target = files[file == "" and name or beside(name, file)]
        if not to:find "^https://" and not (target and (anchor == "" or target:find('id="' .. anchor .. '"', 1, true))) then
          wrong[name .. ": " .. to] = true
        end
      end
    end
    assert.same({}, sorted(wrong))
    assert.is_true(count > 500)
  end)

  it("loads nothing from elsewhere, and one script of its own", function()
    for name, text in pairs(files) do
      text = text:gsub('<script src="[./]*search%.js" defer></script>', "", 1)
      assert.is_nil(text:find "<script", name)
      assert.is_nil(text:find 'src="', name)
      assert.is_nil(text:find "@import", name)
      assert.is_nil(text:find "url%(", name)
      assert.is_nil(text:gsub("%f[%w]<a [^>]*>", ""):find 'link[^>]*href="https?:', name)
    end
  end)

  it("has each page once, with a title, for small and for large screens", function()
    local count = 0
    for name, html in pairs(files) do
      if name:find "%.html$" then
        count = count + 1
        assert.matches("<title>[^<]+</title>", html)
        assert.equal(1, select(2, html:gsub("<h1", "")), name)
        assert.matches('name="viewport"', html, 1, true)
        assert.equal(2, select(2, html:gsub(' aria%-current="page"', "")), name)
      end
    end
    assert.equal(#site.list(), count)
    assert.matches("prefers%-color%-scheme: dark", files["style.css"])
  end)

  it("finds the names of the reference where they are", function()
    local count, wanted = 0, { ["tracer:stop"] = true, ["ls.LanguageModel"] = true, ["torch.softmax"] = true }
    for name, to in files["search.js"]:gmatch '\n%["([^"]+)", "([^"]+)"%]' do
      local file, place = to:match "^(.*)#(.*)$"
      count, wanted[name] = count + 1, nil
      assert.is_truthy(files[file]:find('id="' .. place .. '"', 1, true), name)
    end
    assert.same({}, wanted)
    assert.is_true(count > 1000, count)
  end)

  it("shows code as it is written", function()
    local html = files["guide/networks.html"]:gsub("<span[^>]*>", ""):gsub("</span>", "")
    local function spaced(text) return (text:gsub("[ \t]+", " ")) end -- lowdown writes tabs as spaces
    html = spaced(html:gsub("&#(%d+);", function(number) return string.char(number) end):gsub("&lt;", "<"):gsub("&gt;", ">")
      :gsub("&quot;", '"'):gsub("&amp;", "&"))
    for _, block in ipairs(document.blocks "docs/guide/networks.md") do
      assert.is_truthy(html:find(spaced(table.concat(block.lines, "\n")), 1, true), "block at line " .. block.from)
    end
  end)
end)

describe("the reference", function()
  it("has a heading for each public function, with its parameters", function()
    for _, page in ipairs(public) do
      local text = reference.page(page)
      for _, group in ipairs(page.groups) do
        for _, f in ipairs(require "manual.api".group(group).functions) do
          assert.matches(("### `%s%s(%s)`"):format(group.call, f.name, f.args), text, 1, true)
          for _, p in ipairs(f.params) do assert.is_truthy(text:find("- `" .. p.name, 1, true), f.name .. ": " .. p.name) end
        end
      end
    end
  end)

  it("writes the ways to call a function that takes several", function()
    local text
    for _, page in ipairs(public) do
      if page.name == "models" then text = reference.page(page) end
    end
    assert.matches("model:trace(input, body)\nmodel:trace(input, options, body)\nmodel:trace(body)\n", text, 1, true)
  end)

  it("has the schemas of the operators", function()
    local text = reference.operators()
    assert.matches("\nsoftmax.int(Tensor self, int dim, ScalarType? dtype=None) -> Tensor\n", text, 1, true)
    assert.matches("\n## s\n", text, 1, true)
    assert.matches("\n[s](#s)\n", text, 1, true)
    assert.is_nil(text:find "\n_")
  end)
end)
