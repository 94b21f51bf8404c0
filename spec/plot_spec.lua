-- Line pictures: the terminal picture, the SVG, the files.
package.path = "lua/?.lua;" .. package.path
local plot = require "luasight.plot"

local function lines_of(text)
  local lines = {}
  for line in text:gmatch("[^\n]*\n") do lines[#lines + 1] = line:sub(1, -2) end
  return lines
end

local function count(text, what)
  return select(2, text:gsub(what, ""))
end

describe("plot.line", function()
  it("draws a point for every value, with a title, ticks and labels", function()
    local text = tostring(plot.line({ 0, 0.5, 1 }, { title = "Title", labels = { "a", "b", "c" }, height = 11, width = 30 }))
    assert.are.equal(3, count(text, "●"))
    assert.is_truthy(text:find("Title", 1, true))
    assert.is_truthy(text:find("0.8 ┤", 1, true))
    local lines = lines_of(text)
    assert.is_truthy(lines[#lines]:find("a +b +c"))
    assert.are.equal(14, #lines)
  end)

  it("puts the highest value above the lowest", function()
    local lines = lines_of(tostring(plot.line({ 3, 1 }, { height = 5, width = 10 })))
    local high, low
    for i, line in ipairs(lines) do
      local at = line:find("●", 1, true)
      if at and not high then high = { i, at } elseif at then low = { i, at } end
    end
    assert.is_true(high[1] < low[1] and high[2] < low[2])
  end)

  it("counts points from 0 where there are no labels", function()
    local lines = lines_of(tostring(plot.line { 1, 2, 3 }))
    assert.is_truthy(lines[#lines]:find("0 +1 +2$"))
  end)

  it("leaves a gap where a value is no number", function()
    assert.are.equal(2, count(plot.line({ 1, 0 / 0, 3 }):svg(), "<circle"))
    assert.are.equal(2, count(plot.line({ 1, 1 / 0, 3 }):svg(), "<circle"))
  end)

  it("draws several series with a legend", function()
    local p = plot.line({ { 1, 2 }, { 2, 1 } }, { legend = { "up", "down" } })
    assert.are.equal(2, count(p:svg(), "<polyline"))
    assert.is_truthy(tostring(p):find("● up   ○ down", 1, true))
  end)

  it("draws one value and equal values", function()
    assert.are.equal(1, count(tostring(plot.line { 5 }), "●"))
    assert.are.equal(2, count(tostring(plot.line { 0, 0 }), "●"))
  end)

  it("escapes text in SVG", function()
    local svg = plot.line({ 1, 2 }, { title = "P(\" <a> & b\")" }):svg()
    assert.is_truthy(svg:find("P(&quot; &lt;a&gt; &amp; b&quot;)", 1, true))
    assert.is_nil(svg:find("<a>", 1, true))
  end)

  it("saves svg, html and txt, and refuses other names and places", function()
    for _, kind in ipairs { "svg", "html", "txt" } do
      local path = os.tmpname() .. "." .. kind
      local p = plot.line({ 1, 2 }, { title = "t" }):save(path)
      local file = assert(io.open(path))
      local content = file:read("*a")
      file:close()
      os.remove(path)
      os.remove((path:gsub("%.%w+$", "")))
      assert.is_truthy(content:find(kind == "txt" and tostring(p) or p:svg(), 1, true))
    end
    assert.has_error(function() plot.line({ 1 }):save("picture.png") end)
    assert.has_error(function() plot.line({ 1 }):save("/nowhere/at/all.svg") end)
  end)

  it("refuses nothing to draw", function()
    assert.has_error(function() plot.line {} end)
    assert.has_error(function() plot.line { 0 / 0 } end)
    assert.has_error(function() plot.line("1, 2") end)
  end)
end)
