--- The machine as the policy sees it: clock, chance, files and the engine. The client takes it as
--- an argument, so that the simulation can pass a virtual one. client/, job/ and journal/ use the
--- machine in no other way.
local core = require "kontext.core"

---@class kontext.System
local system = {
  now = core.now, -- seconds on the monotonic clock
  wall = os.time, -- seconds since 1970, for the life of links; it may jump
  getenv = os.getenv,
  engine = core.engine, -- HTTP, and pictures that are made to fit
  log = core.log, -- a journal's file
  check = core.check, -- what a picture is
  can_save = core.can_save, -- whether a destination can be written, before anything is paid
  reserve = core.reserve,
  release = core.release,
  save = core.save,
  read = core.read,
  file_info = core.file_info,
  real_path = core.real_path,
  md5_file = core.md5_file,
}

--- Returns a number in [0, 1). It does not touch the host's seed, and two processes differ.
---@return number
function system.random()
  return (math.random() + core.now() * 1e3) % 1
end

return system
