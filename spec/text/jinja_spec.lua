-- Chat templates: the text that jinja2 gives, and a refusal by name for what is not implemented.
local cjson = require "cjson"
local ls = require "luasight"
local jinja = require "luasight.text.jinja"

local function reference()
  local file = assert(io.open "spec/reference/jinja.json")
  local cases = cjson.decode(file:read "*a")
  file:close()
  return cases
end

describe("a chat template", function()
  it("gives the text that the reference gives", function()
    local refused = 0
    for _, case in ipairs(reference()) do
      local ok, text = pcall(function() return jinja.compile(case[1], "chat_template")(case[2]) end)
      if case[3] == cjson.null then
        assert.is_false(ok)
        assert.are.equal("argument", text.code)
        refused = refused + 1
      else
        assert(ok, case[1]:sub(1, 200) .. ": " .. tostring(text))
        assert.are.equal(case[3], text, case[1]:sub(1, 200))
      end
    end
    assert.is_true(refused > 0)
  end)

  it("is refused with the name and the line of what is not implemented", function()
    for template, says in pairs {
      ["a\n{% include 'x' %}"] = 'line 2 of the template: the statement "include" is not implemented',
      ["{{ 'a' | wordwrap }}"] = 'line 1 of the template: the filter "wordwrap" is not implemented',
      ["{{ 'a' is upper }}"] = 'the test "upper" is not implemented',
      ["{{ 'a'.zfill(3) }}"] = 'the method "zfill" of a string is not implemented',
      ["{% for x in [] recursive %}{% endfor %}"] = '"recursive" is not implemented',
      ["{% if x %}"] = "is missing at the end",
      ["{{ 1 + }}"] = "a value is missing before the end",
      ["{{ 'a"] = "a string of the template does not end",
      ["{{ a"] = "the template ends before the closing }}",
      ["{{ a.b.c }}"] = "a is undefined, so it has no",
      ["{{ a() }}"] = "a, which is undefined, cannot be called",
      ["{{ 'a' + 1 }}"] = "a string cannot be used with the operator +",
      ["{{ 1 ? 2 }}"] = '"?" is not implemented',
      ["{{ raise_exception('no\nway') }}"] = "chat_template: no way",
      ["{% endif %}"] = '"endif"',
      ["{# a"] = "a comment of the template does not end",
    } do
      local ok, err = pcall(function() return jinja.compile(template, "chat_template")({}) end)
      assert.is_false(ok, template)
      assert.are.equal("table", type(err), tostring(err))
      assert.are.equal("argument", err.code)
      assert.is_truthy(err.message:find(says, 1, true), template .. ": " .. err.message)
    end
  end)

  it("of a tokenizer is applied to messages, and gives ids", function()
    local folder = "models/pretrained/ioi"
    local tokenizer = ls.Tokenizer(folder)
    local messages = { { role = "user", content = "Mary went to the store" } }
    local template = "{% for m in messages %}{{ m.role }}: {{ m.content }}{% endfor %}"
      .. "{% if add_generation_prompt %} and{% endif %}"
    local text = tokenizer:apply_chat_template(messages, { chat_template = template, tokenize = false })
    assert.are.equal("user: Mary went to the store", text)
    local ids = tokenizer:apply_chat_template(messages, { chat_template = template, add_generation_prompt = true })
    assert.are.equal("user: Mary went to the store and", tokenizer:decode(ids))
    local ok, err = pcall(tokenizer.apply_chat_template, tokenizer, messages)
    assert.is_false(ok)
    assert.is_truthy(err.message:find("has no chat_template", 1, true))
  end)
end)
