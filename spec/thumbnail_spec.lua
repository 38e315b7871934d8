local core = require "kontext.core"
local pictures = require "spec.support.pictures"

-- Red, green / blue, white; and the same stored turned by a quarter, as orientation 6 undoes.
local upright = "\255\0\0\0\255\0\0\0\255\255\255\255"
local square = pictures.whole_png(2, 2,
  "\0\255\0\0\0\255\0\0\0\0\255\255\255\255")
local turned = pictures.whole_png(2, 2, "\0\0\255\0\255\255\255\0\255\0\0\0\0\255", nil,
  pictures.chunk("eXIf", pictures.exif(6, true)))

describe("a thumbnail", function()
  it("is the picture's pixels, three bytes each, row by row", function()
    assert.equal(upright, core.thumbnail({ bytes = square }, 2, 2))
  end)

  it("is upright, whichever way the picture is stored", function()
    assert.equal(upright, core.thumbnail({ bytes = turned }, 2, 2))
  end)

  it("has the size that was asked for, in each format, from bytes or a file", function()
    pictures.with_file(square, function(path)
      for _, source in ipairs { { bytes = square }, { path = path } } do
        assert.equal(7 * 3 * 3, #core.thumbnail(source, 7, 3))
        for _, format in ipairs { "jpeg", "png" } do
          local info = core.check { bytes = core.thumbnail(source, 7, 3, format) }
          assert.same({ format, 7, 3 }, { info.format, info.width, info.height })
        end
      end
    end)
  end)

  it("is of a part of the picture where one is named, counted upright", function()
    for _, picture in ipairs { square, turned } do
      local right = { x = 1, y = 0, width = 1, height = 2 }
      assert.equal("\0\255\0\255\255\255", core.thumbnail({ bytes = picture }, 1, 2, nil, right))
    end
    for _, outside in ipairs { { x = 2, y = 0, width = 1, height = 1 },
      { x = 0, y = 0, width = 3, height = 1 }, { x = 0, y = 0, width = 0, height = 1 } } do
      assert.is_nil((core.thumbnail({ bytes = square }, 2, 2, nil, outside)))
    end
    assert.has_error(function()
      core.thumbnail({ bytes = square }, 2, 2, nil, { x = 0, y = 0, width = 1 })
    end)
  end)

  it("says why there is none", function()
    local none, message, code = core.thumbnail({ path = "/nowhere/car.jpg" }, 2, 2)
    assert.same({ nil, "ENOENT" }, { none, code })
    assert.matches("/nowhere/car.jpg", message)
    none, message = core.thumbnail({ bytes = square:sub(1, 60) }, 2, 2)
    assert.is_nil(none)
    assert.is_string(message)
    assert.has_error(function() core.thumbnail({ bytes = square }, 0, 2) end)
    assert.has_error(function() core.thumbnail({ bytes = square }, 2, 5000) end)
    assert.has_error(function() core.thumbnail({ bytes = square }, 2, 2, "gif") end)
  end)
end)

describe("base64", function()
  it("codes what RFC 4648 codes", function()
    local known = { [""] = "", f = "Zg==", fo = "Zm8=", foo = "Zm9v", ["\0\255\254"] = "AP/+" }
    for bytes, text in pairs(known) do assert.equal(text, core.base64(bytes)) end
  end)
end)
