-- Where a picture will go is looked at, kept and filled by the same code.

local core = require "kontext.core"
local pictures = require "spec.support.pictures"

local folder

before_each(function() folder = pictures.output("mktemp -d"):match "[^\n]+" end)
after_each(function() os.execute("rm -rf " .. folder) end)

local function code(path, way)
  local done, _, why = core.can_save(path, way)
  return done or why
end

local function names() return pictures.output("ls -A " .. folder) or "" end

describe("a destination", function()
  it("is refused before anything is paid for where no picture could be put", function()
    assert.equal("ENOENT", code(folder .. "/missing/a.jpg"))
    assert.equal("EISDIR", code(folder))
    assert.equal("ENOTSUP", code "/dev/null")
    assert.equal("ENAMETOOLONG", code(folder .. "/" .. ("x"):rep(300)))
    assert.equal("EINVAL", code(folder .. "/a\0b"))
    assert.is_true(code(folder .. "/a.jpg"))
    assert.equal("", names())
  end)

  it("that was reserved is filled once, and never replaced unasked", function()
    local path = folder .. "/a.jpg"
    assert.is_true(core.reserve(path))
    assert.is_false(core.reserve(path))
    assert.is_true(core.save(path, "mine", "no_replace"))
    local done, message, why = core.save(path, "other", "no_replace")
    assert.same({ false, "EEXIST" }, { done or false, why })
    assert.matches("File exists", message)
    assert.equal("EEXIST", code(path, "no_replace"))
    assert.is_false(core.release(path))
    assert.equal("mine", pictures.read(path))
  end)

  it("that was reserved is given back when nothing came", function()
    assert.is_true(core.reserve(folder .. "/a.jpg"))
    assert.is_true(core.release(folder .. "/a.jpg"))
    assert.equal("", names())
  end)

  it("keeps the permissions of the file that is replaced", function()
    local path = folder .. "/a.jpg"
    assert(core.save(path, "old"))
    os.execute("chmod 600 " .. path)
    assert(core.save(path, "new"))
    assert.equal("600\n", pictures.output("stat -c %a " .. path))
  end)
end)

describe("a saved file", function()
  it("is known by its size and its digest", function()
    local path = folder .. "/a.jpg"
    assert(core.save(path, "abc"))
    assert.equal(3, core.file_info(path).bytes)
    assert.equal("kAFQmDzST7DWlj99KOF/cg==", core.md5_file(path))
    local known, _, why = core.file_info(folder .. "/none")
    assert.same({ false, "ENOENT" }, { known or false, why })
  end)
end)

describe("an answer that arrives compressed", function()
  it("is read, also when it was cut", function()
    local text = ('{"id": "abc"}'):rep(100)
    assert(core.save(folder .. "/text", text))
    local packed = pictures.output("gzip -nc " .. folder .. "/text")
    assert.equal(text, core.inflate(packed, 65536))
    assert.equal(text:sub(1, 100), core.inflate(packed, 100))
    local cut = core.inflate(packed:sub(1, -12), 65536)
    assert.equal(text:sub(1, #cut), cut)
    assert.is_nil(core.inflate(text, 65536))
    assert.is_nil(core.inflate("", 65536))
  end)
end)
