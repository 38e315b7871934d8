-- busted for whichever Lua runs this file.
require "busted.runner" { standalone = false }
