-- Every model edits on the emulator, and what it does not take is refused before anything is sent.

local cjson = require "cjson"
local core = require "kontext.core"
local kontext = require "kontext"
local models = require "kontext.models"
local params = require "kontext.job.params"
local support = require "spec.support.emulator"

local pictures = {} -- by size

-- Returns a PNG of that size.
local function picture(width, height)
  local name = width .. " " .. height
  pictures[name] = pictures[name] or assert(core.repaint { width = width, height = height,
    format = "png", seed = 1 })
  return pictures[name]
end

-- Returns a picture's pixels, three bytes each.
local function pixels(bytes)
  local info = assert(core.check { bytes = bytes })
  return (assert(core.thumbnail({ bytes = bytes }, info.width, info.height)))
end

-- Returns the least edit that the model takes.
local function least(row)
  local edit = { model = row.name, timeout = 60 }
  if row.by_name.prompt then edit.prompt = "Make it snow" end
  if row.sizes.rule == "exact" then edit.width, edit.height = 320, 320 end
  for _, field in ipairs(row.fields) do
    if field.type == "image" and (field.required or field.name == row.images.first
      or row.mask and field.name == row.mask.name) then
      edit[field.name] = picture(256, 256)
    elseif field.type == "images" then
      edit[field.name] = { picture(256, 256), picture(320, 256) }
    end
  end
  return edit
end

-- Returns the edit with one parameter more.
local function with(edit, name, value)
  local made = {}
  for key, one in pairs(edit) do made[key] = one end
  made[name] = value
  return made
end

