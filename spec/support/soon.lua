-- Loaded in front of a program (lua -l): its jobs are polled every tenth of a second. The emulator
-- has its pictures at once, and the schedule, which is made for the service, would look for the
-- first after two seconds.
local schedule = require "kontext.job.schedule"

schedule.gap = function() return 0.1 end
