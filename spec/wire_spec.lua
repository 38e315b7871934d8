-- The one POST of an edit, to the byte, as a server sees it that knows nothing of the client.

local kontext = require "kontext"
local params = require "kontext.job.params"
local pictures = require "spec.support.pictures"
local raw = require "spec.support.raw"

local server

setup(function()
  server = raw.start()
  server:script(raw.service({}, ""))
end)

teardown(function() server:stop() end)

before_each(function() server:script(raw.service({}, "")) end)

local function new(options)
  local given = { base_url = server.url, api_key = raw.key, poll_interval = 0.01 }
  for name, value in pairs(options or {}) do given[name] = value end
  return kontext.new(given)
end

-- Edits once and returns the only POST that came.
local function submit(given, client)
  client = client or new()
  assert(client:edit(given):wait(20))
  client:close()
  local posts = server:requests("POST")
  assert.equal(1, #posts)
  assert.is_true(posts[1].complete)
  return posts[1]
end

-- Another program's base64 of these bytes.
local function base64(bytes)
  local coded
  pictures.with_file(bytes, function(path)
    coded = pictures.output("base64 -w 0 " .. path) or ""
  end)
  return coded
end

describe("an edit's POST", function()
  it("has the headers that the service asks for, and no other that matters", function()
    local post = submit { prompt = "x", input_image = raw.picture }
    table.sort(post.names)
    assert.same({ "accept", "content-length", "content-type", "host", "user-agent", "x-key" },
      post.names)
    assert.equal("application/json", post.headers.accept)
    assert.equal("application/json", post.headers["content-type"])
    assert.equal(raw.key, post.headers["x-key"])
    assert.equal(tostring(#post.body), post.headers["content-length"])
    assert.matches("^POST /v1/flux%-kontext%-pro HTTP/1%.1\r\n", post.head)
  end)

  it("is the expected JSON, byte for byte, with the picture as another program codes it", function()
    local second = raw.picture .. "\0\1\2"
    local post = submit {
      prompt = 'Say "hi"\n\tto\\ the cät / \1', input_image = { bytes = raw.picture },
      input_image_2 = { bytes = second }, input_image_3 = "https://example.test/a.png?b=c&d",
      aspect_ratio = "16:9", seed = 42, prompt_upsampling = true, safety_tolerance = 1,
      output_format = "png", webhook_url = "https://example.test/hook", webhook_secret = "s3cret!",
    }
    assert.equal('{"prompt":"Say \\"hi\\"\\n\\tto\\\\ the cät / \\u0001","input_image":"'
      .. base64(raw.picture) .. '","input_image_2":"' .. base64(second) .. '","input_image_3":'
      .. '"https://example.test/a.png?b=c&d","aspect_ratio":"16:9","seed":42,'
      .. '"prompt_upsampling":true,"safety_tolerance":1,"output_format":"png","webhook_url":'
      .. '"https://example.test/hook","webhook_secret":"s3cret!"}', post.body)
  end)

  it("codes files of every length modulo three as another program does", function()
    for extra = 0, 5 do
      local bytes = raw.picture .. ("\250"):rep(extra)
      pictures.with_file(bytes, function(path)
        server:script(raw.service({}, ""))
        local post = submit { prompt = "x", input_image = path }
        assert.equal('{"prompt":"x","input_image":"' .. base64(bytes)
          .. '","output_format":"jpeg"}', post.body)
      end)
    end
  end)

  it("without a picture makes one from the text alone", function()
    assert.equal('{"prompt":"x","safety_tolerance":6,"output_format":"jpeg"}',
      submit({ prompt = "x", safety_tolerance = 6 }).body)
  end)

  it("has integers digit for digit", function()
    for _, row in ipairs {
      { 0, "0" }, { -1, "-1" }, { 42, "42" }, { 1e15, "1000000000000000" },
      { 2 ^ 53, "9007199254740992" }, { "9007199254740993", "9007199254740993" },
      { "18446744073709551616", "18446744073709551616" },
      { "-170141183460469231731687303715884105728", "-170141183460469231731687303715884105728" },
      { math.maxinteger or "9223372036854775807", "9223372036854775807" }, -- luacheck: ignore 143
      { 4294967295, "4294967295" }, { "007", "7" },
    } do
      server:script(raw.service({}, ""))
      local post = submit { prompt = "x", seed = row[1] }
      assert.equal('{"prompt":"x","seed":' .. row[2] .. ',"output_format":"jpeg"}', post.body)
    end
  end)

  it("is what params.body describes, whose length is known beforehand", function()
    local checked = assert(params.check { prompt = "x", input_image = { bytes = raw.picture } })
    local length = 0
    for _, piece in ipairs(params.body(checked)) do
      length = length + (type(piece) == "string" and #piece or math.ceil(#piece.bytes / 3) * 4)
    end
    assert.equal(length, submit({ prompt = "x", input_image = { bytes = raw.picture } }).length)
  end)
end)

-- Asserts that a job fails, with nothing sent, because its picture is not what was checked.
local function refused(job)
  local _, message, err = job:wait(10)
  assert.equal("failed", job.status)
  assert.equal("file", err.kind)
  assert.is_true(err.retryable)
  assert.matches("cannot read the input image", message)
  assert.equal(0, #server:requests("POST"))
end

describe("an edit that is refused here", function()
  it("sends nothing at all", function()
    local client, before = new(), server:connections()
    local jobs = {}
    for kind, list in pairs {
      invalid = {
        { prompt = "" }, { prompt = " \n" }, { prompt = "\255" }, { prompt = ("x"):rep(20000) },
        { prompt = "x", aspect_ratio = "8:3" }, { prompt = "x", aspect_ratio = "wide" },
        { prompt = "x", seed = 1.5 }, { prompt = "x", seed = "many" },
        { prompt = "x", seed = 0 / 0 },
        { prompt = "x", safety_tolerance = 7 }, { prompt = "x", safety_tolerance = -1 },
        { prompt = "x", safety_tolerance = 3, input_image = raw.picture },
        { prompt = "x", output_format = "webp" }, { prompt = "x", output_format = "" },
        { prompt = "x", webhook_url = "ftp://x" }, { prompt = "x", webhook_secret = "" },
        { prompt = "x", webhook_url = "http://" .. ("x"):rep(2083) },
        { prompt = "x", model = "flux-kontext-dev" }, { prompt = "x", timeout = 0 },
        { prompt = "x", save_as = "a.webp" }, { prompt = "x", input_image = "" },
        { prompt = "x", input_image = "http://a/b.jpg" }, { prompt = "x", input_image = {} },
        { prompt = "x", input_image = "data:image/png;base64,iVBORw0KGgo=" },
        { prompt = "x", input_image = { path = "a", bytes = "b" } },
      },
      file = {
        { prompt = "x", input_image = "/no/such.jpg" }, { prompt = "x", input_image = "/tmp" },
        { prompt = "x", input_image = { path = "a\0b" } },
        { prompt = "x", input_image = { path = "/dev/zero" } },
      },
      image = {
        { prompt = "x", input_image = { bytes = "" } },
        { prompt = "x", input_image = { bytes = "GIF89a\1\0\1\0\0\0\0;" } },
        { prompt = "x", input_image = { bytes = ("x"):rep(100) } },
        { prompt = "x", input_image = { bytes = pictures.png(5000, 4001) } },
        { prompt = "x", input_image = { bytes = pictures.png(0, 1) } },
        { prompt = "x", input_image = { bytes = pictures.jpeg(9, 9) .. ("\85"):rep(2e7) } },
        { prompt = "x", input_image = raw.picture, input_image_2 = { bytes = "no" } },
      },
    } do
      for _, given in ipairs(list) do
        local job = client:edit(given)
        jobs[#jobs + 1] = job
        assert.equal("failed", job.status)
        assert.equal(kind, job.error.kind, job.error.message)
        assert.equal("check", job.error.stage)
        assert.is_false(job.error.charged)
        assert.equal(job.error, select(3, job:wait()))
      end
    end
    assert.is_true(#jobs > 35)
    assert.equal(0, client:step())
    assert.equal(0, #server:requests())
    assert.equal(before, server:connections())
    client:close()
  end)

  it("also where its picture changed after the check", function()
    pictures.with_file(raw.picture, function(path)
      local client = new()
      local job = client:edit { prompt = "x", input_image = path }
      local file = assert(io.open(path, "ab"))
      file:write "more"
      file:close()
      refused(job)
      client:close()
    end)
  end)

  it("also where that left the size as it was, or left the time, for another file", function()
    for _, change in ipairs {
      "printf x | dd of=$PATH conv=notrunc bs=1 seek=$((SIZE - 1)) status=none",
      "cp -p $PATH $PATH.new && mv $PATH.new $PATH",
    } do
      pictures.with_file(raw.picture, function(path)
        os.execute("touch -d 2001-02-03 " .. path)
        local client = new()
        local job = client:edit { prompt = "x", input_image = path }
        -- Where a sanitizer is preloaded it is not for these programs.
        os.execute("unset LD_PRELOAD; "
          .. change:gsub("$PATH", path):gsub("SIZE", #raw.picture))
        refused(job)
        client:close()
      end)
    end
  end)
end)

describe("a photograph of 19.5 MB #once", function()
  -- Runs in a process of its own, which tells by how many KiB its peak grew.
  local script = [[
    local kontext = require "kontext"
    local function status(name)
      for line in io.lines "/proc/self/status" do
        local kib = line:match("^" .. name .. ":%%s*(%%d+)")
        if kib then return tonumber(kib) end
      end
    end
    local client = kontext.new { base_url = "%s", api_key = "k-of-a-test", poll_interval = 0.01 }
    local before = status "VmRSS"
    local image, message = client:edit { prompt = "x", input_image = "%s" }:wait(30)
    print(image and "ready" or message, status "VmHWM" - before)
  ]]

  it("goes out whole, and its sender's memory grows by less than 2 MiB", function()
    pictures.with_file(pictures.jpeg(5000, 3900) .. ("\85\170\15"):rep(6.5e6 - 100), function(path)
      local lua = rawget(_G, "jit") and "luajit" or "lua" .. _VERSION:match "%d+%.%d+"
      local said = pictures.output(("%s -e '%s'"):format(lua, script:format(server.url, path)))
      local outcome, grown = (said or ""):match "^(.-)\t(%d+)"
      assert.equal("ready", outcome, said)
      assert.is_true(tonumber(grown) < 2048, grown .. " KiB")
      local post = server:requests("POST")[1]
      assert.is_nil(post.headers.expect) -- a second, where the server does not know it
      local body = assert(pictures.read(post.file))
      assert.equal(post.length, #body)
      local coded = assert(pictures.output("base64 -w 0 " .. path))
      local expected = '{"prompt":"x","input_image":"' .. coded .. '","output_format":"jpeg"}'
      assert.is_true(body == expected) -- not assert.equal, which would print both
    end)
  end)
end)
