local models = require "kontext.models"
local params = require "kontext.job.params"

local jit = rawget(_G, "jit")
local png = "\137PNG\r\n\26\n\0\0\0\rIHDR\0\0\0\1\0\0\0\1\8\2\0\0\0"

-- Returns what is left of a good edit with `given` put over it, once checked.
local function check(given)
  given.prompt = given.prompt or "Make it snow"
  return params.check(given)
end

-- The body as one string, each image shown as <where it comes from>.
local function body(given)
  local checked = assert(check(given))
  local text = {}
  for i, piece in ipairs(params.body(checked)) do
    assert.equal(i % 2 == 1 and "string" or "table", type(piece))
    text[i] = type(piece) == "string" and piece or "<" .. (piece.path or "bytes") .. ">"
  end
  return table.concat(text)
end

describe("misuse", function()
  it("raises at the caller's line and names the key", function()
    for _, row in ipairs {
      { { prompt = 5 }, "prompt must be a string, not number" },
      { {}, "prompt is missing" },
      { { prompt = "x", seed = {} }, "seed must be a " },
      { { prompt = "x", seed = true }, "seed must be a " },
      { { prompt = "x", input_image = 7 }, "input_image must be a string or table, not number" },
      { { prompt = "x", aspect_ratio = 1.5 }, "aspect_ratio must be a string" },
      { { prompt = "x", prompt_upsampling = "yes" }, "prompt_upsampling must be a boolean" },
      { { prompt = "x", safety_tolerance = "2" }, "safety_tolerance must be a number" },
      { { prompt = "x", on_progress = "f" }, "on_progress must be a function" },
      { { prompt = "x", fit = 1 }, "fit must be a boolean" },
      { { prompt = "x", timeout = "1" }, "timeout must be a number" },
      { { prompt = "x", "y" }, "unknown key 1" },
      { "x", "the parameters must be a table, not string" },
    } do
      local done, message = pcall(function()
        local checked = params.check(row[1])
        return checked
      end)
      assert.is_false(done)
      assert.matches("params_spec.lua:%d+: ", message)
      assert.matches(row[2], message, 1, true)
    end
  end)

  it("blames the level that it is told to", function()
    local function edit(given)
      local checked = params.check(given, 2)
      return checked
    end
    local line = debug.getinfo(1, "l").currentline + 1
    local done, message = pcall(function() edit { promt = "x" } end)
    assert.is_false(done)
    assert.matches("params_spec.lua:" .. line .. ":", message, 1, true)
  end)

  it("suggests the key that was meant", function()
    for given, meant in pairs {
      promt = "prompt", Prompt = "prompt", inputimage = "input_image", aspect = "aspect_ratio",
      image = "input_image", format = "output_format", saveas = "save_as",
      tolerance = "safety_tolerance",
    } do
      assert.equal(('unknown key "%s" (did you mean "%s"?)'):format(given, meant),
        params.unknown(given, params.known(models.find "flux-kontext-pro")))
    end
    assert.equal('unknown key "guidance"',
      params.unknown("guidance", params.known(models.find "flux-kontext-pro")))
  end)
end)

describe("what a user may have spoiled", function()
  it("is returned as a sentence that names the parameter and the mend", function()
    for _, row in ipairs {
      { { prompt = "" }, "prompt is empty" },
      { { prompt = " \n" }, "prompt is empty" },
      { { prompt = "caf\233" }, "prompt is not valid UTF-8 (byte 4, 0xE9): convert it" },
      { { prompt = ("x"):rep(16385) }, "prompt has 16385 bytes, and the service reads at most" },
      { { input_image = "" }, "input_image is empty" },
      { { input_image = "http://a.b/c.jpg" }, "input_image is no https:// URL" },
      { { input_image = { url = "ftp://a/b" } }, "input_image is no https:// URL" },
      { { input_image_2 = "https://a.b/c d" }, "input_image_2 has characters that no URL has" },
      { { input_image = "data:image/png;base64,AAAA" }, "input_image is base64 text: decode it" },
      { { input_image = ("/9j/"):rep(2000) }, "input_image is base64 text: decode it" },
      { { input_image = ("GOF\0"):rep(2000) }, "input_image is a string of 8000 bytes, neither" },
      { { input_image = { file = "x" } }, "exactly one of {path=}, {bytes=}, {url=}" },
      { { input_image = { path = "x", bytes = "y" } }, "exactly one of" },
      { { input_image = { path = 5 } }, "exactly one of" },
      { { input_image = {} }, "exactly one of" },
      { { aspect_ratio = "16x9" }, 'aspect_ratio is "16x9": write it as "W:H"' },
      { { aspect_ratio = "5:1" }, 'aspect_ratio is "5:1"' },
      { { seed = 0.5 }, 'seed is "0.5": it must be a whole number' },
      { { seed = 1 / 0 }, "seed is" },
      { { seed = 0 / 0 }, "seed is" },
      { { seed = "12a" }, 'seed is "12a"' },
      { { safety_tolerance = 7 }, "safety_tolerance is 7: it must be a whole number from 0" },
      { { safety_tolerance = 7 }, "from 0 (strict) to 6" },
      { { safety_tolerance = 3, input_image = "a" }, "from 0 (strict) to 2 with an input image" },
      { { safety_tolerance = -1 }, "safety_tolerance is -1" },
      { { safety_tolerance = 1.5 }, "safety_tolerance is 1.5" },
      { { safety_tolerance = 0 / 0 }, "safety_tolerance is" },
      { { output_format = "webp" }, 'output_format is "webp": it must be "jpeg" or "png"' },
      { { save_as = "a.webp" }, 'save_as is "a.webp", and the service makes JPEG or PNG' },
      { { save_as = "" }, "save_as is not the name of a file" },
      { { save_as = "a\0.png" }, "save_as is not the name of a file" },
      { { webhook_url = "ftp://a" }, "webhook_url must be an http:// or https:// URL" },
      { { webhook_url = "https://" }, "webhook_url must be" },
      { { webhook_url = "https://a/" .. ("b"):rep(2074) }, "webhook_url has 2084 characters" },
      { { webhook_secret = "" }, "webhook_secret is empty" },
      { { webhook_secret = "a\nb" }, "webhook_secret has control characters" },
      { { model = "flux-dev" }, 'model is "flux-dev": it must be' },
      { { timeout = 0 }, "timeout is 0: it must be a number of seconds above 0" },
      { { timeout = 1 / 0 }, "timeout is" },
      { { timeout = 0 / 0 }, "timeout is" },
      { { key = "" }, "key is empty" },
    } do
      local checked, message = check(row[1])
      assert.is_nil(checked, row[2])
      assert.matches(row[2], message, 1, true)
    end
  end)

  it("never shows a secret or a URL", function()
    for _, given in ipairs {
      { webhook_secret = "hunter2\n" }, { webhook_secret = "hunter2\255" },
      { webhook_url = "ftp://x?sig=hunter2" }, { input_image = "http://u:hunter2@x" },
      { input_image = "https://x?sig=hunter2 " },
    } do
      local _, message = check(given)
      assert.not_matches("hunter2", message)
    end
  end)
end)

