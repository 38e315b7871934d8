-- In darktable: imports a picture, edits it as the example does, and writes its group's members.
local dt = require "darktable"

local out = os.getenv "KONTEXT_OUT"

local example = dofile "examples/darktable/kontext.lua"
local image = dt.database.import(out .. "/car.jpg")
example.edit({ image }, "Make it snow")

local names = {}
for _, member in ipairs(image:get_group_members()) do names[#names + 1] = member.filename end
table.sort(names)
local file = assert(io.open(out .. "/grouped", "w"))
file:write(table.concat(names, " "))
file:close()
os.execute "kill -KILL $PPID" -- it has no other way out for a script
