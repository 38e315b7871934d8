-- Returns a file's bytes, or nil where it cannot be opened.
return function(path)
  local file = io.open(path, "rb")
  if not file then return nil end
  local bytes = file:read "a"
  file:close()
  return bytes
end
