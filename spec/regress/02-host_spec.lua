local origin = require "kontext.client.origin"

describe("a URL's host", function()
  it("is refused when libcurl's parser takes it and its transfers do not", function()
    for _, url in ipairs { "https://api\227\128\130bfl\227\128\130ai/x", "https://a|b.bfl.ai/x",
                           "https://bfl.\208\176i/x" } do
      local target, message = origin.read(url, false)
      assert.is_nil(target, url)
      assert.equal("string", type(message))
    end
    for _, url in ipairs { "https://api.eu4.bfl.ai/x", "https://[2001:db8::1]:8443/x",
                           "https://a_b.blob.core.windows.net/x", "https://127.0.0.1/x" } do
      assert.is_table((origin.read(url, false)), url)
    end
  end)
end)
