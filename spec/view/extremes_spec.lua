-- Numbers at which pictures once failed or lied: close, large, infinite, outside of the range.
local ls = require "luasight"
local support = require "spec.support"
local cjson = require "cjson"
local plot = ls.plot

local function lines_of(p)
  local lines = {}
  for line in p:text({ colours = "none", width = 80 }):gmatch "[^\n]*\n" do lines[#lines + 1] = line:sub(1, -2) end
  return lines
end

local function text_of(p) return p:text { colours = "none", width = 80 } end

-- What hovering shows: the boxes of a page.
local function spots_of(page) return cjson.decode(page:match '<script type="application/json" id="spots">(.-)</script>') end

local function raises(text, f, ...)
  local err = support.failure(f, ...)
  assert.equal("table", type(err))
  assert.is_truthy(tostring(err):find(text, 1, true), tostring(err))
end

describe("case 8.7: numbers that are close, large, small or far from the range", function()
  local function y_ticks(p) return p.ticks[1], p.ticks[#p.ticks] end

  it("are drawn, each line and each tick", function()
    for _, case in ipairs {
      { { 0.3, 0.1 + 0.2 } }, { { 1e16, 1e16 } }, { { 1e16, 1e16 + 2 } }, { { 5e-324, 0 } }, { { 1e-310, 5e-310 } },
      { { 1e9, -1e9, 0.5 }, { range = { 0, 1 } } }, { { 1e300, -1e300 } }, { { 1, 2 }, { range = { 1e15, 1e15 + 1 } } },
      { { 1e-20, 3e-20 } }, { { 1, 2 }, { width = 1, height = 1 } },
    } do
      for _, kind in ipairs { "line", "bar" } do
        local options = case[2] and { range = case[2].range, width = kind == "line" and case[2].width or nil,
          height = kind == "line" and case[2].height or nil }
        local p = plot[kind](case[1], options)
        local low, high = y_ticks(p)
        assert.is_true(low < high and #p.ticks < 20)
        assert.is_true(#text_of(p) < 20000)
        assert.matches("^<%?xml.*</svg>%s*$", p:svg())
      end
    end
    local lines = lines_of(plot.line({ 1e6, 1e6 + 1 }, { height = 6, width = 20 }))
    assert.matches("^ +1000001 ┤", lines[1])
    assert.matches("^1000000.8 ┤", lines[2])
    -- a line that leaves the range does so in the direction of its next point
    assert.matches("⡇", text_of(plot.line({ 1e9, -1e9 }, { range = { 0, 1 } })))
  end)

  it("are refused where they are too large, and so are wrong options and elements", function()
    for _, kind in ipairs { "line", "bar", "heatmap" } do
      local numbers = kind == "heatmap" and { { -1e308, 1.7e308 } } or { -1e308, 1.7e308 }
      raises("draws numbers up to 1e+300, not 1.7e+308", plot[kind], numbers)
    end
    raises("range of a picture", plot.line, { 1 }, { range = { 0, 1 / 0 } })
    raises("width is a whole number above 0", plot.line, { 1 }, { width = 0 })
    raises("height is a whole number above 0", plot.line, { 1 }, { height = "a" })
    raises("across is a whole number above 0", plot.attention, { { { 1 } } }, { across = 0 })
    raises("heads of a picture needs a list of 1 labels", plot.attention, { { { 1 } } }, { heads = { "a", "b" } })
    raises("legend of a picture needs a list of 2 labels", plot.line, { { 1 }, { 2 } }, { legend = { "a" } })
    raises("depth is a whole number from 0 on", plot.tree, ls.nn.ReLU(), { depth = "a" })
    raises("all is true or false", plot.tree, ls.nn.ReLU(), { all = 1 })
    raises("text is true, false or a list", plot.heatmap, { { 1 } }, { text = "yes" })
    raises("an element of the list is a string", plot.line, { 1, "2" })
    raises('the list has the key "x"', plot.line, { 1, x = 2 })
    assert.same({ { 1, 2 } }, plot.line({ 1LL, 2 }):data().series)
  end)
end)

describe("case 1.11: what lies outside of the colours", function()
  local inf = math.huge

  it("widens the scale of an attention that is no share", function()
    local p = plot.attention { { { 0.5, 40 }, { -40, 1 } } }
    assert.same({ -40, 40, "diverging" }, { p.scale.low, p.scale.high, p.scale.kind })
    assert.is_truthy(text_of(p):find("-40 ", 1, true))
    p = plot.attention { { { 0.5, 1 }, { 0, 1 } } }
    assert.same({ 0, 1, "sequential" }, { p.scale.low, p.scale.high, p.scale.kind })
  end)

  it("is marked at the ends of a scale that the script gives", function()
    local numbers, range = { { 0.5, 40 }, { -40, 1 } }, { 0, 1 }
    for _, p in ipairs { plot.attention({ numbers }, { range = range }),
      plot.heatmap(numbers, { range = range, text = false, colours = "sequential" }) } do
      local lines = lines_of(p)
      assert.matches("^≤ 0 .* ≥ 1$", lines[#lines])
      assert.matches("≥ 1", p:svg())
      assert.matches("≤ 0", p:svg())
    end
    local inside = plot.attention({ { { 0, 1 } } }, { range = range })
    assert.is_nil(text_of(inside):find("≥", 1, true))
  end)

  it("is written as it is where it is infinite", function()
    local p = plot.heatmap({ { 1, inf }, { -inf, 0 / 0 } }, { text = true })
    for _, word in ipairs { "1.00", " inf", "-inf", " nan" } do assert.is_truthy(text_of(p):find(word, 1, true), word) end
    local svg = p:svg()
    for _, word in ipairs { "<text>inf</text>", "<text>-inf</text>", "<text>nan</text>" } do
      assert.is_truthy(svg:find(word, 1, true), word)
    end
    local spots = spots_of(p:html())
    assert.equal("0, 1: inf", spots[2][5])
    assert.equal("1, 0: -inf", spots[3][5])
    local blocks = text_of(plot.attention { { { 1, inf }, { -inf, 0 / 0 } } })
    assert.is_truthy(blocks:find("██ ∞", 1, true))
    assert.is_truthy(blocks:find("-∞ .", 1, true))
    assert.is_truthy(text_of(plot.tokens({ "a", "b" }, { 1, -inf })):find("b  -inf", 1, true))
    assert.is_truthy(text_of(plot.bar { 1, inf }):find("│ inf", 1, true))
    assert.equal(inf, p:data().values[1][2])
  end)
end)
