-- What pictures write: labels, numbers, colours of a terminal.

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
