-- busted for whichever Lua runs this file. Where lua-cjson is not built for it, dkjson stands in
-- for it in the specs' own code.
if not pcall(require, "cjson") then
  local found, dkjson = pcall(require, "dkjson")
  package.preload.cjson = found and function()
    return {
      null = dkjson.null, encode = dkjson.encode,
      decode = function(text)
        local value, _, message = dkjson.decode(text, 1, dkjson.null)
        return message and error(message, 2) or value
      end,
    }
  end or nil
end

require "busted.runner" { standalone = false }
