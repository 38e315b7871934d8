local core = require "kontext.core"
local image = require "kontext.image"
local journal = require "kontext.journal.file"

-- Names that lead elsewhere than where a file of ours was thought to be.
describe("a name that somebody else has changed", function()
  local folder

  local function shell(command)
    local pipe = assert(io.popen(("cd '%s' && %s"):format(folder, command)))
    local text = pipe:read "*a"
    pipe:close()
    return (text:gsub("\n$", ""))
  end

  before_each(function()
    folder = "."
    folder = shell "mktemp -d"
  end)

  after_each(function() os.execute("rm -rf '" .. folder .. "'") end)

  it("does not lead a journal through a link", function()
    shell "mkdir outside && ln -s outside/new dangling && echo kept >outside/file"
    shell "ln -s outside/file link"
    for _, name in ipairs { "dangling", "link" } do
      local opened, message, code = journal.open(folder .. "/" .. name)
      assert.is_nil(opened)
      assert.equal("ELOOP", code)
      assert.matches("give the path that the link leads to", message, 1, true)
    end
    assert.equal("file kept", shell "echo $(ls outside) $(cat outside/file)")
  end)

  it("does not lead a journal into the folder that took its folder's place", function()
    shell "mkdir inside outside"
    local log = assert(core.log(folder .. "/inside/journal"))
    assert(log:append("one\n", true))
    shell "mv inside moved && ln -s outside inside"
    assert(log:replace "two\n")
    log:close()
    assert.equal("two in journal,outside", shell "echo $(cat moved/journal) in $(ls -A moved),"
      .. shell "echo outside $(ls -A outside)")
  end)

  it("does not leave a journal open to others that was so before", function()
    shell "touch journal && chmod 644 journal"
    local log = assert(core.log(folder .. "/journal"))
    assert(log:append("a line\n", true))
    log:close()
    assert.matches("^%-rw%-%-%-%-%-%-%- ", shell "ls -l journal")
  end)

  it("does not make anybody wait for a FIFO where a saved picture was", function()
    shell "mkfifo picture.png"
    local made = image.new({ path = folder .. "/picture.png" }, {})
    assert.is_nil(made.bytes)
    assert.equal("ENOTSUP", (select(3, core.read(made.path))))
  end)
end)
