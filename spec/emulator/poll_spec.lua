-- Polls, results and the pictures they link to.

local support = require "spec.support.emulator"

local function size_of(bytes)
  local info = assert(require "kontext.core".check { bytes = bytes })
  return ("%dx%d %s"):format(info.width, info.height, info.format)
end

local function count(set)
  local n = 0
  for _ in pairs(set) do n = n + 1 end
  return n
end

describe("a poll of the emulator", function()
  local server
  setup(function() server = support.start { seed = 2, ready_after = 1 } end)
  teardown(function() server:stop() end)

  it("tells of progress that grows, is null in the end, and of Ready then", function()
    local url = server:submit { prompt = "[emulate: slow 4]", seed = 1 }.json.polling_url
    local seen, last = {}, 0
    repeat
      local answer = server:request(url)
      local progress = answer.json.progress
      if answer.json.status == "Pending" then
        if type(progress) == "number" then
          assert.is_true(progress >= last and progress >= 0.1 and progress <= 1)
          assert.equal(("%.1f"):format(progress), tostring(progress + 0.0):sub(1, 3))
          last = progress
          assert.is_nil(seen.null)
        else
          seen.null = true
        end
      end
      seen[answer.json.status] = true
    until answer.json.status ~= "Pending"
    assert.same({ Pending = true, Ready = true, null = true }, seen)
    assert.is_true(last > 0.1)
  end)

  it("has the headers that were recorded, on every answer", function()
    local url = server:submit { prompt = "A castle", seed = 1 }.json.polling_url
    local waits = {}
    for _ = 1, 30 do
      local answer = server:request(url)
      assert.equal("1200", answer.headers["x-ratelimit-limit"])
      local remaining = assert(answer.headers["x-ratelimit-remaining"]:match "^%d+$")
      assert.is_true(tonumber(remaining) < 1200) -- how many are left hangs on the second
      assert.matches("^%d+%.%d+$", answer.headers["x-ratelimit-reset"])
      assert.is_true(math.abs(tonumber(answer.headers["x-ratelimit-reset"]) - os.time()) < 5)
      waits[answer.headers["retry-after"]] = true
    end
    assert.same({ ["0"] = true, ["1"] = true }, waits)
  end)

  it("has its members in varying order, and some of the optional ones missing", function()
    local url = server:submit { prompt = "A castle", seed = 1 }.json.polling_url
    server:await(url)
    local first, missing = {}, {}
    for _ = 1, 30 do
      local text = server:request(url).body
      local names = {}
      for name in text:gsub('"result":%b{}', '"result":1'):gmatch '"(%w+)":' do
        names[name] = true
      end
      first[text:find('"id"', 1, true) < text:find('"status"', 1, true) and "id" or "status"] = true
      assert.is_true(names.id and names.status and names.result and names.id)
      for _, name in ipairs { "progress", "details", "preview" } do
        if not names[name] then missing[name] = true end
      end
      local result = text:match '"result":(%b{})'
      assert.matches('"sample":"', result, 1, true)
      for _, name in ipairs { "prompt", "seed", "start_time", "end_time", "duration" } do
        if not result:find('"' .. name .. '":[^n]') then missing[name] = true end
      end
    end
    assert.same({ id = true, status = true }, first)
    assert.equal(8, count(missing))
  end)

  it("needs no key, and takes an id twice", function()
    local task = server:submit { prompt = "A castle", seed = 1 }.json
    local answer = server:request(task.polling_url .. "&id=" .. task.id)
    assert.equal(task.id, answer.json.id)
    assert.equal("none", server:requests("GET", "get_result")[1].key)
  end)

  it("says Task not found of an id that it does not know, and refuses one without", function()
    local lost = server:request "/v1/get_result?id=00000000-0000-4000-8000-000000000000"
    assert.equal("200 Task not found", lost.status .. " " .. lost.json.status)
    local none = server:request "/v1/get_result"
    assert.equal('422 {"detail":[{"loc":["query","id"],"msg":"Field required","type":"missing"}]}',
      none.status .. " " .. none.body)
  end)

  it("gives seeds back digit for digit", function()
    for _, seed in ipairs { "0", "-5", "9007199254740993", "123456789012345678901234567890" } do
      local url = server:submit('{"prompt":"A castle","seed":' .. seed .. "}").json.polling_url
      server:await(url)
      local said
      for _ = 1, 40 do -- now and then it is missing
        said = server:request(url).body:match '"seed":(%-?%d+)'
        if said then break end
      end
      assert.equal(seed, said)
    end
  end)

  it("is told to go where the submit came, proxies included", function()
    local answer = server:request("/v1/flux-kontext-pro", {
      method = "POST", body = '{"prompt":"A castle","seed":1}',
      headers = { "x-key: k", "Content-Type: application/json", "Host: proxy.example:8080" },
    })
    assert.matches("^http://proxy.example:8080/v1/get_result%?id=", answer.json.polling_url)
  end)
end)

