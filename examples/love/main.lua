-- LÖVE: shows a picture and edits it while the game goes on; the space bar edits it further.
--   love examples/love car.jpg "Make it snow"
local kontext = require "kontext"

local game = {} -- path, prompt, client, job, picture, message

-- A picture of a megapixel takes longer than a frame to decode: that is another thread's work.
local decoder = [[
  require "love.image"
  local bytes = ...
  local file = love.filesystem.newFileData(bytes, "picture.jpg")
  love.thread.getChannel "pictures":push(love.image.newImageData(file))
]]

local function show(bytes) love.thread.newThread(decoder):start(bytes) end

local function edit(image)
  if game.job and not game.job:ended() then return end
  game.job = game.client:edit { prompt = game.prompt, input_image = image }
  game.message = game.prompt
end

function love.load(arguments)
  local path = assert(arguments[1], "usage: love examples/love PICTURE [PROMPT]")
  game.prompt = arguments[2] or "Make it snow"
  game.client = kontext.new()
  local file = assert(io.open(path, "rb"))
  show(file:read "*a")
  file:close()
  edit { path = path }
end

function love.update()
  game.client:step() -- never takes longer than a few milliseconds
  local job = game.job
  if job and job:ended() and not job.seen then
    job.seen = true
    game.message = job.error and job.error.message or "ready: the space bar edits it further"
    if job.image then show(job.image.bytes) end
  end
  local decoded = love.thread.getChannel "pictures":pop()
  if decoded then game.picture = love.graphics.newImage(decoded) end
end

function love.draw()
  local width, height = love.graphics.getDimensions()
  if game.picture then
    local scale = math.min(width / game.picture:getWidth(), height / game.picture:getHeight())
    love.graphics.draw(game.picture, 0, 0, 0, scale)
  end
  love.graphics.print(game.message, 8, 8)
  if game.job and not game.job:ended() then
    love.graphics.rectangle("fill", 8, 30, 200 * (game.job.progress or 0), 6)
  end
end

function love.keypressed(key)
  if key == "space" and game.job.image then edit(game.job.image.bytes) end
  if key == "escape" then love.event.quit() end
end

return game
