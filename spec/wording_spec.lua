local wording = require "kontext.wording"

describe("what an answer says of an error", function()
  it("is found in every field where services put it", function()
    for _, answer in ipairs {
      { detail = "why" }, { message = "why" }, { error = "why" }, { errors = "why" },
      { details = "why" }, { detail = { message = "why" } }, { detail = { msg = "why" } },
      { error = { message = "why" } }, { details = { error = "why" } }, { errors = { "why" } },
      { detail = { { msg = "why" } } }, { detail = { { message = "why" } } },
      { error = { message = "why", code = 17 } },
    } do
      assert.equal(": why", wording.server_detail(answer))
    end
  end)

  it("names the parameter of each of FastAPI's complaints", function()
    assert.equal(": seed: must be whole; prompt: too long", wording.server_detail { detail = {
      { loc = { "body", "seed" }, msg = "must be whole", type = "int" },
      { loc = { "body", "prompt" }, msg = "too long" } } })
    assert.equal(": 0: bad",
      wording.server_detail { detail = { { loc = { "body", 0 }, msg = "bad" } } })
    assert.equal(": ?", wording.server_detail { detail = { {} } })
  end)

  it("is an object's members where none of them is a sentence", function()
    assert.equal(": code: 17; reason: odd",
      wording.server_detail { detail = { reason = "odd", code = 17, nothing = {} } })
    assert.equal(": prompt: too long; seed: type: int",
      wording.server_detail { errors = { seed = { type = "int" }, prompt = { "too long" } } })
  end)

  it("is the raw text where no member of the answer is known to say anything", function()
    assert.equal(': {"title":"no"}', wording.server_detail({ title = "no" }, '{"title":"no"}'))
    assert.equal(': ["no"]', wording.server_detail({ "no" }, '["no"]'))
    assert.equal(': {"detail":null}', wording.server_detail({}, '{"detail":null}'))
  end)

  it("is nothing where it says nothing", function()
    for _, answer in ipairs { {}, { detail = {} }, { detail = "" }, { detail = " \n " },
      { detail = 5 }, { detail = true }, { detail = { error = {} } } } do
      assert.equal("", wording.server_detail(answer))
    end
    assert.equal("", wording.server_detail(nil, nil))
    assert.equal("", wording.server_detail(nil, ""))
  end)

  it("is a page's text without its tags, on one line", function()
    assert.equal(": 502 Bad Gateway 502 Bad Gateway", wording.server_detail(nil,
      "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\n<h1>502 Bad Gateway</h1>"))
  end)

  it("is short and holds no control characters", function()
    local said = wording.server_detail { detail = ("a\0b\27[31m\r\n\t"):rep(1000) }
    assert.is_true(#said <= 302)
    assert.is_nil(said:find "%c")
  end)

  it("is never cut inside of a character", function()
    local said = wording.server_detail { detail = "x" .. ("ä"):rep(1000) }
    assert.is_nil(require "kontext.json".invalid_utf8(said))
  end)

  it("is told of a list as far as anybody reads it, and without what is no text", function()
    local list = {}
    for i = 1, 1000 do list[i] = { loc = { "body", {} }, msg = {} } end
    assert.equal(": ?; ?; ?", wording.server_detail({ detail = list }):sub(1, 9))
    assert.equal(": a: 0.5", wording.server_detail { detail = { a = 0.5 } })
  end)

  it("is nothing that moves a terminal", function()
    assert.equal([[: no \u{9b}2J\x9b \u{202e}x \u{2066}y Ä]], wording.server_detail { detail =
      "no \194\1552J\155 \226\128\174x \226\129\166y Ä" })
  end)
end)

describe("a text of a stranger", function()
  it("shows every control character as its escape", function()
    assert.equal([[\x1b]0;t\x07 \x0a \x7f \x00 \u{85}]],
      wording.safe "\27]0;t\7 \n \127 \0 \194\133")
    assert.equal("a\n\\x09b", wording.safe("a\r\n\tb", true))
  end)

  it("shows no byte of C1, be it alone or inside of a broken character", function()
    for byte = 0, 255 do
      for _, text in ipairs { string.char(byte), "\195" .. string.char(byte),
        string.char(byte, 155), "\226\128" .. string.char(byte) } do
        local shown = wording.safe(text)
        assert.is_nil(require "kontext.json".invalid_utf8(shown))
        assert.is_nil(shown:find "[%z\1-\31\127]")
        assert.is_nil(shown:find "\194[\128-\159]")
      end
    end
  end)

  it("stays as it is where it is harmless", function()
    for _, text in ipairs { "", "car.jpg", "grün 中文 😀 \226\128\166", "a\\b" } do
      assert.equal(text, wording.safe(text))
    end
  end)

  it("is cut between characters", function()
    assert.equal("abcdef", wording.cut("abcdef", 6))
    assert.equal("abc…", wording.cut("abcdefg", 6))
    assert.equal("ÄÖÜß…", wording.cut("ÄÖÜßäöüÄ", 7))
    assert.equal("ÄÖÜßäöü", wording.cut("ÄÖÜßäöü", 7))
    assert.equal(300, #wording.brief(("x"):rep(1e5)))
  end)

  it("is a text or a number, else nothing", function()
    assert.equal("4.5", wording.brief(4.5))
    for _, value in ipairs { true, {}, print } do assert.is_nil(wording.brief(value)) end
    assert.is_nil(wording.brief(nil))
  end)

  it("takes little time, however long and whatever it is #plain", function()
    for _, part in ipairs { "<", "<a", ">", " ", "1", "[", "\0", "\155", "\194\155", "\226\128\174",
      "…", "http:/", "&", "x" } do
      local text, begun = part:rep(math.floor(262144 / #part)), os.clock()
      wording.server_detail(nil, text)
      wording.server_detail({ detail = text }, text)
      wording.server_detail({ detail = { text, { loc = { text }, msg = text } } })
      wording.server_detail({ errors = { [text] = { [text] = text } } })
      wording.transfer_reason { status = 500, body = text }
      wording.transfer_reason { detail = text }
      wording.brief(text)
      assert.is_true(os.clock() - begun < 0.05, part)
    end
  end)
end)

describe("what ended a transfer", function()
  it("is told in libcurl's words, else by the status and what came with it", function()
    assert.equal("Connection refused",
      wording.transfer_reason { detail = "Connection refused", status = 200 })
    assert.equal("HTTP 502: Bad Gateway",
      wording.transfer_reason { status = 502, body = "<h1>Bad Gateway</h1>" })
    assert.equal("HTTP 500", wording.transfer_reason { status = 500, body = "" })
    assert.equal("HTTP 500", wording.transfer_reason { status = 500 })
  end)
end)
