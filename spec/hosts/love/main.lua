-- love spec/hosts/love: each frame is a tick; the edits' coroutines are resumed once in each.
-- With "example" it plays the example, until the result is on the screen.
local task = require "spec.hosts.task"

local threads = {}

local function three_edits()
  task.start(function(fn) threads[#threads + 1] = coroutine.create(fn) end,
    function() love.event.quit() end, "yield")
  function love.update()
    task.tick()
    for _, thread in ipairs(threads) do
      if coroutine.status(thread) == "suspended" then assert(coroutine.resume(thread)) end
    end
  end
end

local function example()
  local out = os.getenv "KONTEXT_OUT"
  local game = dofile "examples/love/main.lua"
  love.load { out .. "/car.jpg", "Make it snow" }
  local update = love.update
  local before
  function love.update()
    update()
    before = before or game.picture
    if not (game.job:ended() and game.picture and game.picture ~= before) then return end
    local file = assert(io.open(out .. "/shown", "w"))
    file:write(("%d %d"):format(game.picture:getDimensions()))
    file:close()
    love.event.quit()
  end
end

function love.load(arguments)
  if arguments[1] == "example" then example() else three_edits() end
end
