-- Images: saving whole or not at all, bytes from a file, edits of edits.

local kontext = require "kontext"
local pictures = require "spec.support.pictures"
local emulator = require "spec.support.emulator"

local server, client, image, folder

setup(function()
  server = emulator.start { ready_after = 0.05 }
  folder = os.tmpname()
  os.remove(folder)
  os.execute("mkdir " .. folder)
  client = kontext.new { base_url = server.url, api_key = "key-of-a-test", poll_interval = 0.02 }
  image = assert(client:edit { prompt = "A red square", seed = "9007199254740993",
    output_format = "png", aspect_ratio = "1:1" }:wait(20))
end)

teardown(function()
  client:close()
  server:stop()
  os.execute("rm -r " .. folder)
end)

local function listing() return pictures.output("ls -A " .. folder) or "" end

describe("an image", function()
  it("tells what it is and how it was made", function()
    assert.same({ "png", 1024, 1024, "A red square" },
      { image.format, image.width, image.height, image.prompt })
    assert.equal("9007199254740993", require "kontext.json".integer(image.seed))
    assert.is_string(image.id)
    assert.is_string(image.bytes)
    assert.equal("kontext.image: png, 1024 x 1024", tostring(image))
  end)

  it("is saved whole, over the old file too, and leaves nothing else", function()
    local path = folder .. "/a.png"
    for _ = 1, 2 do
      assert.equal(path, assert(image:save(path)))
      assert.equal(image.bytes, pictures.read(path))
      assert.equal("a.png\n", listing())
    end
    os.remove(path)
  end)

  it("that cannot be saved leaves the old file, and says why", function()
    for path, code in pairs {
      [folder .. "/no/such.png"] = "ENOENT", [folder] = "EISDIR", ["/dev/full"] = "ENOTSUP",
      [folder .. "/" .. ("x"):rep(300)] = "ENAMETOOLONG", [""] = "EISDIR",
    } do
      local saved, message, err = image:save(path)
      assert.is_nil(saved)
      assert.same({ "file", "save", code, true, image.id },
        { err.kind, err.stage, err.code, err.charged, err.job_id })
      assert.matches("^cannot save the picture as ", message)
    end
    local _, message = image:save "a\0b.png"
    assert.matches("NUL byte", message)
    assert.equal("", listing())
  end)

  it("replaces a link and not what it names", function()
    local target, link = folder .. "/target", folder .. "/link.png"
    os.execute(("echo old > %s && ln -s %s %s"):format(target, target, link))
    assert(image:save(link))
    assert.equal("old\n", pictures.read(target))
    assert.equal(image.bytes, pictures.read(link))
    os.execute(("rm %s %s"):format(target, link))
  end)

  it("of save_as is read from its file when its bytes are asked for", function()
    local path = folder .. "/saved.jpg"
    local saved = assert(client:edit { prompt = "A saved square", save_as = path }:wait(20))
    assert.equal(path, saved.path)
    assert.equal("jpeg", saved.format)
    assert.is_nil(rawget(saved, "bytes"))
    assert.equal(pictures.read(path), saved.bytes)
    assert(saved:save(folder .. "/copy.jpg"))
    assert.equal(saved.bytes, pictures.read(folder .. "/copy.jpg"))
    os.remove(path)
    assert.is_nil(saved.bytes)
    local _, message, err = saved:save(folder .. "/again.jpg")
    assert.equal("file", err.kind)
    assert.matches("it was moved", message)
    os.remove(folder .. "/copy.jpg")
  end)

  it("is forgotten when nobody holds it or its job any more", function()
    local seen = setmetatable({}, { __mode = "v" })
    seen[1] = assert(client:edit { prompt = "A square to forget" }:wait(20))
    for _ = 1, 3 do collectgarbage() end
    assert.is_nil(seen[1])
  end)

  it("is edited further with its own bytes, step by step, with no file in between", function()
    server:forget()
    local second = assert(image:edit { prompt = "Now blue", output_format = "png" }:wait(20))
    local third = assert(second:edit { prompt = "Now green" }:wait(20))
    assert.equal("jpeg", third.format)
    local posts = server:requests "POST"
    assert.equal(2, #posts)
    for i, source in ipairs { image, second } do
      local hex = require "kontext.core".sha256(source.bytes):gsub(".", function(char)
        return ("%02x"):format(char:byte())
      end)
      assert.equal(hex, posts[i].images.input_image.sha256)
    end
    assert.equal("", listing())
  end)

  it("of save_as is edited further from where it lies", function()
    local path = folder .. "/step.png"
    local step = assert(client:edit { prompt = "A step", save_as = path }:wait(20))
    local next_step = assert(step:edit { prompt = "The next" }:wait(20))
    assert.is_string(next_step.bytes)
    assert.is_nil(rawget(step, "bytes"))
    os.remove(path)
    assert.equal("file", select(3, step:edit { prompt = "Too late" }:wait(20)).kind)
  end)

  it("takes another input for what it is given", function()
    server:forget()
    assert(image:edit { prompt = "Both", input_image_2 = image }:wait(20))
    local sent = server:requests("POST")[1].images
    assert.equal(sent.input_image.sha256, sent.input_image_2.sha256)
  end)
end)
