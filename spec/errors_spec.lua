local errors = require "kontext.errors"

local key = "kx-secret-key-1"

describe("an error", function()
  it("prints as its sentence", function()
    local err = errors.new { kind = "file", message = "cannot read car.jpg" }
    assert.equal("cannot read car.jpg", tostring(err))
    assert.equal("file", err.kind)
  end)

  it("is no promise that the edit may be sent again unless it says so", function()
    assert.is_false(errors.new { kind = "http", message = "" }.retryable)
    assert.is_true(errors.new { kind = "http", message = "", retryable = true }.retryable)
  end)

  it("comes as nil, its sentence and itself, so that assert works on every Lua", function()
    local err = errors.new { kind = "file", message = "cannot read car.jpg" }
    assert.same({ n = 3, nil, "cannot read car.jpg", err }, {
      n = select("#", errors.result(err)), errors.result(err) })
    local done, raised = pcall(function() return assert(errors.result(err)) end)
    assert.is_false(done)
    assert.matches("cannot read car.jpg", raised, 1, true)
  end)

  it("is told from a table that looks like it", function()
    local err = errors.new { kind = "file", message = "x" }
    assert.is_true(errors.is(err))
    for _, other in ipairs { { kind = "file", message = "x" }, "x", 1, true, print } do
      assert.is_false(errors.is(other))
    end
    assert.is_false(errors.is(nil))
  end)

  it("gives its fields to another job's error, which may change them", function()
    local err = errors.new { kind = "auth", message = "x", status = 403 }
    local fields = errors.copy(err)
    assert.same({ kind = "auth", message = "x", status = 403, retryable = false }, fields)
    fields.job_id = "task-2"
    assert.is_nil(err.job_id)
  end)

  it("shows the beginning of a body and no more", function()
    local err = errors.new { kind = "http", message = "", body = ("b"):rep(100000) }
    assert.equal(("b"):rep(2048), err.body)
  end)

  it("is made at once of whatever a server may have sent, in every field #plain", function()
    for _, part in ipairs { "http", "https://", "http:/", "x:", "a?", "http://a?", key, "<", "1",
      " ", "[", "\\", "%", "%4", "&", "&#", "\0", "\155", "\194\155", "…", key:sub(1, -2) .. "…",
      "==", "\\u00", "a" } do
      local text, begun = part:rep(math.floor(262144 / #part)), os.clock()
      errors.new({ kind = "http", message = text, body = text, reasons = { text, text },
        job_id = text, polling_url = text, code = text }, { key, "a.webhook-secret" })
      assert.is_true(os.clock() - begun < 0.25, part)
    end
  end)

  it("has no field that moves a terminal", function()
    local text = "x\27]0;t\7 \194\155 \155 \127 \226\128\174"
    local err = errors.new { kind = "http", message = text, body = text .. "\r\n", job_id = text,
      polling_url = text, code = text, reasons = { text, {}, 4.5 } }
    local shown = [[x\x1b]0;t\x07 \u{9b} \x9b \x7f \u{202e}]]
    assert.same({ kind = "http", message = shown, body = shown .. "\n", job_id = shown,
      polling_url = shown, code = shown, reasons = { shown, "4.5" }, retryable = false },
      errors.copy(err))
  end)

  it("has reasons of a length that can be read", function()
    local reasons = {}
    for i = 1, 1000 do reasons[i] = ("r"):rep(1000) end
    local err = errors.new { kind = "moderated", message = "", reasons = reasons }
    assert.equal(16, #err.reasons)
    assert.equal(300, #err.reasons[1])
  end)
end)

describe("no error shows", function()
  -- Asserts that nothing of an error made with this text in it has the word.
  local function hidden(word, text, secrets)
    local err = errors.new({ kind = "http", message = text, body = text, reasons = { text } },
      secrets)
    for _, shown in ipairs { err.message, tostring(err), err.body, err.reasons[1] } do
      assert.is_nil(shown:find(word, 1, true), shown)
    end
    return err
  end

  it("a secret, wherever and however often it stands", function()
    for _, text in ipairs {
      key, "key " .. key, key .. key, "x-key: " .. key .. "\r\nx-key: " .. key, key:rep(50),
    } do
      hidden(key, text, { key })
    end
    local err = hidden(key, "the key " .. key .. " is bad", { key })
    assert.equal("the key [hidden] is bad", err.message)
  end)

  it("a secret with characters that mean something in a pattern", function()
    hidden("a.b*c%d(", "it was a.b*c%d( then", { "a.b*c%d(" })
  end)

  it("a secret that an answer's JSON repeats", function()
    hidden("e-s3cret", [[{"input":"th\"e-s3cret\\ of\/it"}]], { [[th"e-s3cret\ of/it]] })
  end)

  local function each(text, fn) return (text:gsub(".", fn)) end
  local function format_of(form) return function(char) return form:format(char:byte()) end end

  it("a secret in any spelling that a server may give it", function()
    local upper, mime = key:upper(), require "mime"
    for _, text in ipairs {
      upper, each(key, format_of "%02x"), each(key, format_of "%02X"),
      each(key, format_of "%%%02x"),
      each(key, format_of "\\u%04x"), each(key, format_of "\\u%04X"), each(key, format_of "&#%d;"),
      each(key, format_of "&#x%X;"), each(key, format_of "%%25%02X"), (key:gsub("-", "%%2D")),
      (key:gsub("e", "\\u0065")), (key:gsub("-", "\\\\u002d")),
    } do
      local err = errors.new({ kind = "http", message = "<" .. text .. ">", body = text }, { key })
      assert.equal("<[hidden]>", err.message)
      assert.equal("[hidden]", err.body)
    end
    for before = 0, 4 do
      for after = 0, 4 do
        local encoded = mime.b64(("u"):rep(before) .. key .. ("\255"):rep(after))
        for _, text in ipairs { encoded, (encoded:gsub("+", "-"):gsub("/", "_")),
          (encoded:gsub("/", "\\/")) } do
          local err = errors.new({ kind = "http", message = text }, { key })
          assert.matches("^[%w+=_-]*%[hidden%][%w+/=_\\-]*$", err.message)
          assert.is_true(#err.message < 32, err.message)
        end
      end
    end
  end)

  it("a secret's beginning where the text was cut", function()
    for cut = 4, #key - 1 do
      local body = ("b"):rep(4096 - cut) .. key
      local err = errors.new({ kind = "http", message = body, reasons = {
        ("r"):rep(297 - cut) .. key .. "more" } }, { key })
      for _, text in ipairs { err.message, err.reasons[1] } do
        assert.is_nil(text:find("kx-s", 1, true), text:sub(-60))
      end
    end
    -- What is hidden is shorter than the secret: more of a body comes into view.
    hidden("kx-s", key:rep(1000), { key })
  end)

  it("a short secret where it is a word, and leaves other words whole", function()
    local err = errors.new({ kind = "http", message = "a cat sat: cat, [cat] catalogue",
      body = [[{"detail":"x\/cat\"y"}]] }, { "cat", "a", '"y' })
    assert.equal("[hidden] [hidden] sat: [hidden], [[hidden]] catalogue", err.message)
    assert.equal([[{"detail":"x\/[hidden][hidden]"}]], err.body)
    assert.equal("[hidden]", errors.new({ kind = "http", message = "s_1" }, { "s_1" }).message)
    assert.equal("([hidden])", errors.new({ kind = "http", message = "(-x-)" }, { "-x-" }).message)
  end)

  it("any of several secrets", function()
    hidden("second-secret", "first-secret second-secret", { "first-secret", "second-secret" })
  end)

  it("what signs a URL", function()
    for _, text in ipairs {
      "https://d.bfl.ai/x?sig=SIGNED", "see https://d.bfl.ai/x?se=1&sig=SIGNED for it",
      '{"sample":"https://d.bfl.ai/x?se=1&sig=SIGNED","seed":1}',
      '{"sample":"https:\\/\\/d.bfl.ai\\/x?se=1&sig=SIGNED"}',
      '{"sample":"https:\\/\\/d.bfl.ai\\/x?se=1\\u0026sig=SIGNED"}',
      '{"sample":"https://d.bfl.ai/x?se=1\\u0026sig=SIG\\u002BSIGNED"}',
      "'http://127.0.0.1:1/x?sig=SIGNED'", "<a href=\"https://d.bfl.ai/x?sig=SIGNED\">",
      "HTTPS://D.BFL.AI/x?sig=SIGNED", "https://a/?x=1 https://b/?sig=SIGNED",
      "https://d.bfl.ai?sig=SIGNED", "https://d.bfl.ai/x?sig=a?SIGNED",
      "https://d.bfl.ai/x?se=1&sig=a\\/SIGNED",
    } do
      hidden("SIGNED", text)
    end
  end)

  it("less of a URL than that: its host and path stay", function()
    assert.equal("see https://d.bfl.ai/a/b.png?[hidden] for it",
      errors.new { kind = "http", message = "see https://d.bfl.ai/a/b.png?sig=1 for it" }.message)
    assert.equal("no query: https://d.bfl.ai/a",
      errors.new { kind = "http", message = "no query: https://d.bfl.ai/a" }.message)
  end)
end)
