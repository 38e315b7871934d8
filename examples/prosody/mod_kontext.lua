-- Prosody: Component "pictures.example.org" "kontext". Send it a picture's address and words, as in
-- "https://example.org/car.jpg Make it red"; it answers with the edited picture's address.
-- Each edit costs credits, so it obeys nobody but those who are named in the configuration:
--   kontext_allowed = { "me@example.org", "friends.example" } -- addresses, or whole hosts
local async = require "util.async"
local id = require "util.id"
local jid = require "util.jid"
local st = require "util.stanza"
local kontext = require "kontext"

local folder = module:get_option_path("kontext_folder", "kontext", "data")
local allowed = module:get_option_set("kontext_allowed", {})
local client = kontext.new { api_key = module:get_option_string "kontext_api_key" }

require("lfs").mkdir(folder)
module:depends "http"
module:provides("http", {
  default_path = "/",
  route = {
    ["GET /*"] = require("net.http.files").serve {
      path = folder,
      mime_map = { jpg = "image/jpeg" },
    },
  },
})

local function edit(url, prompt)
  local name = id.long() .. ".jpg"
  local image, message = client:edit {
    prompt = prompt,
    input_image = { url = url },
    save_as = folder .. "/" .. name,
  }:wait()
  return image and module:http_url(nil, "/") .. name or message
end

-- Tells whether who sent a stanza may spend credits. The server vouches for `from`.
local function may_edit(from)
  local _, host = jid.split(from)
  return allowed:contains(jid.bare(from)) or allowed:contains(host)
end

module:hook("message/host", function(event)
  local body = event.stanza:get_child_text "body"
  local url, prompt = (body or ""):match "^(https://%S+)%s+(.+)$"
  if not url or event.stanza.attr.type == "error" then return end
  if not may_edit(event.stanza.attr.from) then
    module:send(st.error_reply(event.stanza, "auth", "forbidden",
      "You are not in this component's kontext_allowed"))
    return true
  end
  async.runner(function()
    module:send(st.reply(event.stanza):body(edit(url, prompt)))
  end):run(true)
  return true
end)
