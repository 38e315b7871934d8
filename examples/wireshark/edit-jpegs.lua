-- Wireshark, tshark: edits each JPEG that the HTTP of a capture carried.
--   tshark -q -r web.pcap -X lua_script:edit-jpegs.lua -X lua_script1:"Make it snow"
local kontext = require "kontext"

local prompt = ... or "Make it a watercolour painting"
local jpeg = Field.new "image-jfif"
local tap = Listener.new("http", "image-jfif")
local jobs = {}

function tap.packet(packet)
  jobs[#jobs + 1] = kontext.edit {
    prompt = prompt,
    input_image = { bytes = jpeg().range:bytes():raw() },
    save_as = ("packet-%d.jpg"):format(packet.number),
  }
end

function tap.draw()
  for _, job in ipairs(jobs) do
    local image, message = job:wait()
    print(image and image.path or message)
  end
  jobs = {}
end
