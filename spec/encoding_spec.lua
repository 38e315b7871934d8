-- Texts of other alphabets, on every Lua and whatever the bytes.

local encoding = require "kontext.encoding"

local all = {}
for byte = 0, 255 do all[byte + 1] = string.char(byte) end
all = table.concat(all)

describe("bytes", function()
  it("are two hexadecimal digits each, in lower case, NUL and line ends included", function()
    assert.equal("000a7fff", encoding.hex "\0\n\127\255")
    assert.equal(512, #encoding.hex(all))
    assert.matches("^[0-9a-f]+$", encoding.hex(all))
  end)

  it("in a URL are all escaped but the unreserved ones", function()
    assert.equal("aZ9-._~", encoding.percent "aZ9-._~")
    assert.equal("%00%20%2F%3F%26%25%C3%A9", encoding.percent "\0 /?&%é")
    local back = encoding.percent(all):gsub("%%(%x%x)", function(digits)
      return string.char(tonumber(digits, 16))
    end)
    assert.equal(all, back)
  end)
end)

describe("a code point", function()
  it("is the UTF-8 that RFC 3629 says, at each length's edges", function()
    for code, bytes in pairs { [0] = "\0", [0x7F] = "\127", [0x80] = "\194\128",
      [0x7FF] = "\223\191", [0x800] = "\224\160\128", [0xFFFF] = "\239\191\191",
      [0x10000] = "\240\144\128\128", [0x10FFFF] = "\244\143\191\191" } do
      assert.equal(bytes, encoding.utf8(code))
    end
  end)
end)

describe("a character that a terminal acts on", function()
  it("is escaped by its code point, and no other", function()
    for code, text in pairs { [0x80] = "\194\128", [0x9F] = "\194\159", [0x2028] = "\226\128\168",
      [0x202E] = "\226\128\174", [0x2066] = "\226\129\166", [0x2069] = "\226\129\169" } do
      assert.equal(("a<%x>b"):format(code), encoding.escape_acting("a" .. text .. "b", "<%x>"))
    end
    local others = "é\194\160…\226\128\167\226\128\175\226\129\165\226\129\170"
    assert.equal(others, encoding.escape_acting(others, "<%x>"))
  end)
end)
