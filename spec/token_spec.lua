local token = require "kontext.token"

local hostile = {}
for byte = 0, 255 do hostile[#hostile + 1] = string.char(byte) end
hostile = table.concat(hostile)

local function job(fields)
  local known = { id = fields.id, polling_url = fields.polling_url }
  for name, value in pairs(fields.params or {}) do known[name] = value end
  return known
end

local whole = token.write(job {
  id = "6e6d9c0c-1", polling_url = "https://api.eu2.bfl.ai/v1/get_result?id=6e6d9c0c-1&a=%20b",
  params = { model = "flux-kontext-max", save_as = "out/red car, 2.jpg", key = "car=1",
    output_format = "png", prompt = "the prompt", webhook_secret = "the secret" },
})

describe("a token", function()
  it("brings everything to another process that goes on with the job", function()
    assert.same({
      id = "6e6d9c0c-1", polling_url = "https://api.eu2.bfl.ai/v1/get_result?id=6e6d9c0c-1&a=%20b",
      model = "flux-kontext-max", key = "car=1", output_format = "png",
    }, assert(token.read(whole)))
  end)

  it("says that the URL is of our own making: the task may be at another host", function()
    local text = token.write { id = "a", polling_url = "https://api.bfl.ai/x", own_url = "1" }
    assert.equal("1", assert(token.read(text)).own_url)
  end)

  it("brings names and URLs of any bytes", function()
    local values = assert(token.read(token.write(job { id = hostile, polling_url = hostile,
      params = { key = hostile } })))
    assert.equal(hostile, values.id)
    assert.equal(hostile, values.polling_url)
    assert.equal(hostile, values.key)
  end)

  it("is one word that no shell takes apart", function()
    local text = token.write(job { id = hostile, polling_url = hostile })
    assert.is_nil(text:find "[^%w%-%._~:,=%%]")
  end)

  it("names no file: it may come from a stranger", function()
    assert.is_nil(whole:find("red", 1, true))
    local body = "kontext1:id=a,save_as=out%2Fx.jpg,path=b"
    assert.same({ id = "a" }, assert(token.read(body .. ":" .. token.sum(body))))
  end)

  it("holds no prompt and no secret", function()
    assert.is_nil(whole:find("prompt", 1, true))
    assert.is_nil(whole:find("secret", 1, true))
  end)

  it("may come with the spaces of a copy", function()
    assert.equal("6e6d9c0c-1", assert(token.read("\n  " .. whole .. " \r\n")).id)
  end)

  it("is refused when a single character of it is missing or another", function()
    for at = 1, #whole do
      local values, message = token.read(whole:sub(1, at - 1) .. whole:sub(at + 1))
      assert.is_nil(values)
      assert.is_string(message)
      local other = whole:sub(at, at) == "b" and "c" or "b"
      assert.is_nil((token.read(whole:sub(1, at - 1) .. other .. whole:sub(at + 1))))
      assert.is_nil((token.read(whole:sub(1, at - 1))))
    end
  end)

  it("is refused when it is no token, or names no task", function()
    for _, text in ipairs { "", " ", "kontext1", "kontext1:", "kontext1::", "x", hostile,
      "kontext2:id=a:" .. token.sum "kontext2:id=a", ("a"):rep(100000) } do
      local values, message = token.read(text)
      assert.is_nil(values)
      assert.is_string(message)
    end
    local _, message = token.read("kontext1:key=a:" .. token.sum "kontext1:key=a")
    assert.matches("no id", message)
  end)
end)