describe("an emulated picture", function()
  local server
  setup(function() server = support.start { seed = 3, ready_after = 0 } end)
  teardown(function() server:stop() end)

  it("has the size and format that were asked for", function()
    for asked, size in pairs {
      ["1:1"] = "1024x1024", ["16:9"] = "1392x752", ["9:21"] = "672x1568", ["21:9"] = "1568x672",
      ["2.0:3.0"] = "832x1248",
    } do
      assert.equal(size .. " jpeg", (size_of(server:edit {
        prompt = "A castle", aspect_ratio = asked, seed = 1,
      })))
    end
    assert.equal("1024x1024 png", (size_of(server:edit {
      prompt = "A castle", output_format = "png", seed = 1,
    })))
  end)

  it("is the same for the same prompt, seed and picture, and another for others", function()
    local text = require "mime".b64((server:edit { prompt = "A castle", seed = 1 }))
    local function digest(params)
      params.input_image = params.input_image or text
      return support.sha256((server:edit(params)))
    end
    local one = digest { prompt = "Add a moat", seed = 1 }
    local again = support.start { ready_after = 0, seed = 4 }
    local elsewhere = support.sha256((again:edit {
      prompt = "Add a moat", seed = 1, input_image = text,
    }))
    again:stop()
    assert.equal(one, elsewhere)
    assert.not_equal(one, digest { prompt = "Add a moat", seed = 2 })
    assert.not_equal(one, digest { prompt = "Add a mote", seed = 1 })
    assert.not_equal(one, digest {
      prompt = "Add a moat", seed = 1,
      input_image = require "mime".b64((server:edit { prompt = "A hut", seed = 1 })),
    })
  end)
end)

