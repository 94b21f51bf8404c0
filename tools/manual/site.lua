--- Makes the manual as web pages: lowdown makes HTML of the Markdown, and this file adds the frame of the pages. The
--- navigation is the list in docs/README.md, followed by the reference.
local reference = require "manual.reference"

local site = {}

local folder = "docs/"

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "*a"
  file:close()
  return text
end

---@class SitePage
---@field name string      the path without an ending, such as "guide/networks"
---@field title string
---@field chapter string   the heading in the navigation under which the page is listed, "" for the first pages
---@field path string?     the path of its Markdown
---@field text (fun(): string)?

---Returns all pages in the order of the navigation.
---@return SitePage[]
function site.list()
  local list, chapter = { { name = "index", title = "Overview", chapter = "", path = folder .. "README.md" } }, ""
  for line in read(folder .. "README.md"):gmatch "[^\n]+" do
    chapter = line:match "^## (.*)$" or chapter
    local title, name = line:match "^%- %[(.-)%]%((.-)%.md%)"
    if name then list[#list + 1] = { name = name, title = title, chapter = chapter, path = folder .. name .. ".md" } end
  end
  for _, page in ipairs(reference.pages()) do
    page.chapter = "Reference"
    list[#list + 1] = page
  end
  return list
end

-- ---- from Markdown -----------------------------------------------------------------------------------------------------

local function convert(path)
  local pipe = assert(io.popen(("lowdown -thtml --out-no-smarty '%s'"):format(path)))
  local html = pipe:read "*a"
  pipe:close()
  assert(html ~= "", "lowdown made nothing of " .. path)
  return html
end

---Colours the comments of Lua code, and the comments that show output or errors in other colours.
local function colour(code)
  return (code:gsub("[^\n]+", function(line)
    local before, comment = line:match "^(.-)(%-%-[%-%s&!].*)$"
    if not comment then return line end
    local kind = comment:find "^%-%-&#62;" and "out" or comment:find "^%-%-!" and "bad" or "comment"
    return ('%s<span class="%s">%s</span>'):format(before, kind, comment)
  end))
end

---Adds anchors for the functions and operators of a page of the reference.
---@param page SitePage
---@param html string
---@param names { [1]: string, [2]: string }[]  the list of names with their places, to which those found are appended
---@return string html
local function with_places(page, html, names)
  local taken = {}
  local function place(name, id)
    if taken[id] then return nil end
    taken[id] = true
    names[#names + 1] = { name, ("%s.html#%s"):format(page.name, id) }
    return id
  end
  html = html:gsub('<h3 id="[^"]*">(<code>([%w_.:]+)%(.-</h3>)', function(rest, name)
    local id = place(name, (name:gsub("[.:]", "-")))
    return id and ('<h3 id="%s">%s'):format(id, rest)
  end)
  if page.name ~= "reference/operators" then return html end
  return (html:gsub('(<pre><code class="language%-text">)(.-)(</code></pre>)', function(open, code, close)
    code = code:gsub("[^\n]+", function(line)
      local name, rest = line:match "^([%w_]+)(.*)$"
      local id = name and place("torch." .. name, "torch-" .. name)
      return id and ('<span id="%s">%s</span>%s'):format(id, name, rest)
    end)
    return open .. code .. close
  end))
end

---Returns the body of a page, with links that point at the web pages.
---@param page SitePage
---@param names { [1]: string, [2]: string }[]  the list of names with their places, to which those of this page are
---  appended
---@return string
function site.body(page, names)
  local path = page.path
  if page.text then
    path = os.tmpname()
    local file = assert(io.open(path, "wb"))
    file:write(page.text())
    file:close()
  end
  local html = convert(path)
  if page.text then os.remove(path) end
  html = html:gsub('href="([^":#]*)%.md(#?[^"]*)"', function(to, anchor)
    return ('href="%s.html%s"'):format(to:gsub("README$", "index"), anchor)
  end)
  html = html:gsub('(<pre><code class="language%-lua">)(.-)(</code></pre>)', function(open, code, close)
    return open .. colour(code) .. close
  end)
  if page.text then html = with_places(page, html, names) end
  html = html:gsub('<p>(<a href="#%a">)', '<p class="letters">%1') -- the line of links to the letters
  return (html:gsub("<table>.-</table>", function(text)
    local _, columns = text:match "<tr>.-</tr>":gsub("<th[ >]", "")
    return ('<div class="wide%s">%s</div>'):format(columns > 8 and ' many" tabindex="0' or "", text)
  end))
end

-- ---- the frame ---------------------------------------------------------------------------------------------------------

local function up(page) return ("../"):rep(select(2, page.name:gsub("/", ""))) end

local function navigation(pages, current)
  local out, chapter = {}, nil
  for _, page in ipairs(pages) do
    if page.chapter ~= chapter then
      chapter = page.chapter
      out[#out + 1] = (#out > 0 and "</ul>\n" or "") .. (chapter ~= "" and ("<p>%s</p>\n"):format(chapter) or "") .. "<ul>"
    end
    out[#out + 1] = ('<li><a href="%s%s.html"%s>%s</a></li>'):format(up(current), page.name,
      page == current and ' aria-current="page"' or "", page.title)
  end
  return table.concat(out, "\n") .. "\n</ul>"
end

local function neighbours(pages, i)
  local function link(page, class, text)
    if not page then return "" end
    return ('<a class="%s" href="%s%s.html">%s</a>'):format(class, up(pages[i]), page.name, text:format(page.title))
  end
  return link(pages[i - 1], "before", "&larr; %s") .. link(pages[i + 1], "after", "%s &rarr;")
end

local frame = [[
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>%s</title>
<link rel="stylesheet" href="%sstyle.css">
<script src="%ssearch.js" defer></script>
</head>
<body>
<a class="skip" href="#main">Skip to the text</a>
<nav aria-label="Pages">
<a class="home" href="%sindex.html">luasight</a>
<input class="search" type="search" placeholder="Find a name" aria-label="Find a name of the reference" data-root="%s" hidden>
<ul class="found" hidden></ul>
<details>
<summary>Pages</summary>
%s
</details>
<div class="list">
%s
</div>
</nav>
<main id="main">
%s
<footer>%s</footer>
</main>
</body>
</html>
]]

---Returns the files of the site by name.
---@return table<string, string>
function site.pages()
  local files, pages, names = { ["style.css"] = read "tools/manual/style.css" }, site.list(), {}
  for i, page in ipairs(pages) do
    local title = i == 1 and "luasight manual" or page.title .. " - luasight"
    local list, root = navigation(pages, page), up(page)
    files[page.name .. ".html"] = frame:format(title, root, root, root, root, list, list, site.body(page, names),
      neighbours(pages, i))
  end
  for i, name in ipairs(names) do names[i] = ('["%s", "%s"]'):format(name[1], name[2]) end
  files["search.js"] = ("const names = [\n%s\n];\n"):format(table.concat(names, ",\n")) .. read "tools/manual/search.js"
  return files
end

return site
