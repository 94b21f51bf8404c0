-- Pictures: their numbers, their text in terminals with and without colours, the structure of SVG and HTML, hostile labels,
-- what is said where a program is missing. Pixels are not compared.
local ls = require "luasight"
local cjson = require "cjson"
local plot = ls.plot

local function lines_of(text)
  local lines = {}
  for line in text:gmatch "[^\n]*\n" do lines[#lines + 1] = line:sub(1, -2) end
  return lines
end

local function count(text, what) return select(2, text:gsub(what, "")) end

local function text_of(p, width) return p:text { colours = "none", width = width or 80 } end

local function read(path)
  local file = assert(io.open(path, "rb"))
  local content = file:read "*a"
  file:close()
  return content
end

-- A folder of its own, removed at the end of the test.
local function folder()
  local path = os.tmpname()
  os.remove(path)
  assert(os.execute("mkdir " .. path) == 0)
  finally(function() os.execute("rm -r " .. path) end)
  return path
end

local function assert_xml(content)
  local path = os.tmpname()
  local file = assert(io.open(path, "wb"))
  file:write(content)
  file:close()
  local status = os.execute(("xmllint --noout --nonet %s 2> %s.err"):format(path, path))
  local problems = read(path .. ".err")
  os.remove(path)
  os.remove(path .. ".err")
  assert.equal(0, status, problems)
end

-- What hovering shows: the boxes of a page.
local function spots_of(page) return cjson.decode(page:match '<script type="application/json" id="spots">(.-)</script>') end

local function raises(pattern, f, ...)
  local ok, e = pcall(f, ...)
  assert.is_false(ok)
  assert.matches(pattern, tostring(e))
end

local one = {
  line = function() return plot.line({ 1, 2, 0 / 0, 4 }, { title = "t", x = "x", y = "y" }) end,
  bar = function() return plot.bar({ { 1, -2 }, { 3, 4 } }, { legend = { "a", "b" }, title = "t" }) end,
  heatmap = function() return plot.heatmap({ { 1, -2, 0 / 0 }, { 3, 4, 5 } }, { title = "t", value = "v", text = true }) end,
  attention = function() return plot.attention(ls.torch.ones(3, 2, 2), { title = "t", tokens = { " a", "b\n" } }) end,
  tokens = function() return plot.tokens({ "a", "b\n", " c" }, { 1, 2, 3 }, { title = "t", value = "v" }) end,
  tree = function() return plot.tree(ls.nn.Sequential { ls.nn.Linear(2, 3), ls.nn.Linear(2, 3) }, { title = "t" }) end,
  graph = function()
    local p
    local net = ls.Model(ls.nn.Sequential { { "first", ls.nn.Identity() }, { "second", ls.nn.Identity() } })
    net:trace(ls.torch.ones(2), function(tracer)
      net.first.output[0] = 7
      local _ = (net.second.output * 2):save()
      p = plot.graph(tracer, { title = "t" })
    end)
    return p
  end,
}

describe("every picture", function()
  for name, make in pairs(one) do
    it(("is well-formed as SVG and HTML, in both themes (%s)"):format(name), function()
      local p = make()
      local light, dark = p:svg(), p:svg "dark"
      assert_xml(light)
      assert_xml(dark)
      assert.is_truthy(light:find("#ffffff", 1, true) and dark:find("#14171c", 1, true))
      local page = p:html()
      assert_xml(page)
      assert.equal(2, count(page, "<svg"))
      assert.is_nil(page:find "src=")
    end)

    it(("saves all its kinds (%s)"):format(name), function()
      local p, path = make(), folder()
      for _, kind in ipairs { "svg", "png", "html", "txt" } do
        assert.equal(p, p:save(("%s/p.%s"):format(path, kind)))
      end
      assert.equal(p:svg(), read(path .. "/p.svg"))
      assert.equal("\137PNG", read(path .. "/p.png"):sub(1, 4))
      assert.equal(text_of(p, 80), read(path .. "/p.txt"))
      assert.equal("table", type(p:data()))
      assert.is_nil(text_of(p):find "\27")
      assert.is_nil(text_of(p):find " \n")
    end)

    it(("colours a terminal (%s)"):format(name), function()
      assert.matches("\27%[[34]8;2;%d+;%d+;%d+m", make():text { colours = "true", width = 80 })
      assert.matches("\27%[[34]8;5;%d+m", make():text { colours = "256", width = 80 })
      assert.is_nil(make():text({ colours = "256", width = 80 }):find("8;2;", 1, true))
    end)
  end

  it("refuses what it does not know", function()
    raises("no picture ls.plot.lines %(did you mean \"line\"", function() return plot.lines end)
    raises("plot.line has no option \"tilte\" %(did you mean \"title\"", plot.line, { 1 }, { tilte = "x" })
    raises("range is { lowest, highest }", plot.heatmap, { { 1 } }, { range = { 1, 1 } })
    raises('colours are "sequential" or "diverging", not red', plot.heatmap, { { 1 } }, { colours = "red" })
    raises("must end in .svg, .png, .html or .txt", function() plot.line({ 1 }):save "picture.gif" end)
    raises("cannot write the picture: /nowhere", function() plot.line({ 1 }):save "/nowhere/at/all.svg" end)
    raises('a theme is "light" or "dark", not blue', function() plot.line({ 1 }):svg "blue" end)
    raises('are "true", "256" or "none", not 16', function() plot.line({ 1 }):text { colours = "16" } end)
  end)

  it("says how to get a program that is missing, and prints without it", function()
    local file = folder() .. "/script.lua"
    local script = assert(io.open(file, "wb"))
    script:write 'local p = require "luasight".plot.bar { 1, 2 }\nprint(p)\np:svg()\n'
    script:close()
    local luajit = io.popen "command -v luajit"
    local path = luajit:read "*l"
    luajit:close()
    local status = os.execute(("PATH=/nowhere %s bin/luasight %s > %s.out 2> %s.err"):format(path, file, file, file))
    assert.equal(1, status / 256)
    assert.matches("2%.0", read(file .. ".out"))
    assert.matches("script.lua:3: this picture is drawn by gnuplot, which is not installed %(run apt%-get install gnuplot%-nox",
      read(file .. ".err"))
  end)

  it("keeps texts out of the shell, out of the drawing programs and out of the page", function()
    local path = folder()
    local evil = { "`touch P/1`", "'; system 'touch P/2'", '"; system "touch P/3"', "@x", "a\nsystem 'touch P/4'\n", "END",
      "$(touch P/5)", "]]>", "</script><script>alert(1)</script>", "\\n\\", "%s%d", "^_{}", "\255\0\1", '"];\nx [label="',
      "&lt;" }
    local numbers = {}
    for i, text in ipairs(evil) do
      evil[i], numbers[i] = text:gsub("P", path), i
    end
    local pictures = {
      plot.heatmap({ numbers, numbers }, { columns = evil, text = { evil, evil }, title = evil[2], x = evil[1], y = evil[3],
        value = evil[9] }),
      plot.bar(numbers, { labels = evil, title = table.concat(evil), legend = { evil[9] } }),
      plot.line({ numbers }, { labels = evil, y = evil[2], legend = { evil[9] } }),
      plot.tokens(evil, numbers, { value = evil[2] }),
      plot.attention({ { { 1 } } }, { tokens = { evil[8] }, heads = { evil[2] }, title = evil[9] }),
    }
    local net = ls.nn.Sequential { { evil[9], ls.nn.Identity() }, { evil[14]:gsub("%.", ""), ls.nn.Identity() } }
    pictures[#pictures + 1] = plot.tree(net, { title = evil[14] })
    for i, p in ipairs(pictures) do
      local page = p:html()
      assert_xml(page)
      assert_xml(p:svg())
      assert.equal(2, count(page, "<script"), i)
      assert.is_nil(text_of(p):find("\255", 1, true))
    end
    local list = io.popen("ls " .. path)
    assert.equal("", list:read "*a")
    list:close()
  end)
end)

describe("plot.line", function()
  it("draws a point for every value, with a title, ticks and labels", function()
    local text = text_of(plot.line({ 0, 0.5, 1 }, { title = "Title", labels = { "a", "b", "c" }, height = 11, width = 30 }))
    assert.equal(3, count(text, "●"))
    assert.is_truthy(text:find("Title", 1, true))
    assert.is_truthy(text:find("0.8 ┤", 1, true))
    local lines = lines_of(text)
    assert.is_truthy(lines[#lines]:find "a +b +c")
    assert.equal(14, #lines)
  end)

  it("puts the highest value above the lowest", function()
    local high, low
    for i, line in ipairs(lines_of(text_of(plot.line({ 3, 1 }, { height = 5, width = 10 })))) do
      local at = line:find("●", 1, true)
      if at and not high then high = { i, at } elseif at then low = { i, at } end
    end
    assert.is_true(high[1] < low[1] and high[2] < low[2])
  end)

  it("counts points from 0 where there are no labels", function()
    local lines = lines_of(text_of(plot.line { 1, 2, 3 }))
    assert.is_truthy(lines[#lines]:find "0 +1 +2$")
  end)

  it("leaves a gap where a value is no number", function()
    for _, v in ipairs { 0 / 0, 1 / 0 } do
      local p = plot.line({ 1, v, 3 }, { labels = { "a", "b", "c" } })
      assert.equal(2, count(text_of(p), "●"))
      local spots = spots_of(p:html())
      assert.equal(2, #spots)
      assert.equal("a: 1", spots[1][5])
      assert.equal("c: 3", spots[2][5])
      assert.is_true(spots[1][1] < spots[2][1] and spots[1][2] > spots[2][2])
    end
  end)

  it("draws several series with a legend, from lists and tensors", function()
    for _, values in ipairs { { { 1, 2 }, { 2, 1 } }, ls.torch.tensor { { 1, 2 }, { 2, 1 } } } do
      local p = plot.line(values, { legend = { "up", "down" } })
      assert.is_truthy(text_of(p):find("● up   ○ down", 1, true))
      assert.same({ { 1, 2 }, { 2, 1 } }, p:data().series)
      assert.equal("down, 1: 1", spots_of(p:html())[4][5])
      assert.matches("<text>down</text>", p:svg())
    end
  end)

  it("draws one value and equal values", function()
    assert.equal(1, count(text_of(plot.line { 5 }), "●"))
    assert.equal(2, count(text_of(plot.line { 0, 0 }), "●"))
    assert_xml(plot.line({ 5 }):svg())
    assert_xml(plot.line({ 0, 0 }):svg())
  end)

  it("refuses nothing to draw", function()
    raises("a list of numbers", plot.line, {})
    raises("no finite number", plot.line, { 0 / 0 })
    raises("not a string", plot.line, "1, 2")
    raises("a tensor with 1 axes; the shape is %[2, 1, 2%]", plot.line, ls.torch.ones(2, 1, 2))
  end)
end)

describe("plot.bar", function()
  it("draws bars of the right length, to the left where negative", function()
    local lines = lines_of(text_of(plot.bar({ 2, -1, 0 }, { labels = { "two", " minus", "none" } })))
    assert.equal(2 * count(lines[2], "█"), count(lines[1], "█"))
    assert.matches("^ +two +│█[█]+ 2%.00$", lines[1])
    assert.matches("^·minus █[█]+│ %-1%.00$", lines[2])
    assert.matches("^ +none +│ 0%.00$", lines[3])
  end)

  it("groups series", function()
    local p = plot.bar({ { 1, 2 }, { 3, 4 } }, { legend = { "a", "b" }, labels = { "x", "y" } })
    local spots = spots_of(p:html())
    assert.equal(4, #spots)
    assert.equal("b, y: 4", spots[4][5])
    assert.is_true(spots[3][1] > spots[1][1] and spots[3][1] < spots[2][1]) -- b of x between a of x and a of y
    assert.is_true(spots[4][4] > spots[1][4] * 3)
  end)
end)

describe("plot.heatmap", function()
  local numbers = { { 0.5, -1, 0 / 0 }, { 0, 2, 1 } }

  it("gives its numbers back and shows them at their places", function()
    local p = plot.heatmap(numbers, { rows = { "r", " s" }, columns = { "a", "b\n", "c" } })
    local data = p:data()
    assert.same({ "r", "·s" }, data.rows)
    assert.same({ "a", "b↵", "c" }, data.columns)
    assert.equal(-1, data.values[1][2])
    local lines = lines_of(text_of(p))
    assert.matches("^ +a +b↵ +c$", lines[1])
    assert.matches("^ r +0%.50 +%-1%.00 +nan$", lines[2])
    assert.matches("^·s +0%.00 +2%.00 +1%.00$", lines[3])
    local spots = spots_of(p:html())
    assert.equal(6, #spots)
    assert.equal("·s, b↵: 2", spots[5][5])
    assert.equal(spots[2][1], spots[5][1])
    assert.is_true(spots[5][2] > spots[2][2])
  end)

  it("has zero in the middle of diverging colours", function()
    local p = plot.heatmap(numbers)
    assert.equal("diverging", p.scale.kind)
    assert.equal(-2, p.scale.low)
    assert.equal(2, p.scale.high)
    local theme = require "luasight.view.plot.colours".themes.light
    assert.equal(theme.diverging[4], p.scale:colour(0, theme))
    assert.equal(theme.diverging[7], p.scale:colour(9, theme))
    assert.equal(theme.none, p.scale:colour(0 / 0, theme))
    assert.equal("sequential", plot.heatmap({ { 1, 2 } }).scale.kind)
    assert.same({ -3, 3 }, { plot.heatmap({ { 1, 2 } }, { colours = "diverging", range = { -1, 3 } }).scale.low, 3 })
  end)

  it("colours the cell of each number as the picture does", function()
    local text = plot.heatmap({ { 0, 1 } }, { text = false }):text { colours = "true", width = 80 }
    assert.is_truthy(text:find("\27[48;2;255;255;255m", 1, true)) -- the lowest
    assert.is_truthy(text:find("\27[48;2;10;42;102m", 1, true))   -- the highest
    local svg = plot.heatmap({ { 0, 1 } }):svg()
    assert.matches("rgb%( ?10, *42, *102%)", svg)
  end)

  it("writes text into cells and goes on below where there is no room", function()
    local p = plot.heatmap({ { 0.1, 0.9 } }, { text = { { " Mary", "a very long token it is" } }, columns = { "x", "y" } })
    assert.equal(3 + 2, #lines_of(text_of(p, 30)))
    assert.matches("·Mary", text_of(p))
    assert.matches("a very long token it is", text_of(p))
    assert.matches("<text>·Mary</text>", p:svg())
    assert.matches("<text>a very long t…</text>", p:svg())
    assert.equal("a very long token it is\n0, y: 0.9", spots_of(p:html())[2][5])
  end)

  it("uses blocks where numbers do not fit a terminal with colours", function()
    local wide = plot.heatmap(ls.torch.randn(12, 20))
    for _, line in ipairs(lines_of(wide:text { colours = "true", width = 60 })) do
      assert.is_true(#line:gsub("\27%[[%d;]*m", "") <= 60)
    end
    for _, line in ipairs(lines_of(text_of(wide, 60))) do assert.is_true(#line <= 60) end
  end)

  it("finds room for 12 layers, 20 positions and long tokens", function()
    local tokens = {}
    for i = 1, 20 do tokens[i] = i == 16 and " antidisestablishmentarianism" or i % 3 == 0 and "\n\n" or " word" end
    local p = plot.heatmap(ls.torch.randn(12, 20), { columns = tokens, x = "position", y = "layer" })
    local svg = p:svg()
    local width, height = svg:match 'viewBox="0 0 (%d+) (%d+)"'
    for _, spot in ipairs(spots_of(p:html())) do
      assert.is_true(spot[1] >= 0 and spot[2] >= 0 and spot[1] + spot[3] <= tonumber(width))
      assert.is_true(spot[2] + spot[4] <= tonumber(height) - 100) -- room for the labels
    end
    for _, token in ipairs(tokens) do
      local shown = token == "\n\n" and "↵↵" or "·" .. token:sub(2, 6)
      assert.is_truthy(svg:find(shown, 1, true))
    end
  end)

  it("refuses to write a file of too many cells", function()
    local big = plot.heatmap(ls.torch.ones(501, 500))
    raises("250500 cells is too big to draw.*at most 250000 cells", big.svg, big)
  end)

  it("refuses rows and texts that do not fit", function()
    raises("row 1 has 1 numbers, but row 0 has 2", plot.heatmap, { { 1, 2 }, { 3 } })
    raises("the text has to have 1 rows of 2 cells", plot.heatmap, { { 1, 2 } }, { text = { { "a" } } })
    raises("the shape is %[3%]", plot.heatmap, ls.torch.ones(3))
  end)
end)

describe("plot.attention", function()
  it("takes the pattern of a model, by head", function()
    local pattern = ls.torch.eye(3):unsqueeze(0):unsqueeze(0):expand(1, 4, 3, 3)
    local p = plot.attention(pattern, { tokens = { "The", " cat", "\n" } })
    assert.equal(4, #p:data().values)
    assert.same({ "The", "·cat", "↵" }, p:data().columns)
    local text = text_of(p)
    assert.equal(4, count(text, "head %d"))
    assert.equal(4 * 3 * 2 + 2 * 2, count(text, "█")) -- the diagonals, and the end of the scale twice
    local spots = spots_of(p:html())
    assert.equal(4 * 9, #spots)
    assert.equal("head 1\n·cat reads ·cat: 1", spots[9 + 5][5])
    assert.matches("<text>head 3</text>", p:svg())
  end)

  it("refuses another shape", function()
    raises("a tensor with 3 axes; the given tensor has the shape %[2, 4, 3, 3%]", plot.attention, ls.torch.ones(2, 4, 3, 3))
    raises("the option tokens of a picture needs a list of 3 labels, one for each place, not of 2", plot.attention,
      ls.torch.ones(4, 3, 3), { tokens = { "a", "b" } })
    raises("the option columns of a picture needs a list of 2 labels, one for each place, not of 3", plot.heatmap,
      { { 1, 2 } }, { columns = { "a", "b", "c" } })
  end)
end)

describe("plot.tokens", function()
  it("shows spaces and line ends, in colours in order and else as a table", function()
    local p = plot.tokens({ " Mary", "\n", "went" }, { 1, -0.5, 0 / 0 }, { value = "effect" })
    assert.matches("·Mary  1\n↵      %-0.5\nwent   nan\neffect\n", text_of(p))
    local plain = p:text({ colours = "true", width = 80 }):gsub("\27%[[%d;]*m", "")
    assert.matches("^·Mary↵\nwent\neffect: %-1 +1\n$", plain)
    assert.same({ " Mary", "\n", "went" }, p:data().tokens)
    assert.equal("·Mary: 1", spots_of(p:html())[1][5])
    assert.is_true(spots_of(p:html())[3][2] > spots_of(p:html())[2][2]) -- below, after the end of the line
  end)

  it("refuses another number of numbers", function()
    raises("there are 2 tokens and 1 numbers", plot.tokens, { "a", "b" }, { 1 })
  end)
end)

describe("plot.tree", function()
  local nn = ls.nn

  it("shows equal neighbours once, or all", function()
    local net = nn.Sequential { nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 3) }
    local tree = plot.tree(net):data()
    assert.equal(2, #tree.children)
    assert.equal("0-1", tree.children[1].name)
    assert.equal(2, tree.children[1].alike)
    assert.equal(6, tree.children[1].parameters)
    assert.equal(21, tree.parameters)
    assert.same({ "weight [3, 2]", "bias [3]" }, tree.children[2].tensors)
    assert.equal(3, #plot.tree(ls.Model(net), { all = true }):data().children)
    assert.equal(0, #plot.tree(net, { depth = 0 }):data().children)
    local lines = lines_of(text_of(plot.tree(net)))
    assert.matches("^Sequential +21$", lines[1])
    assert.matches("^├─ 0%-1 +2 x Linear +2 x 6 +weight %[2, 2%], bias %[2%]$", lines[2])
    assert.matches("^└─ 2 +Linear +9 ", lines[3])
  end)

  it("counts a tied parameter once", function()
    local net = nn.Sequential { nn.Linear(2, 2, { bias = false }), nn.Linear(2, 2, { bias = false }) }
    net[1].weight = net[0].weight
    local tree = plot.tree(net):data()
    assert.equal(4, tree.parameters)
    assert.same({ "weight tied to 0.weight" }, tree.children[2].tensors)
  end)

  it("gives hovering over a module its tensors", function()
    local svg = plot.tree(nn.Sequential { nn.Linear(2, 3) }):svg()
    assert.matches("<title>0\nLinear\n9\nweight %[3, 2%]\nbias %[3%]</title>", svg)
  end)

  it("refuses what is no model", function() raises("not a string", plot.tree, "gpt2") end)
end)

describe("plot.graph", function()
  local function new_net()
    return ls.Model(ls.nn.Sequential { { "first", ls.nn.Identity() }, { "second", ls.nn.Identity() } })
  end

  it("says of each node where it runs, what it uses, edits and saves", function()
    local net, nodes, text, dot = new_net(), nil, nil, nil
    net:trace(ls.torch.ones(3), function(tracer)
      local x = net.second.output
      net.first.output[0] = 7
      local _ = (x * 2):save()
      local p = plot.graph(tracer)
      nodes, text, dot = p:data(), text_of(p), tracer:dot()
      assert.equal(p:dot(), tracer:graph():dot())
    end)
    local by_text = {}
    for _, node in ipairs(nodes) do by_text[node.text] = node end
    local edit, product = by_text["%1[0] = 7"], by_text["mul(%0, 2)"]
    assert.equal("first", edit.module)
    assert.is_true(edit.edits and not edit.saved)
    assert.equal("second", product.module)
    assert.same({ 0 }, product.inputs)
    assert.is_true(product.saved and not product.edits)
    assert.matches("plot_spec.lua:%d+$", product.line)
    assert.equal("first\n  %1: output\n  %2: %1[0] = 7  -- edit\nsecond\n  %0: output\n  %3: mul(%0, 2)  -- saved\n", text)
    assert.matches("n0 %-> n3;", dot)
    assert.matches("label=\"first\"", dot)
  end)

  it("shows passes of invokes", function()
    local net, p = new_net(), nil
    net:trace(function(tracer)
      local last
      tracer:invoke(ls.torch.ones(1, 2), function() last = net.second.output end)
      tracer:invoke(ls.torch.zeros(1, 2), function()
        net.first.output = last
        local _ = net.second.output:save()
      end)
      p = plot.graph(tracer)
    end)
    assert.matches("^pass 0, invoke 0\nsecond\n.*\npass 1, invoke 1\nfirst\n.*= %%%d+  %-%- edit\nsecond\n", text_of(p))
    local dot = p:dot()
    assert.matches("pass 1, invoke 1", dot)
    assert.matches("style=dashed", dot)
  end)

  it("shows steps of a generation", function()
    local p
    local model = ls.LanguageModel "models/pretrained/ioi"
    local block = model.transformer.h[1]
    model:generate("Mary and", { max_new_tokens = 2 }, function(tracer)
      for _ in tracer:iter(0, 2) do block.output[0][":"] = block.output[0] * 2 end
      local _ = model.lm_head.output:save()
      p = plot.graph(tracer)
    end)
    local text = text_of(p)
    assert.matches("^step 0\ntransformer.h.1\n.*mul.*edit\nlm_head\n[^\n]*saved\nstep 1\ntransformer.h.1\n.*mul.*edit\n$", text)
    assert.equal(2, count(text, "mul%("))
  end)

  it("refuses a trace that has ended", function()
    local net, kept = new_net(), nil
    net:trace(ls.torch.ones(1), function(tracer)
      kept = tracer
      return net.output
    end)
    raises("already ended", plot.graph, kept)
    raises("not a number", plot.graph, 3)
  end)
end)

describe("labels of pictures", function()
  local labels = require "luasight.view.plot.labels"

  it("show what cannot be seen", function()
    assert.equal("·a b··", labels.visible " a b  ")
    assert.equal("··", labels.visible "  ")
    assert.equal("↵⇥␍\\x01", labels.visible "\n\t\r\1")
    assert.equal("\\xE6\\x97é日\\xC0\\x80\\xED\\xA0\\x80", labels.visible "\230\151é日\192\128\237\160\128")
  end)

  it("know the columns of a text and cut it there", function()
    assert.equal(4, labels.columns "日a\204\129b")
    assert.equal("日…", labels.cut("日本語", 4))
    assert.equal("abc", labels.cut("abc", 3))
    assert.equal("ab…", labels.cut("abcd", 3))
    assert.equal("  日", labels.fill("日", 4, "right"))
  end)
end)

describe("numbers of pictures", function()
  local numbers = require "luasight.view.plot.numbers"

  it("are written with the digits that the largest needs", function()
    for most, wanted in pairs { [0.5] = "0.12", [5] = "0.12", [50] = "0.1", [500] = "0", [0.05] = "0.123", [0] = "0.12" } do
      assert.equal(wanted, numbers.short(most)(0.123))
    end
    assert.equal("1.0e-07", numbers.short(1e-7)(1e-7))
    assert.equal("0.00", numbers.short(1)(-0.001))
    assert.equal("nan", numbers.short(1)(0 / 0))
  end)

  it("have round ticks", function()
    assert.same({ 0, 0.2, 0.4, 0.6000000000000001, 0.8, 1 }, numbers.ticks(0, 1))
    assert.same({ -2, -1, 0, 1, 2, 3 }, numbers.ticks(-2, 3))
  end)
end)

describe("colours of a terminal", function()
  it("have the nearest of 256", function()
    local colours = require "luasight.view.plot.colours"
    assert.equal(231, colours.of_256 "#ffffff")
    assert.equal(16, colours.of_256 "#000000")
    assert.equal(196, colours.of_256 "#ff0000")
    assert.equal(244, colours.of_256 "#808080")
    assert.equal("#000000", colours.on "#ffff00")
    assert.equal("#ffffff", colours.on "#00008b")
  end)
end)
