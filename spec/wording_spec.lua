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
      assert.equal(": why", wording.said(answer))
    end
  end)

  it("names the parameter of each of FastAPI's complaints", function()
    assert.equal(": seed: must be whole; prompt: too long", wording.said { detail = {
      { loc = { "body", "seed" }, msg = "must be whole", type = "int" },
      { loc = { "body", "prompt" }, msg = "too long" } } })
    assert.equal(": 0: bad", wording.said { detail = { { loc = { "body", 0 }, msg = "bad" } } })
    assert.equal(": ?", wording.said { detail = { {} } })
  end)

  it("is an object's members where none of them is a sentence", function()
    assert.equal(": code: 17; reason: odd",
      wording.said { detail = { reason = "odd", code = 17, nothing = {} } })
    assert.equal(": prompt: too long; seed: type: int",
      wording.said { errors = { seed = { type = "int" }, prompt = { "too long" } } })
  end)

  it("is the raw text where no member of the answer is known to say anything", function()
    assert.equal(': {"title":"no"}', wording.said({ title = "no" }, '{"title":"no"}'))
    assert.equal(': ["no"]', wording.said({ "no" }, '["no"]'))
    assert.equal(': {"detail":null}', wording.said({}, '{"detail":null}'))
  end)

  it("is nothing where it says nothing", function()
    for _, answer in ipairs { {}, { detail = {} }, { detail = "" }, { detail = " \n " },
      { detail = 5 }, { detail = true }, { detail = { error = {} } } } do
      assert.equal("", wording.said(answer))
    end
    assert.equal("", wording.said(nil, nil))
    assert.equal("", wording.said(nil, ""))
  end)

  it("is a page's text without its tags, on one line", function()
    assert.equal(": 502 Bad Gateway 502 Bad Gateway", wording.said(nil,
      "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\n<h1>502 Bad Gateway</h1>"))
  end)

  it("is short and holds no control characters", function()
    local said = wording.said { detail = ("a\0b\27[31m\r\n\t"):rep(1000) }
    assert.is_true(#said <= 302)
    assert.is_nil(said:find "%c")
  end)

  it("is never cut inside of a character", function()
    local said = wording.said { detail = "x" .. ("ä"):rep(1000) }
    assert.is_nil(require "kontext.json".invalid_utf8(said))
  end)
end)

describe("what ended a transfer", function()
  it("is told in libcurl's words, else by the status and what came with it", function()
    assert.equal("Connection refused", wording.what { detail = "Connection refused", status = 200 })
    assert.equal("HTTP 502: Bad Gateway",
      wording.what { status = 502, body = "<h1>Bad Gateway</h1>" })
    assert.equal("HTTP 500", wording.what { status = 500, body = "" })
    assert.equal("HTTP 500", wording.what { status = 500 })
  end)
end)
