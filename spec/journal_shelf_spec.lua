-- A journal of many edits: what is over is no burden to who writes or reads it.
local core = require "kontext.core"
local journal = require "kontext.journal.file"
local machine = require "kontext.system"

describe("a journal of many edits", function()
  local path, read, system

  before_each(function()
    path, read = os.tmpname(), 0
    -- The machine, but for its syncs; and it counts the bytes that are read.
    system = setmetatable({}, { __index = machine })
    function system.log(...)
      local log, message, code = machine.log(...)
      if not log then return nil, message, code end
      local wrapped = setmetatable({}, { __index = function(_, name)
        return function(_, ...) return log[name](log, ...) end
      end })
      function wrapped.append(_, bytes) return log:append(bytes, false) end
      function wrapped.read(_, size, offset)
        local bytes, problem, why = log:read(size, offset)
        read = read + #(bytes or "")
        return bytes, problem, why
      end
      return wrapped
    end
  end)
  after_each(function() os.remove(path) end)

  local function open() return assert(journal.open(path, system)) end

  local function new_job(key)
    local job = { key = key }
    function job:known()
      return { key = self.key, id = self.id, entry = self.entry, model = "flux-kontext-pro",
        polling_url = self.id and "https://api.bfl.ai/v1/get_result?id=" .. self.id }
    end
    function job:set_entry(number) self.entry = number end
    function job:ended() return self.over end
    return job
  end

  -- Takes a job to its acceptance.
  local function accept(opened, job)
    assert(opened:record(job, "INTENT"))
    local mark = opened:mark(job)
    assert(mark.log:append(mark.line, true))
    job.id = "task-" .. job.key
    assert(opened:record(job, "ACCEPTED"))
    return job
  end

  local function save(opened, job)
    assert(opened:record(job, "SAVED", { path = "out/" .. job.key, size = "9", md5 = "x" }))
    job.over = true
    opened:forget(job)
  end

  local function live(opened, from, to)
    for i = from, to do save(opened, accept(opened, new_job("k" .. i))) end
  end

  local function size() return core.file_info(path).bytes end

  it("holds the place of what is over in memory, and finds it by key and by task", function()
    local opened = open()
    live(opened, 1, 100)
    collectgarbage()
    collectgarbage()
    local before = collectgarbage "count"
    live(opened, 101, 1500)
    collectgarbage()
    collectgarbage()
    assert.is_true((collectgarbage "count" - before) * 1024 / 1400 < 200) -- bytes an edit
    for _, i in ipairs { 1, 777, 1500 } do
      local entry = opened:find("k" .. i)
      assert.same({ "saved", "out/k" .. i, i }, { entry.state, entry.path, entry.number })
      assert.equal(i, opened:find_task("task-k" .. i).number)
    end
    assert.is_nil(opened:find "k1501")
    assert.equal(1500, #opened:entries())
    assert.same({}, opened:unfinished())
    opened:close()
  end)

  it("is made shorter while it is written, and keeps what is under way", function()
    local opened = open()
    local job = accept(opened, new_job "slow")
    live(opened, 1, 1600)
    local lines = 0
    for _ in io.lines(path) do lines = lines + 1 end
    assert.is_true(lines < 4000, lines) -- four lines an edit were written
    save(opened, job)
    local other = accept(opened, new_job "open")
    opened:close()
    opened = open()
    assert.equal("saved", opened:find("slow").state)
    assert.equal("accepted", opened:find("open").state)
    assert.equal("task-open", opened:unfinished()[1].id)
    assert.equal(other.entry, opened:unfinished()[1].number)
    for i = 1, 1600, 100 do assert.equal("out/k" .. i, opened:find("k" .. i).path) end
    local job_after = new_job "after"
    assert(opened:record(job_after, "INTENT"))
    assert.equal(1603, job_after.entry)
    opened:close()
  end)

  it("is not replaced while an upload is about to note its first byte in it", function()
    local opened = open()
    local job = new_job "slow"
    assert(opened:record(job, "INTENT"))
    local mark = opened:mark(job)
    local inode = core.file_info(path).inode
    live(opened, 1, 1500)
    assert.equal(inode, core.file_info(path).inode)
    assert(mark.log:append(mark.line, true))
    job.id = "task-slow"
    assert(opened:record(job, "ACCEPTED"))
    live(opened, 1501, 1520)
    assert.is_false(inode == core.file_info(path).inode)
    opened:close()
    opened = open()
    assert.equal("accepted", opened:find("slow").state)
    opened:close()
  end)

  it("is opened in the time that what is open takes", function()
    local opened = open()
    live(opened, 1, 1100)
    opened:close()
    open():close() -- made shorter
    opened = open()
    for i = 1, 3 do accept(opened, new_job("open" .. i)) end
    opened:close()
    assert.is_true(size() > 100000)
    read = 0
    opened = open()
    assert.equal(3, #opened:unfinished())
    assert.is_true(read < 20000, read)
    assert.equal("saved", opened:find("k777").state) -- the rest when it is asked for
    opened:close()
  end)

  it("goes on with an edit that was over, under its number", function()
    local opened = open()
    live(opened, 1, 1100)
    opened:close()
    open():close()
    opened = open()
    local job = new_job "k7"
    job.entry, job.id = opened:find("k7").number, "task-k7"
    assert(opened:record(job, "ACCEPTED"))
    assert.equal("accepted", opened:find("k7").state)
    opened:close()
    opened = open()
    assert.equal("accepted", opened:find("k7").state)
    assert.equal(1, #opened:unfinished())
    opened:close()
  end)

  it("believes no line about a finished part that is not there", function()
    local opened = open()
    live(opened, 1, 1100)
    opened:close()
    open():close()
    local file = assert(io.open(path, "rb"))
    local text = file:read "*a"
    file:close()
    assert.matches("^%x+ FINISHED 0*1100 ", text)
    file = assert(io.open(path, "wb"))
    file:write(text:sub(1, #text - 5000)) -- a disk that lost its end
    file:close()
    opened = open()
    assert.equal("saved", opened:find("k5").state)
    opened:close()
  end)
end)
