local answer = require "spec.support.answer"
local kontext = require "kontext"
local picture = require "spec.faults.picture"

describe("a refusal", function()
  it("is told as one though its answer breaks off", function()
    local base, drive = answer("HTTP/1.1 422 Unprocessable Entity\r\nContent-Length: 999\r\n\r\n"
      .. '{"detail": [{"loc":')
    local client = kontext.new { base_url = base, api_key = "key-of-a-test" }
    local job = client:edit { prompt = "x", input_image = picture.png(24, 16) }
    assert.equal(1, drive(client, job, 10))
    assert.equal("invalid", job.error.kind)
    assert.equal(422, job.error.status)
    assert.is_nil(job.error.message:find("was not sent", 1, true))
    client:close()
  end)
end)
