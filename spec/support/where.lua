-- Prints the folder and the file that kontext's two halves were loaded from.
print(debug.getinfo(require("kontext").output_size, "S").source:match "^@(.*)/")
for line in io.lines "/proc/self/maps" do
  local path = line:match "/.*/kontext/core%.so"
  if path then return print(path) end
end
