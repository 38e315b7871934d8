-- What the emulator takes, what it refuses and in which words, as FastAPI has them.

local support = require "spec.support.emulator"

local MAX = "flux-kontext-max"

local function names_of(object)
  local names = {}
  for name in pairs(object) do names[#names + 1] = name end
  table.sort(names)
  return table.concat(names, " ")
end

-- What a 422 refuses: "name type", sorted.
local function refused(answer)
  assert.equal(422, answer.status)
  local found = {}
  for _, refusal in ipairs(answer.json.detail) do
    assert.equal("loc msg type", names_of(refusal))
    local place = {}
    for i, step in ipairs(refusal.loc) do
      place[i] = type(step) == "number" and ("%d"):format(step) or step
    end
    found[#found + 1] = table.concat(place, ".") .. " " .. refusal.type
  end
  table.sort(found)
  return table.concat(found, ", ")
end

local function post(server, body, headers)
  return server:request("/v1/flux-kontext-pro", {
    method = "POST", body = body, headers = headers or {
      "x-key: k", "Content-Type: application/json" },
  })
end

describe("a submit to the emulator", function()
  local server
  setup(function() server = support.start { seed = 1, max_active = 1000, ready_after = 0 } end)
  teardown(function() server:stop() end)

  it("is answered with an id, a polling_url and what may be null", function()
    for _, model in ipairs { "flux-kontext-pro", MAX } do
      local answer = server:submit({ prompt = "A castle", seed = 1 }, model)
      assert.equal(200, answer.status)
      assert.equal("application/json", answer.headers["content-type"])
      local shape = answer.json.id:gsub("%x", "x")
      assert.equal("xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx", shape)
      assert.equal(server.url .. "/v1/get_result?id=" .. answer.json.id, answer.json.polling_url)
      assert.is_nil(answer.body:find '"status"')
    end
  end)

  it("has no polling_url in its answer when there is a webhook", function()
    local answer = server:submit { prompt = "A castle", webhook_url = "https://example.com/x" }
    assert.equal(200, answer.status)
    assert.is_nil(answer.json.polling_url)
    assert.equal("https://example.com/x", answer.json.webhook_url)
    assert.is_string(answer.json.status)
    assert.is_string(answer.json.id)
  end)

  it("costs credits: exact, with a float's noise, or null", function()
    local seen = {}
    for _ = 1, 12 do
      local cost = server:submit { prompt = "A castle", seed = 1 }.body:match '"cost":([^,}]+)'
      seen[cost] = true
    end
    assert.same({ ["4"] = true, ["4.000000000000001"] = true, null = true }, seen)
  end)

  it("has its members in varying order", function()
    local first = {}
    for _ = 1, 12 do
      local body = server:submit { prompt = "A castle", seed = 1 }.body
      local id, url = body:find('"id"', 1, true), body:find('"polling_url"', 1, true)
      first[id < url and "id" or "url"] = true
    end
    assert.same({ id = true, url = true }, first)
  end)

  it("needs a key that is not the bad one", function()
    for _, path in ipairs { "/v1/flux-kontext-pro", "/v1/" .. MAX } do
      local none = server:request(path, { method = "POST", body = '{"prompt":"x"}' })
      assert.equal('403 {"detail":"Not authenticated"}', none.status .. " " .. none.body)
      local bad = server:request(path, {
        method = "POST", body = '{"prompt":"x"}', headers = { "x-key: bad" },
      })
      assert.equal('403 {"detail":"Not authenticated - Invalid Authentication"}',
        bad.status .. " " .. bad.body)
    end
    assert.equal(403, server:request("/v1/credits").status)
  end)

  it("ignores members that it does not know", function()
    local answer = server:submit { prompt = "A castle", steps = 50, guidance = { 1, 2 } }
    assert.equal(200, answer.status)
  end)

  it("comes chunked, after 100-continue, by HTTP/1.0, or without a content type", function()
    local big = '{"prompt":"A castle","x":"' .. ("y"):rep(2e6) .. '"}'
    for _, args in ipairs {
      "-H 'Transfer-Encoding: chunked'", "-H 'Expect: 100-continue'", "--http1.0",
      "-H 'Content-Type:'", "-H 'Content-Type: application/json; charset=utf-8'",
    } do
      local answer = server:request("/v1/flux-kontext-pro", {
        method = "POST", body = big, args = args .. " -H 'x-key: k'",
        headers = not args:find "Content" and { "Content-Type: application/json" } or nil,
      })
      assert.equal(200, answer.status, args)
    end
  end)

  for _, case in ipairs {
    { { }, "body.prompt missing" },
    { { prompt = 5 }, "body.prompt string_type" },
    { { prompt = "x", seed = 1.5 }, "body.seed int_from_float" },
    { { prompt = "x", seed = "many" }, "body.seed int_parsing" },
    { { prompt = "x", seed = { 1 } }, "body.seed int_type" },
    { { prompt = "x", aspect_ratio = "wide" }, "body.aspect_ratio value_error" },
    { { prompt = "x", aspect_ratio = "22:9" }, "body.aspect_ratio value_error" },
    { { prompt = "x", aspect_ratio = "2:9" }, "body.aspect_ratio value_error" },
    { { prompt = "x", aspect_ratio = 1.5 }, "body.aspect_ratio string_type" },
    { { prompt = "x", output_format = "webp" }, "body.output_format enum" },
    { { prompt = "x", safety_tolerance = 7 }, "body.safety_tolerance less_than_equal" },
    { { prompt = "x", safety_tolerance = -1 }, "body.safety_tolerance greater_than_equal" },
    { { prompt = "x", prompt_upsampling = "perhaps" }, "body.prompt_upsampling bool_parsing" },
    { { prompt = "x", prompt_upsampling = { 1 } }, "body.prompt_upsampling bool_type" },
    { { prompt = "x", webhook_url = "example.com" }, "body.webhook_url url_parsing" },
    { { prompt = "x", webhook_url = "" }, "body.webhook_url url_parsing" },
    { { prompt = "x", webhook_url = "ftp://a/b" }, "body.webhook_url url_scheme" },
    { { prompt = "x", webhook_url = "http://a/" .. ("b"):rep(2083) },
      "body.webhook_url url_too_long" },
    { { prompt = "x", webhook_secret = 5 }, "body.webhook_secret string_type" },
    { { prompt = "x", input_image = "data:image/png;base64,AAAA" },
      "body.input_image value_error" },
    { { prompt = "x", input_image = "no base64!" }, "body.input_image value_error" },
    { { prompt = "x", input_image = "" }, "body.input_image value_error" },
    { { prompt = "x", input_image = "aGVsbG8gd29ybGQ=" }, "body.input_image value_error" },
    { { prompt = "x", input_image_3 = "aGVsbG8=" }, "body.input_image_3 value_error" },
    { { prompt = "[emulate: rain]" }, "body.prompt value_error" },
    { { seed = "x", safety_tolerance = 9 }, "body.prompt missing, body.safety_tolerance "
      .. "less_than_equal, body.seed int_parsing" },
  } do
    it("is refused: " .. case[2], function()
      assert.equal(case[2], refused(server:submit(case[1])))
    end)
  end

  for _, case in ipairs {
    { "", "body missing" }, { "[1]", "body model_attributes_type" },
    { '"x"', "body model_attributes_type" }, { "{", "body.2 json_invalid" },
    { '{"prompt":"x",,}', "body.15 json_invalid" }, { '{"prompt":NaN}', "body.11 json_invalid" },
    { '{"prompt":"two\nlines"}', "body.0 json_invalid" },
  } do
    it(("is refused when its body is %q"):format(case[1]), function()
      assert.equal(case[2], refused(post(server, case[1])))
    end)
  end

  it("is refused when its picture has a shell's line breaks in it", function()
    local text = ("QUJD"):rep(19) .. "\n"
    assert.equal("body.0 json_invalid",
      refused(post(server, '{"prompt":"x","input_image":"' .. text:rep(200) .. '"}')))
  end)

  it("is refused when it is no JSON by its content type", function()
    local answer = post(server, '{"prompt":"x"}', { "x-key: k", "Content-Type: text/plain" })
    assert.equal("body model_attributes_type", refused(answer))
  end)

  it("is refused with 400 when it is not UTF-8", function()
    local answer = post(server, '{"prompt":"caf\233"}')
    assert.equal('400 {"detail":"There was an error parsing the body"}',
      answer.status .. " " .. answer.body)
    assert.equal(200, post(server, '{"prompt":"caf\195\169 \240\159\143\176"}').status)
  end)

  it("takes numbers and truths in strings, as pydantic does", function()
    local answer = server:submit {
      prompt = "x", seed = "42", safety_tolerance = 2.0, prompt_upsampling = "yes",
    }
    assert.equal(200, answer.status)
  end)

  it("takes null for what may be null", function()
    assert.equal(200, post(server, '{"prompt":"x","seed":null,"input_image":null,'
      .. '"aspect_ratio":null,"output_format":null,"webhook_url":null}').status)
    assert.equal("body.prompt string_type, body.safety_tolerance int_type",
      refused(post(server, '{"prompt":null,"safety_tolerance":null}')))
  end)

  it("lets the guide's comma before the last brace pass, and no other", function()
    assert.equal(200, post(server, '{ "prompt": "x",\n  "seed": 5,\n}').status)
    assert.equal("body.16 json_invalid", refused(post(server, '{"prompt":["x",]}')))
  end)

  it("has no other endpoints", function()
    local lost = server:request("/v1/flux-nope")
    assert.equal('404 {"detail":"Not Found"}', lost.status .. " " .. lost.body)
    assert.equal(405, server:request("/v1/flux-kontext-pro").status)
    assert.equal(405, server:request("/v1/get_result", { method = "POST" }).status)
  end)
end)

describe("a picture sent to the emulator", function()
  local server, picture, text
  setup(function()
    server = support.start { seed = 1, ready_after = 0 }
    picture = server:edit { prompt = "A castle", aspect_ratio = "3:2" }
    text = require "mime".b64(picture)
  end)
  teardown(function() server:stop() end)

  local function size_of_last()
    local tasks = server:ledger().tasks
    return ("%dx%d"):format(tasks[#tasks].width, tasks[#tasks].height)
  end

  it("arrives byte for byte, in base64 of any dress", function()
    local digest = support.sha256(picture)
    for _, dress in ipairs {
      text, text:gsub("=", ""), (text:gsub(("."):rep(76), "%0\n")), text .. "\n",
    } do
      server:forget()
      assert.equal(200, server:submit({ prompt = "x", input_image = dress }).status)
      local seen = server:ledger().requests[1]
      assert.equal(digest, seen.images.input_image.sha256)
      assert.equal(#picture, seen.images.input_image.bytes)
      assert.equal(true, seen.params.input_image)
    end
  end)

  it("decides on the answer's size, unless aspect_ratio does", function()
    server:submit { prompt = "x", input_image = text }
    assert.equal("1248x832", size_of_last())
    server:submit { prompt = "x", input_image = text, aspect_ratio = "9:16" }
    assert.equal("752x1392", size_of_last())
    server:submit { prompt = "x", seed = 1 }
    assert.equal("1024x1024", size_of_last())
  end)

  it("allows a safety_tolerance of 2 at most", function()
    assert.equal(200, server:submit({ prompt = "x", safety_tolerance = 6 }).status)
    assert.equal("body.safety_tolerance less_than_equal",
      refused(server:submit { prompt = "x", safety_tolerance = 3, input_image = text }))
  end)

  it("may be one of four", function()
    server:forget()
    assert.equal(200, server:submit({
      prompt = "x", input_image = text, input_image_2 = text, input_image_4 = text,
    }).status)
    assert.equal("input_image input_image_2 input_image_4",
      names_of(server:ledger().requests[1].images))
  end)

  it("is fetched where its URL names this machine, and not elsewhere", function()
    local task = server:submit({ prompt = "y", aspect_ratio = "1:2" }).json
    local ready = server:await(task.polling_url)
    server:forget()
    assert.equal(200, server:submit({
      prompt = "x", input_image = ready.json.result.sample,
    }).status)
    assert.equal("720x1456", size_of_last())
    assert.equal(1, #server:requests("GET", "^/results/"))
    assert.equal(200, server:submit({ prompt = "x", input_image = "https://example.com/a" }).status)
    assert.equal("1024x1024", size_of_last())
  end)

  it("may be 20 MB, and is read in seconds", function()
    local padded = picture .. ("\0"):rep(19999999 - #picture) -- after the end: not the picture's
    local began = os.time()
    server:forget()
    assert.equal(200, server:submit({
      prompt = "x", input_image = (require "mime".b64(padded)),
    }).status)
    assert.is_true(os.time() - began <= 10)
    local seen = server:ledger().requests[1]
    assert.equal(support.sha256(padded), seen.images.input_image.sha256)
    assert.is_true(seen.body >= 26666668)
  end)

  it("is refused when it is larger, or not whole", function()
    local padded = picture .. ("\0"):rep(20000001 - #picture)
    assert.equal("body.input_image value_error",
      refused(server:submit { prompt = "x", input_image = (require "mime".b64(padded)) }))
    assert.equal("body.input_image value_error",
      refused(server:submit { prompt = "x", input_image = text:sub(1, 100) }))
  end)
end)

describe("the emulator's limits", function()
  local server
  before_each(function() server = support.start { seed = 1, credits = 300 } end)
  after_each(function() server:stop() end)

  -- As fast as can be: one curl, one connection.
  local function submits(n, model)
    local seen = {}
    local said = support.shell(("curl -s -o /dev/null -w '%%{http_code}\\n' -H 'x-key: k' --json "
      .. "'{\"prompt\":\"[emulate: slow 2]\",\"seed\":1}' '%s/v1/%s?n=[1-%d]'")
      :format(server.url, model or "flux-kontext-pro", n))
    for text in said:gmatch "%d+" do
      local status = tonumber(text)
      seen[status] = (seen[status] or 0) + 1
    end
    return seen
  end

  it("allow 24 active tasks, and more as soon as they end", function()
    assert.same({ [200] = 24, [429] = 2 }, submits(26))
    for _ = 1, 100 do
      os.execute "sleep 0.1"
      if submits(1)[200] then return end
    end
    error "they never end"
  end)

  it("allow 6 active tasks of the larger model", function()
    assert.same({ [200] = 6, [429] = 1 }, submits(7, MAX))
    assert.same({ [200] = 1 }, submits(1))
  end)

  it("end with the credits, which moderated edits do not use up", function()
    local function credits()
      return server:request("/v1/credits", { headers = { "x-key: k" } }).json.credits
    end
    assert.equal(300, credits())
    server:submit({ prompt = "x", seed = 1 }, MAX)
    server:submit { prompt = "x", seed = 1 }
    assert.equal(288, credits())
    server:await(server:submit { prompt = "[emulate: content moderated]" }.json.polling_url)
    assert.equal(288, credits())
    assert.equal(12, server:ledger().totals.charged)
  end)

  it("end in 402", function()
    server:stop()
    server = support.start { credits = 9 }
    assert.equal(200, server:submit({ prompt = "x", seed = 1 }).status)
    assert.equal(402, server:submit({ prompt = "x", seed = 1 }, MAX).status)
    assert.equal(200, server:submit({ prompt = "x", seed = 1 }).status)
    local refusal = server:submit { prompt = "x", seed = 1 }
    assert.equal('402 {"detail":"Insufficient credits"}', refusal.status .. " " .. refusal.body)
  end)
end)