describe("images", function()
  it("are told apart by what they are, and taken exactly where a key says so", function()
    for _, row in ipairs {
      { "car.jpg", { path = "car.jpg" } },
      { "./http:/car", { path = "./http:/car" } },
      { "car\0.jpg", { path = "car\0.jpg" } }, -- which no file is called
      { png, { bytes = png } },
      { "https://a.b/c?d=e", { url = "https://a.b/c?d=e" } },
      { "HTTPS://a.b/c", { url = "HTTPS://a.b/c" } },
      { { path = "https://a" }, { path = "https://a" } },
      { { bytes = "car.jpg" }, { bytes = "car.jpg" } },
      { { url = "https://a" }, { url = "https://a" } },
      { { bytes = png, format = "png", width = 1, seed = 3 }, { bytes = png } },
      { { path = "a.png", format = "png", width = 1, seed = 3 }, { path = "a.png" } },
    } do
      assert.same(row[2], params.image(row[1]))
    end
  end)
end)

describe("the body", function()
  it("holds what was asked for and nothing else, the format always", function()
    assert.equal('{"prompt":"Make it snow","output_format":"jpeg"}', body {})
    assert.equal('{"prompt":"Make it snow","input_image":"<car.jpg>","output_format":"jpeg"}',
      body { input_image = "car.jpg", timeout = 5, model = "flux-kontext-max", save_as = "x",
        fit = true, key = "k", on_progress = print })
  end)

  it("puts pieces of JSON around each image and writes a URL as it is", function()
    assert.equal('{"prompt":"p","input_image":"<bytes>","input_image_2":"https://a/b",'
      .. '"input_image_3":"<c>",'
      .. '"aspect_ratio":"16:9","seed":7,"prompt_upsampling":false,"safety_tolerance":2,'
      .. '"output_format":"png","webhook_url":"https://h/","webhook_secret":"s\\"/"}',
      body { prompt = "p", input_image = png, input_image_2 = "https://a/b",
        input_image_3 = { path = "c" }, aspect_ratio = "16:9", seed = 7,
        prompt_upsampling = false, safety_tolerance = 2, output_format = "png",
        webhook_url = "https://h/", webhook_secret = 's"/' })
  end)

  it("hands the engine the images' own sources, and forgets those of no more use", function()
    local checked = check { input_image = "car.jpg", input_image_2 = "https://h/b.png" }
    assert.equal(checked.input_image, params.body(checked)[2])
    params.drop_images(checked)
    assert.is_nil(checked.input_image or checked.input_image_2)
    assert.equal("Make it snow", checked.prompt)
  end)

  it("takes the format from the name to save under", function()
    for name, format in pairs {
      ["a.png"] = "png", ["a.PNG"] = "png", ["a.jpg"] = "jpeg", ["a.b.jpeg"] = "jpeg",
      ["a"] = "jpeg", ["a.png/b"] = "jpeg", ["a.2024"] = "jpeg",
    } do
      assert.matches('"output_format":"' .. format .. '"', body { save_as = name }, 1, true)
    end
    assert.matches('"output_format":"png"', body { save_as = "a", output_format = "png" }, 1, true)
    assert.matches('"output_format":"png"', body { save_as = "a.jpg", output_format = "png" }, 1,
      true)
  end)

  it("carries a seed digit for digit", function()
    local long = "123456789012345678901234567890"
    assert.matches('"seed":' .. long .. ",", body { seed = long }, 1, true)
    assert.matches('"seed":-9007199254740992,', body { seed = -2 ^ 53 }, 1, true)
    assert.matches('"seed":0,', body { seed = 0 }, 1, true)
    if jit then
      local seed = assert(load "return 9007199254740993LL")()
      assert.matches('"seed":9007199254740993,', body { seed = seed }, 1, true)
    end
  end)

  it("leaves what was given as it was", function()
    local given = { prompt = "p", seed = 7, input_image = "a" }
    assert(params.check(given))
    assert.same({ prompt = "p", seed = 7, input_image = "a" }, given)
  end)
end)
