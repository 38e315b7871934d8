-- What came of trying to break the promises from the reference alone.

local kontext = require "kontext"
local pictures = require "spec.support.pictures"
local raw = require "spec.support.raw"

local server, folder

setup(function() server = raw.start() end)
teardown(function() server:stop() end)
before_each(function() folder = pictures.output("mktemp -d"):match "[^\n]+" end)
after_each(function() os.execute("rm -rf " .. folder) end)

local function connect()
  return kontext.new { base_url = server.url, api_key = raw.key, poll_interval = 0.01 }
end

describe("two edits of a client", function()
  it("whose destinations are one file by way of a link or a dot are not both paid for", function()
    os.execute(("mkdir %s/sub; ln -s . %s/link"):format(folder, folder))
    for _, way in ipairs { "sub/../", "link/", "./link/sub/../" } do
      server:script(raw.service({}, ""))
      local client = connect()
      local results = client:batch({ { prompt = "x", save_as = folder .. "/o.png" },
        { prompt = "y", save_as = folder .. "/" .. way .. "o.png" } }):wait(10)
      client:close()
      assert.equal(1, #server:requests "POST")
      assert.is_nil(results[1].error)
      assert.equal("invalid", results[2].error.kind)
    end
  end)
end)

describe("an accepted edit", function()
  it("is found in an answer that calls itself gzip and is none", function()
    local answer = raw.accepted()
    answer.headers, answer.body = { "Content-Encoding: gzip" }, '{"id":"abc"}'
    server:script(raw.service({}, "", { submit = { answer }, poll = { raw.json(200, { id = "abc",
      status = "Ready", result = { sample = "$HERE/sample.png" } }) } }))
    local client = connect()
    assert(client:edit { prompt = "x", timeout = 10 }:wait())
    assert.equal(1, #server:requests "POST")
    client:close()
  end)

  it("is ready also where its status is written in capitals", function()
    server:script(raw.service({}, "", { poll = { raw.status(" READY ", {
      result = { sample = "$HERE/sample.png" } }) } }))
    local client = connect()
    local image = assert(client:edit { prompt = "x", timeout = 10 }:wait())
    assert.equal(raw.picture, image.bytes)
    client:close()
  end)
end)
