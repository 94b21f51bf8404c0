-- What the examples with a picture are called with: `--out FILE`, where the picture goes. Without it: into the terminal.
local options = require "luasight.command.options"

local name = arg and arg[0] and arg[0]:match "[^/\\]*$" or "the example"
local given, read = options.read(name, { about = "says what it does in its first lines", arguments = {},
  options = { { "--out", "where the picture goes: its name ends in .svg, .png, .html or .txt", value = "FILE" } } },
  arg and { unpack(arg) } or {})
if not given then os.exit(0) end

return read
