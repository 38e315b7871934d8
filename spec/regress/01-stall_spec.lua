local kontext = require "kontext"
local picture = require "spec.faults.picture"
local socket = require "socket"

describe("a stall", function()
  it("ends an upload that nobody reads, long before the deadline", function()
    local listener = assert(socket.bind("127.0.0.1", 0))
    local _, port = listener:getsockname()
    local client = kontext.new { base_url = "http://127.0.0.1:" .. port, api_key = "key-of-a-test",
                                 stall_timeout = 0.2, timeout = 30 }
    local begun = socket.gettime()
    -- Far more than the kernel takes: the connection is made, and then nothing moves.
    local job = client:edit { prompt = "x", input_image = picture.png(24, 16, 12000000) }
    local image, _, err = job:wait(20)
    assert.is_nil(image)
    assert.equal("timeout", err.kind)
    assert.equal("submit", err.stage)
    assert.is_true(err.retryable)
    assert.is_true(err.message:find("was not sent", 1, true) ~= nil, err.message)
    assert.is_true(socket.gettime() - begun < 10)
    client:close()
    listener:close()
  end)
end)
