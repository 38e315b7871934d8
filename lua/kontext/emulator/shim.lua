-- Stands in for the C core's check and repaint until they are there; goes when they are.
local found, core = pcall(require, "kontext.core")
local shim = {}

shim.check = found and core.check or function(source)
  return { width = 1000, height = 700, bytes = #source.bytes }
end

shim.repaint = found and core.repaint or function(edit)
  local pipe = assert(io.popen(("convert -size %dx%d gradient:red-blue %s:-")
    :format(edit.width, edit.height, edit.format), "r"))
  local bytes = pipe:read "*a"
  pipe:close()
  return bytes
end

return shim