-- Returns values that lie one step beyond what a field may be, each with the fact that it breaks.
local function beyond(field)
  local found = {}
  local function add(fact, value) found[#found + 1] = { fact = fact, value = value } end
  local step = field.type == "integer" and 1 or 0.01
  if field.min and field.type ~= "ratio" then add("min", field.min - step) end
  if field.max and field.type == "images" then
    local many = {}
    for i = 1, field.max + 1 do many[i] = picture(256, 256) end
    add("max_items", many)
  elseif field.max and field.type ~= "ratio" then
    add("max", field.max + step)
  end
  if field.type == "ratio" then add("max", "22:9") end
  if field.choices then add("choices", "nothing") end
  if field.max_length and field.type == "text" then
    add("max_length", ("é"):rep(field.max_length + 1))
  elseif field.max_length then
    add("max_length", "https://a/" .. ("b"):rep(field.max_length))
  end
  return found
end

local function is_confirmed(row, field, fact)
  return row.confirmed and field.confirmed ~= false and not (field.doubts and field.doubts[fact])
end

-- A picture as raw JSON has it.
local function base64(bytes)
  local path = os.tmpname()
  support.write(path, bytes)
  local text = support.shell("base64 -w0 " .. path)
  os.remove(path)
  return text
end

-- Returns the edit as the service's own JSON.
local function raw(edit)
  local body = {}
  for name, value in pairs(edit) do
    local row = models.find(edit.model)
    local field = row.by_name[name]
    if field and field.type == "image" then
      value = base64(value)
    elseif field and field.type == "images" then
      local list = {}
      for i, one in ipairs(value) do list[i] = base64(one) end
      value = list
    end
    if field then body[name] = value end
  end
  return body
end

describe("every model", function()
  local server, client
  setup(function()
    server = support.start { ready_after = 0, max_active = 1000, seed = 7 }
    client = kontext.new { api_key = "k", base_url = server.url, poll_interval = 0.02 }
  end)
  teardown(function()
    client:close()
    server:stop()
  end)
  before_each(function() server:forget() end)

  for _, name in ipairs(models.names()) do
    local row = models.find(name)

    it("edits on the emulator, and costs what was told beforehand: " .. name, function()
      local edit = least(row)
      local before = assert(kontext.estimate(edit))
      local job = client:edit(edit)
      local image = assert(job:wait())
      local ledger = server:ledger()
      assert.equal(row.path, server:requests("POST")[1].path)
      assert.equal(name, ledger.tasks[1].model)
      assert.equal(before.credits, ledger.tasks[1].charged)
      assert.equal(before.upload, server:requests("POST")[1].body)
      assert.same({ before.width, before.height }, { image.width, image.height })
      assert.equal(row.default_format, image.format)
      if row.by_name.seed and job.cost then assert.near(before.credits, job.cost, 1e-9) end
    end)

    it("is refused one step beyond each limit, with nothing sent: " .. name, function()
      for _, field in ipairs(row.fields) do
        for _, step in ipairs(beyond(field)) do
          local edit = with(least(row), field.name, step.value)
          local what = field.name .. " " .. step.fact
          local checked, message = params.check(edit)
          if is_confirmed(row, field, step.fact) then
            local result, _, err = client:edit(edit):wait()
            assert.is_nil(result, what)
            assert.equal("invalid", err.kind, what)
            assert.matches("^" .. field.name:gsub("_", "_"), err.message, what)
          else
            assert.is_table(checked, message)
            assert.is_true(#checked.warnings > 0, what)
          end
        end
      end
      assert.equal(0, server:ledger().totals.submits)
    end)

    it("is refused by the emulator too, one step beyond each limit: " .. name, function()
      local sent = 0
      for _, field in ipairs(row.fields) do
        for _, step in ipairs(beyond(field)) do
          if row.confirmed and is_confirmed(row, field, step.fact) then
            local body = raw(with(least(row), field.name, step.value))
            local answer = server:submit(cjson.encode(body), row.path:sub(5))
            assert.equal(422, answer.status, field.name .. " " .. step.fact)
            assert.equal(field.name, answer.json.detail[1].loc[2])
            sent = sent + 1
          end
        end
      end
      assert.equal(0, server:ledger().totals.accepted)
      assert.equal(sent, server:ledger().totals.submits)
    end)

    it("is told its cost and its link's life as the row says: " .. name .. " #once", function()
      local edit = least(row)
      local begun = server:submit(raw(edit), name).json
      local ready = server:await(begun.polling_url).json
      assert.equal("Ready", ready.status)
      local expected = kontext.estimate(edit).credits
      if row.cost_at == "submit" then
        assert.near(expected, begun.cost, 1e-9)
        assert.is_number(begun.output_mp)
      else
        assert.near(expected, ready.cost, 1e-9)
        if not name:find "kontext" then assert.equal(cjson.null, begun.cost or cjson.null) end
      end
      local ends = ready.result.sample:match "[?&]se=([^&]+)":gsub("%%3A", ":")
      local at = {}
      for late = -5, 30 do
        at[os.date("!%Y-%m-%dT%H:%M:%SZ", os.time() + row.link_life - late)] = true
      end
      assert.is_true(at[ends], ends)
    end)

    it("takes no field of another model: " .. name, function()
      for _, other in ipairs { "seed", "guidance", "aspect_ratio", "dilate_pixels" } do
        if not row.by_name[other] then
          local done, message = pcall(client.edit, client, with(least(row), other, "1"))
          assert.is_false(done)
          assert.matches('unknown key "' .. other .. '"', message, 1, true)
        end
      end
      if not row.by_name.mask and not name:find "kontext" then -- ours, for edits of a region
        local _, _, err = client:edit(with(least(row), "mask", "1.png")):wait(10)
        assert.equal(false, err.charged)
      end
      assert.equal(0, server:ledger().totals.submits)
    end)
  end

  it("that is strict is sent nothing that it does not know", function()
    for _, name in ipairs { "flux-3-image", "flux-tools/outpainting-v1" } do
      local row = models.find(name)
      assert.is_true(row.strict)
      assert(client:edit(least(row)):wait())
      for field in pairs(server:requests("POST")[1].params) do
        assert.is_table(row.by_name[field], field)
      end
      local answer = server:submit(with(raw(least(row)), "webhook_url", "https://a.b"), name)
      assert.equal(422, answer.status)
      assert.equal("extra_forbidden", answer.json.detail[1].type)
      server:forget()
    end
  end)

  it("checks sizes, pictures and masks before it sends anything", function()
    local erase, out = "flux-tools/erase-v1", "flux-tools/outpainting-v1"
    for _, row in ipairs {
      { "2064 x 2048, which is 4227072 pixels: at most 4194304",
        { model = "flux-2-pro", prompt = "x", width = 2064, height = 2048 } },
      { "height is missing: give width and height, or neither",
        { model = "flux-2-pro", prompt = "x", width = 1024 } },
      { "takes pictures of at least 64 x 64",
        { model = "flux-2-pro", prompt = "x", input_image = picture(63, 64) } },
      { "takes pictures of at least 256 x 256",
        { model = "flux-3-image", prompt = "x",
          images = { picture(256, 256), picture(255, 256) } } },
      { "takes pictures of at least 256 x 256",
        { model = erase, image = picture(255, 256), mask = picture(255, 256) } },
      { "mask is 256 x 257 pixels and image is 256 x 256: they must have the same size",
        { model = erase, image = picture(256, 256), mask = picture(256, 257) } },
      { "is not all inside of the canvas of 255 x 320",
        { model = out, input_image = picture(256, 256), width = 255, height = 320 } },
      { "is not all inside of the canvas", { model = out, input_image = picture(256, 256),
        width = 320, height = 320, reference_offset_x = 65, reference_offset_y = 0 } },
      { "mask is missing: a JPEG has no transparent part",
        { model = "flux-pro-1.0-fill", image = core.repaint { width = 256, height = 256, seed = 1,
          format = "jpeg" } } },
    } do
      local result, message, err = client:edit(row[2]):wait()
      assert.is_nil(result, row[1])
      assert.matches(row[1], message, 1, true)
      assert.is_false(err.charged)
      if not row[2].width or row[2].height then
        assert.equal(422, server:submit(raw(row[2]), row[2].model).status, row[1])
      end
    end
    assert.equal(0, server:ledger().totals.accepted)
  end)

  it("warns, and sends, where a limit is not confirmed", function()
    for _, row in ipairs {
      { "both should be multiples of 16",
        { model = "flux-2-pro", prompt = "x", width = 1000, height = 1000 } },
      { "safety_tolerance is 5: it must be a whole number from 0 (strict) to 4",
        { model = "flux-3-image", prompt = "x", safety_tolerance = 5 } },
      { "transparent_bg is not sent",
        { model = "flux-2-pro", prompt = "x", transparent_bg = true } },
      { "known from one source only", { model = "flux-3-image-klein", prompt = "x" } },
    } do
      local job = client:edit(row[2])
      assert(job:wait())
      assert.matches(row[1], table.concat(job.warnings or {}, "\n"), 1, true)
    end
    for _, request in ipairs(server:requests "POST") do
      assert.is_nil(request.params.transparent_bg)
    end
  end)

  it("may be given its first picture as input_image, and a list's as input_image_2 …", function()
    assert(client:edit { model = "flux-3-image", prompt = "x", input_image = picture(256, 256),
      input_image_2 = picture(320, 256) }:wait())
    assert(client:edit { model = "flux-tools/deblur-v1", input_image = picture(256, 256) }:wait())
    local requests = server:requests "POST"
    assert.same({ true, true }, requests[1].params.images)
    assert.is_true(requests[2].params.image)
  end)

  it("changes what is white in a mask, and keeps what is black to the last bit", function()
    local W, H = 256, 256
    local image = picture(W, H)
    local rows = require "spec.support.pictures"
    local mask = {}
    for y = 1, H do mask[y] = "\0" .. (y <= H / 2 and "\0" or "\255"):rep(W) end
    mask = rows.whole_png(W, H, table.concat(mask), "\8\0\0\0\0")
    for _, edit in ipairs {
      { model = "flux-pro-1.0-fill", image = image, mask = mask, output_format = "png" },
      { model = "flux-tools/erase-v1", image = image, mask = mask },
    } do
      local answer = assert(client:edit(edit):wait())
      local before, after = pixels(image), pixels(answer.bytes)
      assert.equal(#before, #after)
      local half = #before / 2
      assert.is_true(before:sub(1, half) == after:sub(1, half))
      assert.is_false(before:sub(half + 1) == after:sub(half + 1))
    end
  end)

  it("keeps a picture in its place when it paints around it", function()
    local image = picture(256, 256)
    local answer = assert(client:edit { model = "flux-tools/outpainting-v1", input_image = image,
      width = 320, height = 300, reference_offset_x = 10, reference_offset_y = 44 }:wait())
    local before, after = pixels(image), pixels(answer.bytes)
    for y = 0, 255 do
      local at = ((y + 44) * 320 + 10) * 3
      assert.is_true(before:sub(y * 768 + 1, y * 768 + 768) == after:sub(at + 1, at + 768))
    end
  end)

  it("that makes WebP makes a picture that other decoders read", function()
    if support.shell "command -v dwebp" == "" then return pending "dwebp is not here" end
    local edit = { model = "flux-2-pro", prompt = "x", seed = 3, width = 128, height = 80 }
    local png = assert(client:edit(with(edit, "output_format", "png")):wait())
    local webp = assert(client:edit(with(edit, "output_format", "webp")):wait())
    assert.equal("webp", webp.format)
    local from, to = os.tmpname(), os.tmpname()
    support.write(from, webp.bytes)
    support.shell(("dwebp -quiet %s -o %s 2>&1"):format(from, to))
    assert.is_true(pixels(png.bytes) == pixels(support.read(to)))
    os.remove(from)
    os.remove(to)
  end)

  it("erases and paints around a picture by functions of their own #once", function()
    local base = { "BFL_API_KEY=k", "BFL_BASE_URL=" .. server.url }
    local from, mask, first, second = os.tmpname(), os.tmpname(), os.tmpname(), os.tmpname()
    support.write(from, picture(256, 256))
    support.write(mask, picture(256, 256))
    local script = ([[local k = require "kontext"
      assert(k.erase { image = %q, mask = %q, save_as = %q }:wait())
      local image = assert(k.outpaint { input_image = %q, left = 16, bottom = 8,
        save_as = %q }:wait())
      local job = k.outpaint { input_image = "/no/such.png", left = 1 }
      local _, _, err = job:wait()
      print(image.width, image.height, err.kind, (pcall(k.outpaint, { left = -1 })))]]):format(from,
      mask, first, from, second)
    support.write(first .. ".lua", script)
    local lua = rawget(_G, "jit") and "luajit" or "lua" .. _VERSION:match "%d+%.%d+"
    local said = support.shell(table.concat(base, " ") .. " " .. lua .. " " .. first .. ".lua 2>&1")
    assert.equal("272 264 file false", (said:gsub("%s+", " "):gsub(" $", "")))
    local requests = server:requests "POST"
    assert.equal("/v1/flux-tools/erase-v1", requests[1].path)
    assert.same({ 16, 0 }, { requests[2].params.reference_offset_x,
      requests[2].params.reference_offset_y })
    assert.equal(2, #requests)
    for _, path in ipairs { from, mask, first, second, first .. ".lua" } do os.remove(path) end
  end)

  it("is under way with the statuses of its time #once", function()
    for name, way in pairs { ["flux-3-image"] = { Pending = 1, Reasoning = 2, Generating = 3 },
      ["flux-2-pro"] = { Pending = 1 }, ["flux-kontext-pro"] = { Pending = 1 } } do
      local begun = server:submit({ prompt = "[emulate: slow 2]" }, name).json
      local reached = 0
      repeat
        local status = server:request(begun.polling_url).json.status
        if status ~= "Ready" then
          assert.is_true(way[status] ~= nil and way[status] >= reached, status)
          reached = way[status]
        end
      until status == "Ready"
      assert.is_true(reached > (name == "flux-3-image" and 1 or 0))
    end
  end)

  it("names a malformed key as the service does", function()
    local answer = server:request("/v1/flux-2-pro", { method = "POST", body = '{"prompt":"x"}',
      headers = { "x-key: no key at all", "Content-Type: application/json" } })
    assert.equal(422, answer.status)
    assert.equal("Invalid API key format", answer.json.detail)
  end)
end)

describe("the models", function()
  it("are named, sorted, and described by copies", function()
    local names = models()
    assert.equal("flux-2-flex", names[1])
    local described = models "flux-2-pro"
    assert.equal("/v1/flux-2-pro", described.path)
    assert.equal(8, described.images.max)
    assert.is_true(described.confirmed)
    described.fields[1].name = "changed"
    described.price.first = 0
    assert.equal("prompt", models("flux-2-pro").fields[1].name)
    assert.equal(3, models("flux-2-pro").price.first)
    assert.equal("/v1/flux-kontext-max", models("max").path)
    assert.equal(models "pro".path, models("flux-kontext-pro").path)
    assert.is_nil(models "no-such")
    assert.matches("there are flux%-2%-flex", select(2, models "no-such"))
  end)

  it("are named in the sentence about one that there is not, with what was meant", function()
    local checked, message = params.check { prompt = "x", model = "flux-2-prp" }
    assert.is_nil(checked)
    assert.matches('model is "flux-2-prp": it must be one of flux-2-flex, ', message, 1, true)
    assert.matches('(did you mean "flux-2-pro"?)', message, 1, true)
  end)

  it("are what the client's model says where the edit names none", function()
    assert.equal("flux-2-max", params.check({ prompt = "x", width = 64, height = 64 }, 1,
      "flux-2-max").model)
    assert.equal("flux-kontext-max", params.check({ prompt = "x" }, 1, "max").model)
  end)

  it("say for each row all that a row must say", function()
    for _, name in ipairs(models.names()) do
      assert.is_nil(models.wrong(models.find(name)), name)
    end
  end)

  local function invented()
    return {
      path = "/v1/invented",
      fields = {
        { name = "prompt", type = "text", required = true },
        { name = "picture", type = "image", required = true },
        { name = "strength", type = "number", min = 0, max = 1 },
      },
      images = { style = "single", first = "picture", max = 1 },
      sizes = { rule = "input" }, formats = { "png" }, default_format = "png",
      price = { rule = "flat", credits = 2.5, confirmed = true },
    }
  end

  it("may be a program's own: one row edits, and is checked like ours", function()
    models.define("invented", invented())
    local path = os.tmpname()
    support.write(path, [[require("kontext.models").define("invented", {
      path = "/v1/invented", fields = { { name = "prompt", type = "text", required = true },
        { name = "picture", type = "image", required = true },
        { name = "strength", type = "number", min = 0, max = 1 } },
      images = { style = "single", first = "picture", max = 1 },
      sizes = { rule = "input" }, formats = { "png" }, default_format = "png",
      price = { rule = "flat", credits = 2.5, confirmed = true } })]])
    local server = support.start { ready_after = 0, models = path }
    local client = kontext.new { api_key = "k", base_url = server.url, poll_interval = 0.02 }
    local edit = { model = "invented", prompt = "x", picture = picture(70, 50), strength = 0.25 }
    assert.equal(2.5, kontext.estimate(edit).credits)
    local image = assert(client:edit(edit):wait())
    assert.same({ 70, 50, "png" }, { image.width, image.height, image.format })
    assert.equal(0.25, server:requests("POST")[1].params.strength)
    local _, message = client:edit(with(edit, "strength", 1.01)):wait()
    assert.equal("strength is 1.01: it must be a number from 0 to 1", message)
    assert.equal(1, server:ledger().totals.submits)
    client:close()
    server:stop()
    os.remove(path)
  end)

  it("of a program are told apart by all of its fields, in a journal too", function()
    local identity = require "kontext.journal.identity"
    local row = invented()
    row.fields[4] = { name = "version", type = "image" } -- a text, where it is one of ours
    row.fields[5] = { name = "more", type = "images", max = 2 }
    models.define("invented", row)
    local edit = { model = "invented", prompt = "x", picture = picture(70, 50), strength = 0.25,
      version = picture(64, 64), more = { picture(64, 65), picture(64, 66) } }
    local seen = { [identity.of(params.check(edit))] = true }
    for _, other in ipairs { with(edit, "picture", picture(70, 51)), with(edit, "strength", 0.5),
      with(edit, "version", picture(64, 70)), with(edit, "more", { picture(64, 65) }),
      with(edit, "more", { picture(64, 65), picture(64, 67) }) } do
      local id = identity.of(params.check(other))
      assert.is_nil(seen[id])
      seen[id] = true
    end
    -- Those of our models stay what earlier versions have written into journals.
    assert.equal("9b3a97c42264b3ff", identity.of { prompt = "x", seed = 7,
      input_image = picture(64, 48) })
  end)

  it("of a program are refused where the row is wrong or the name is ours", function()
    for _, row in ipairs {
      { "my", {}, "path must be" },
      { "my", with(invented(), "fields", {}), "fields must be a list" },
      { "my", with(invented(), "fields", { { name = "A B", type = "text" } }), "has no name" },
      { "my", with(invented(), "fields", { { name = "a", type = "blob" } }), "no type" },
      { "my", with(invented(), "images", { style = "single", first = "b" }), "images.first" },
      { "my", with(invented(), "sizes", { rule = "big" }), "sizes.rule" },
      { "my", with(invented(), "price", { rule = "free" }), "price.rule" },
      { "my", with(invented(), "default_format", "gif"), "default_format" },
      { "flux-2-pro", invented(), "is kontext's own" },
      { "pro", invented(), "is kontext's own" },
      { "a b", invented(), "a model's name is" },
    } do
      local done, message = pcall(function() models.define(row[1], row[2]) end)
      assert.is_false(done)
      assert.matches("models_spec.lua:%d+: ", message)
      assert.matches(row[3], message, 1, true)
    end
  end)
end)

-- The facts that were collected, where they are at hand.
local sheet = io.open "../shared/models.json"

describe("the table of models", function()
  -- Of a field: what the sheet calls it, and what the row does.
  local facts = { min = "min", max = "max", maxLength = "max_length", maxItems = "max" }

  local function compare(row, given)
    local field = row.by_name[given.name]
    if not field then
      return given.confirmed == false and {} or { row.name .. " has no field " .. given.name }
    end
    local found = {}
    for theirs, ours in pairs(facts) do
      local wanted = given[theirs]
      if wanted ~= nil and wanted ~= cjson.null and wanted ~= field[ours] then
        found[#found + 1] = ("%s.%s: %s is %s, not %s"):format(row.name, given.name, ours,
          tostring(field[ours]), tostring(wanted))
      end
    end
    if (given.required == true) ~= (field.required == true) then
      found[#found + 1] = row.name .. "." .. given.name .. ": required"
    end
    if type(given.enum) == "table" and field.choices
      and table.concat(given.enum, " ") ~= table.concat(field.choices, " ") then
      found[#found + 1] = row.name .. "." .. given.name .. ": choices"
    end
    return found
  end

  it("says what the collected facts say", function()
    if not sheet then return pending "../shared/models.json is not here" end
    local found = {}
    for _, fact in ipairs(cjson.decode(sheet:read "*a")) do
      local row = models.find(fact.model)
      assert.is_table(row, fact.model)
      assert.equal(fact.path, row.path)
      assert.equal(fact.confirmed, row.confirmed, fact.model)
      if fact.confirmed then
        assert.equal(fact.strict, row.strict == true, fact.model)
        assert.equal(fact.seed, row.by_name.seed ~= nil, fact.model)
        assert.equal(fact.webhook, row.by_name.webhook_url ~= nil, fact.model)
        assert.equal(fact.active_tasks, row.active, fact.model)
        assert.equal(fact.link_life_s, row.link_life, fact.model)
        assert.equal(fact.images.max, row.images.max, fact.model)
        assert.equal(fact.cost_at_submit and "submit" or "poll", row.cost_at, fact.model)
        assert.equal(table.concat(fact.output_formats, " "), table.concat(row.formats, " "))
        assert.equal(fact.output_format_default, row.default_format)
        for _, given in ipairs(fact.fields) do
          for _, difference in ipairs(compare(row, given)) do found[#found + 1] = difference end
        end
      end
    end
    assert.same({}, found)
  end)
end)
