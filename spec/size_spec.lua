local size = require "kontext.size"

-- The header of a PNG of 1024 x 768, up to where its picture begins: all that is looked at.
local png = "\137PNG\r\n\26\n\0\0\0\rIHDR\0\0\4\0\0\0\3\0\8\2\0\0\0\53\216\130\90"
  .. "\0\0\0\1IDAT\0\0\0\0\0"

describe("output_size", function()
  it("takes a ratio, a width and a height, or an image in any form", function()
    assert.same({ 1392, 752 }, { size.output_size("16:9") })
    assert.same({ 1248, 832 }, { size.output_size(2048, 1365) })
    assert.same({ 1184, 880 }, { size.output_size(png) })
    assert.same({ 1184, 880 }, { size.output_size { bytes = png } })
    assert.same({ 1184, 880 }, { size.output_size { bytes = png, format = "png", width = 1 } })
    local path = os.tmpname()
    local file = assert(io.open(path, "wb"))
    file:write(png)
    file:close()
    assert.same({ 1184, 880 }, { size.output_size(path) })
    assert.same({ 1184, 880 }, { size.output_size { path = path } })
    os.remove(path)
  end)

  it("says what is wrong with a ratio or an image", function()
    for given, kind in pairs {
      ["5:1"] = "invalid", ["0:0"] = "invalid", ["/no/such.jpg"] = "file",
      ["\255\216\255"] = "image", ["https://a/b"] = "invalid", [""] = "invalid",
    } do
      local width, message, err = size.output_size(given)
      assert.is_nil(width)
      assert.equal(message, err.message)
      assert.equal(kind, err.kind)
    end
  end)

  it("raises at its caller for what is none of these", function()
    for _, call in ipairs {
      function() size.output_size() end, function() size.output_size(16) end,
      function() size.output_size(16, 0) end, function() size.output_size(-16, -9) end,
      function() size.output_size(0 / 0, 1) end, function() size.output_size(true) end,
    } do
      local done, message = pcall(call)
      assert.is_false(done)
      assert.matches("size_spec.lua:%d+: output_size", message)
    end
  end)
end)
