--- The methods of all pictures: printing, saving as SVG, PNG, HTML or text, and returning their numbers.
---
--- A kind of picture is a class made by `figure.class`, which defines `_text(depth, width)`, `_draw(theme)` and `data()`.
local colours = require "luasight.view.plot.colours"
local failure = require "luasight.base.error"
local labels = require "luasight.view.plot.labels"
local numbers = require "luasight.view.plot.numbers"
local options_of = require "luasight.base.options"
local page = require "luasight.view.plot.page"
local program = require "luasight.view.plot.program"
local system = require "luasight.ffi.system"

local figure = {}

---@class luasight.Plot  a picture
---@field options table  the options with which the picture was made
---@field _text fun(self, depth: luasight.ColourDepth, width: integer): string  returns text for a terminal
---@field _draw fun(self, theme: luasight.Theme): string, luasight.Spot[]?  returns an SVG and texts to show under the mouse
local Plot = {}

-- ---- in the terminal ---------------------------------------------------------------------------------------------------

---Returns the picture as text for a terminal.
---@param style? { colours: string?, width: integer? }  colours: "true", "256" or "none"; by default what
---  standard output can show; width: in characters
---@return string
function Plot:text(style)
  style = options_of.read("picture:text", style, { colours = true, width = options_of.count })
  local depth = style.colours or colours.depth()
  if depth ~= "true" and depth ~= "256" and depth ~= "none" then
    failure.raise("argument", ("colours in a terminal are \"true\", \"256\" or \"none\", not %s"):format(tostring(depth)))
  end
  local text = self:_text(depth, style.width or system.columns(1))
  return text:gsub("[ \t]+\n", "\n"):gsub("%s+$", "") .. "\n"
end

-- ---- as files ----------------------------------------------------------------------------------------------------------

local function theme_of(name)
  local theme = colours.themes[name or "light"]
  if theme then return theme end
  failure.raise("argument", ("the option theme of a picture: a theme is \"light\" or \"dark\", not %s"):format(tostring(name)))
end

---Returns the picture as the text of an SVG file.
---@param theme? "light"|"dark"
---@return string
function Plot:svg(theme) return (self:_draw(theme_of(theme))) end

---Returns the picture as the bytes of a PNG file, with twice the resolution of the SVG.
---@param theme? "light"|"dark"
---@return string
function Plot:png(theme) return program.run("rsvg-convert", "--zoom=2 --format=png", self:svg(theme)) end

---Returns the picture as an HTML page that needs no other files. The page is light or dark as the reader's system is set, and
---shows the value under the mouse.
---@return string
function Plot:html()
  local light, spots = self:_draw(colours.themes.light)
  return page.html(labels.plain(self.options.title or self.kind), light, (self:_draw(colours.themes.dark)), spots or {})
end

local kinds = {
  svg = Plot.svg,
  png = Plot.png,
  html = Plot.html,
  txt = function(self) return self:text { colours = "none" } end,
}

---Writes the picture to the file `path`, whose name ends in .svg, .png, .html or .txt.
---@param path string
---@param options? { theme: "light"|"dark" }  theme: the colours of an SVG or PNG file
---@return luasight.Plot
function Plot:save(path, options)
  local make = kinds[(tostring(path):match "%.(%w+)$" or ""):lower()]
  if not make then
    failure.raise("argument", ("cannot save a picture as %q: the name must end in .svg, .png, .html or .txt"):format(
      tostring(path)))
  end
  local content = make(self, options_of.read("picture:save", options, { theme = true }).theme)
  local file, problem = io.open(path, "wb")
  local ok = file
  if file then
    ok, problem = file:write(content)
    if ok then ok, problem = file:close() else file:close() end
  end
  if not ok then failure.raise("io", "cannot write the picture: " .. tostring(problem)) end
  return self
end

---Saves the picture where a path is given, else prints the picture.
---@param path string?
---@return luasight.Plot
function Plot:show(path)
  if path then return self:save(path) end
  io.write(tostring(self))
  return self
end

-- ---- classes -----------------------------------------------------------------------------------------------------------

local kinds_of = {
  width = options_of.count,
  height = options_of.count,
  across = options_of.count,
  depth = options_of.size,
  all = "boolean",
  text = { "true, false or a list of rows of texts", function(v) return type(v) == "boolean" or type(v) == "table" end },
}

---Makes the class of one kind of pictures, which inherits the methods of all pictures.
---@param kind string  the name of the kind, such as "line"
---@param options string[]  the names of the options that the kind has in addition to `title`
---@return table
function figure.class(kind, options)
  local class = { kind = kind, known = { title = true } }
  for _, name in ipairs(options) do class.known[name] = kinds_of[name] or true end
  class.__index = function(_, key) return class[key] or Plot[key] end
  class.__tostring = function(self) return self:text() end
  return class
end

---Checks and returns the options of a picture; raises an error for an option that the class does not have.
---@param class table
---@param options table?
---@return table
function figure.options(class, options)
  options = options_of.read("plot." .. class.kind, options, class.known)
  local range = options.range
  if range ~= nil and (type(range) ~= "table" or type(range[1]) ~= "number" or type(range[2]) ~= "number"
    or not (range[1] < range[2] and range[1] >= -numbers.LARGEST and range[2] <= numbers.LARGEST)) then
    failure.raise("argument", ("the option range of a picture is { lowest, highest }, and the second number is greater; "
      .. "both are at most %g"):format(numbers.LARGEST))
  end
  if options.colours ~= nil and options.colours ~= "sequential" and options.colours ~= "diverging" then
    failure.raise("argument", ("the option colours of a picture is \"sequential\" or \"diverging\", not %s"):format(
      tostring(options.colours)))
  end
  return options
end

---Returns the title of a picture with a line end, or "" where the picture has no title.
---@param self luasight.Plot
---@return string
function figure.heading(self)
  return self.options.title and labels.plain(self.options.title) .. "\n" or ""
end

return figure
