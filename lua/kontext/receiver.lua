--- Checks what a method is called on: client.edit{} in place of client:edit{} is a common mistake,
--- for which Lua's own message names a private field.
local receiver = {}

--- Raises if `self` is not an object of `class`.
---@param self any
---@param class table its metatable
---@param example string how the method is called, such as "job:wait()"
---@param level integer as for `error`: 1 blames the caller of this function
function receiver.check(self, class, example, level)
  if getmetatable(self) == class then return end
  error(example .. " takes a colon, not a dot", level + 1)
end

return receiver