describe("the emulator's seed", function()
  it("decides on ids, seeds and the order of members", function()
    local function run(seed)
      local server, said = support.start { seed = seed, ready_after = 0 }, {}
      for i = 1, 3 do said[i] = server:submit { prompt = "A castle" }.body:gsub(":%d+/", "") end
      server:stop()
      return table.concat(said, "\n")
    end
    local first, other = run(11), run(12)
    assert.equal(first, run(11))
    assert.not_equal(first:match "%x+%-%x+", other:match "%x+%-%x+")
    local id = ("%x"):rep(8) .. "%-" .. "[%x-]*"
    assert.not_equal(first:gsub(id, "ID"), other:gsub(id, "ID"))
  end)

  it("decides on what endings leave out, however often was polled before", function()
    local function run(pause)
      local server, said = support.start { seed = 11, ready_after = 0.3 }, {}
      for i, words in ipairs { "", "[emulate: failed]", "[emulate: slow 0.5]" } do
        local url, names = server:submit { prompt = "A castle " .. words }.json.polling_url, {}
        os.execute("sleep " .. pause)
        for name in server:await(url).body:gmatch '"([%w_]+)":' do names[#names + 1] = name end
        said[i] = table.concat(names, " ")
      end
      server:stop()
      return said
    end
    assert.same(run(0), run(0.6))
  end)
end)

describe("the emulator's link to a picture", function()
  local server, url, sample, picture, whole
  setup(function()
    server = support.start { seed = 5, ready_after = 0 }
    url = server:submit { prompt = "A castle", seed = 1 }.json.polling_url
    sample = server:await(url).json.result.sample
    whole = server:request(sample)
    picture = whole.body
  end)
  teardown(function() server:stop() end)

  it("is signed, and ends ten minutes after Ready", function()
    local y, mo, d, h, mi, s = sample:match
      "%?se=(%d+)%-(%d+)%-(%d+)T(%d+)%%3A(%d+)%%3A(%d+)Z&sp=r&sv=2024%-11%-04&sr=b"
    assert.matches("&rsct=image/jpeg&sig=[%w%%]+$", sample)
    assert.matches("^" .. server.url:gsub("%p", "%%%0") .. "/results/", sample)
    local ends = os.time { year = y, month = mo, day = d, hour = h, min = mi, sec = s }
    local now = os.time(os.date "!*t")
    assert.is_true(math.abs(ends - now - 600) <= 30)
  end)

  it("brings length, MD5, ETag, type and ranges", function()
    assert.equal(200, whole.status)
    assert.equal(tostring(#picture), whole.headers["content-length"])
    assert.equal("image/jpeg", whole.headers["content-type"])
    assert.equal("bytes", whole.headers["accept-ranges"])
    assert.matches('^"0x%x+"$', whole.headers.etag)
    local path = os.tmpname()
    support.write(path, picture)
    local md5 = support.shell("openssl dgst -md5 -binary " .. path .. " | base64"):match "%S+"
    os.remove(path)
    assert.equal(md5, whole.headers["content-md5"])
  end)

  for range, case in pairs {
    ["bytes=100-199"] = { 100, 199 }, ["bytes=100-"] = { 100 }, ["bytes=-50"] = { -50 },
    ["bytes=0-99999999"] = { 0 },
  } do
    it("gives a part when asked for " .. range, function()
      local part = server:request(sample, { headers = { "Range: " .. range } })
      local first = case[1] < 0 and #picture + case[1] or case[1]
      local last = case[2] or #picture - 1
      assert.equal(206, part.status)
      assert.equal(("bytes %d-%d/%d"):format(first, last, #picture),
        part.headers["content-range"])
      assert.is_true(part.body == picture:sub(first + 1, last + 1))
      assert.is_nil(part.headers["content-md5"])
    end)
  end

  it("has no part beyond its end", function()
    local none = server:request(sample, { headers = { "Range: bytes=99999999-" } })
    assert.equal(416, none.status)
    assert.equal("bytes */" .. #picture, none.headers["content-range"])
  end)

  it("gives a part only of the picture that If-Range names", function()
    local tag = "If-Range: " .. whole.headers.etag
    assert.equal(206, server:request(sample, { headers = { "Range: bytes=1-2", tag } }).status)
    assert.equal(200, server:request(sample, {
      headers = { "Range: bytes=1-2", 'If-Range: "other"' },
    }).status)
  end)

  it("tells by HEAD what GET would bring", function()
    local head = server:request(sample, { args = "-I" })
    assert.equal(200, head.status)
    assert.equal(tostring(#picture), head.headers["content-length"])
  end)

  it("is refused with 403 and XML when its signature or time was changed", function()
    for _, changed in ipairs {
      sample:gsub("sig=.", "sig=_"), sample:gsub("se=2", "se=3"), sample:gsub("%?.*", ""),
      (sample:gsub("/results/..", "/results/zz")),
    } do
      local answer = server:request(changed)
      assert.equal(403, answer.status)
      assert.equal("application/xml", answer.headers["content-type"])
      assert.matches("<Error><Code>AuthenticationFailed</Code>", answer.body, 1, true)
    end
  end)

  it("expires, and a further poll brings a fresh one", function()
    local short = support.start { seed = 6, ready_after = 0, link_life = 1 }
    finally(function() short:stop() end)
    local polling_url = short:submit { prompt = "A castle", seed = 1 }.json.polling_url
    local first = short:await(polling_url).json.result.sample
    os.execute "sleep 1.2"
    local answer = short:request(first)
    assert.equal(403, answer.status)
    assert.matches("<AuthenticationErrorDetail>Signed expiry time [", answer.body, 1, true)
    local status
    for _ = 1, 20 do -- a second is short
      status = short:request(short:request(polling_url).json.result.sample).status
      if status == 200 then break end
    end
    assert.equal(200, status)
  end)
end)
