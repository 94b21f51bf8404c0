--- Makes an HTML page of a picture, with a light and a dark version of which the reader's system chooses one. The page needs
--- no other file and fetches nothing.
local json = require("cjson").new()

local page = {}

---@class luasight.Spot  a text that is shown while the mouse is in a box: x, y, width, height in pixels, and the text
---@field [1] number
---@field [2] number
---@field [3] number
---@field [4] number
---@field [5] string

local escapes = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;", ["'"] = "&#39;" }

---Returns a text in which the characters with a meaning in HTML are escaped.
---@param s string
---@return string
function page.escape(s) return (s:gsub("[&<>\"']", escapes)) end

-- Returns an SVG without its file header. The ids in the SVG get a prefix, because the page holds two SVGs.
local function inner(svg, prefix)
  local from = svg:find "<svg"
  return (svg:sub(from):gsub("(%sid=[\"'])", "%1" .. prefix):gsub("(href=[\"']#)", "%1" .. prefix)
    :gsub("url%(#", "url(#" .. prefix))
end

-- The script of the page has no `<` and no `&`, so that the page is well-formed XML too.
local script = [[
const spots = JSON.parse(document.getElementById("spots").textContent);
const tip = document.getElementById("tip");
for (const sheet of document.querySelectorAll(".sheet")) {
  const hide = function () { tip.hidden = true; };
  const show = function (event) {
    const svg = sheet.querySelector("svg"), at = svg.getBoundingClientRect(), box = svg.viewBox.baseVal;
    const x = (event.clientX - at.left) / at.width * box.width, y = (event.clientY - at.top) / at.height * box.height;
    const spot = spots.find(s => [x - s[0], y - s[1], s[0] + s[2] - x, s[1] + s[3] - y].every(d => d >= 0));
    tip.hidden = !spot;
    if (!spot) return;
    tip.textContent = spot[4];
    tip.style.left = Math.max(0, Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 4)) + "px";
    tip.style.top = Math.max(0, Math.min(event.clientY + 18, innerHeight - tip.offsetHeight - 4)) + "px";
  };
  sheet.addEventListener("pointermove", show);
  sheet.addEventListener("pointerdown", show);
  sheet.addEventListener("pointerleave", hide);
}]]

local style = [[
body { margin: 0; background: #ffffff; }
.sheet svg { display: block; max-width: 100%; height: auto; margin: 0 auto; }
@media (max-width: 640px) { /* a phone: letters stay legible, the picture is moved sideways */
  .sheet { overflow-x: auto; }
  .sheet svg { max-width: none; }
}
.dark { display: none; }
#tip { position: fixed; padding: 3px 8px; border-radius: 4px; font: 13px sans-serif; white-space: pre; pointer-events: none;
  background: #222222; color: #ffffff; }
@media (prefers-color-scheme: dark) {
  body { background: #14171c; }
  .light { display: none; }
  .dark { display: block; }
  #tip { background: #e6e6e6; color: #14171c; }
}]]

local document = [[
<!DOCTYPE html>
<html xmlns="http://www.w3.org/1999/xhtml" lang="en">
<head>
<meta charset="utf-8"/>
<meta name="viewport" content="width=device-width, initial-scale=1"/>
<title>%s</title>
<style>
%s
</style>
</head>
<body>
<div class="sheet light">
%s</div>
<div class="sheet dark">
%s</div>
<div id="tip" hidden="hidden"></div>
<script type="application/json" id="spots">%s</script>
<script>
%s
</script>
</body>
</html>
]]

local function round(x) return math.floor(x * 10 + 0.5) / 10 end

---Returns the HTML page of a picture.
---@param title string
---@param light string  SVG
---@param dark string   SVG
---@param spots luasight.Spot[]
---@return string
function page.html(title, light, dark, spots)
  local list = {}
  for i, s in ipairs(spots) do list[i] = { round(s[1]), round(s[2]), round(s[3]), round(s[4]), s[5] } end
  local content = #list > 0 and json.encode(list) or "[]"
  content = content:gsub("[<>&]", { ["<"] = "\\u003c", [">"] = "\\u003e", ["&"] = "\\u0026" })
  return document:format(page.escape(title), style, inner(light, "light-"), inner(dark, "dark-"), content, script)
end

return page
