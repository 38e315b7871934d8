-- The service's own guide: its two clients, taken from its text, edit a picture here. Changed are
-- the host and what the guide leaves open: the picture, the prompt and what to do with the link.

local support = require "spec.support.emulator"

local GUIDE = "../shared/guide.md"

local function have(command)
  return support.shell(command .. " >/dev/null 2>&1 && echo yes") ~= ""
end

-- The guide's code block of a name, its indentation taken off.
local function block(text, name)
  local code = text:match("```%w+ " .. name:gsub("%p", "%%%0") .. "\n(.-)\n%s*```")
  return (assert(code, name):gsub("^  ", ""):gsub("\n  ", "\n"))
end

local function replace(text, from, to)
  local start, stop = text:find(from, 1, true)
  assert(start, from)
  return text:sub(1, start - 1) .. to .. text:sub(stop + 1)
end

describe("the service's guide", function()
  local server, picture, folder, guide
  setup(function()
    guide = io.open(GUIDE) and support.read(GUIDE)
    server = support.start { ready_after = 0.6 }
    folder = os.tmpname()
    os.remove(folder)
    os.execute("mkdir " .. folder)
    -- Small: the guide's curl has it all in one argument.
    picture = require "kontext.core".repaint {
      width = 300, height = 200, format = "jpeg", seed = 1,
    }
    support.write(folder .. "/in.jpg", picture)
  end)
  teardown(function()
    server:stop()
    os.execute("rm -r " .. folder)
  end)
  before_each(function() server:forget() end)

  -- Runs a client in the folder, with a key, and looks at what it downloaded.
  local function edits(interpreter, script)
    support.write(folder .. "/client", script)
    local said = support.shell(("cd %s && BFL_API_KEY=a-key timeout 30 %s client 2>&1")
      :format(folder, interpreter))
    local file = io.open(folder .. "/out.jpg", "rb")
    assert.is_truthy(file, said)
    file:close()
    local info = assert(require "kontext.core".check { path = folder .. "/out.jpg" })
    os.remove(folder .. "/out.jpg")
    assert.equal("1248x832 jpeg", ("%dx%d %s"):format(info.width, info.height, info.format))
    assert.equal(1, server:ledger().totals.accepted)
    return server:ledger().requests[1]
  end

  it("edits with its curl and jq", function()
    if not guide then return pending "the guide is not here" end
    if not have "jq --version" then return pending "jq is not here" end
    local create, poll = block(guide, "create_request.sh"), block(guide, "poll_result.sh")
    create = replace(create, "https://api.bfl.ai", server.url)
    create = replace(create, "<What you want to edit on the image>", "Change the car color to red")
    create = replace(create, "<base64 converted image>", "'$(base64 -w0 in.jpg)'")
    assert.matches('",%s*}\'%)', create) -- a comma that JSON does not know
    local seen = edits("bash", create .. "\n" .. poll .. "\n"
      .. 'curl -s -o out.jpg "$(echo $result | jq -r .result.sample)"\n')
    assert.equal(support.sha256(picture), seen.images.input_image.sha256)
    assert.equal("Change the car color to red", seen.params.prompt)
  end)

  it("edits with its requests and Pillow", function()
    if not guide then return pending "the guide is not here" end
    local python = have "/usr/bin/python3 -c 'import requests, PIL'" and "/usr/bin/python3"
      or "python3"
    if not have(python .. " -c 'import requests, PIL'") then
      return pending "Python's requests and Pillow are not here"
    end
    local create, poll = block(guide, "create_request.py"), block(guide, "poll_result.py")
    create = replace(create, "https://api.bfl.ai", server.url)
    create = replace(create, 'Image.open("<your_image.jpg>")', 'Image.open("in.jpg")')
    create = replace(create, "<What you want to edit on the image>", "Change the car color to red")
    local seen = edits(python, create .. "\n" .. poll .. "\n"
      .. "open('out.jpg', 'wb').write(requests.get(result['result']['sample']).content)\n")
    assert.equal("Change the car color to red", seen.params.prompt)
    local poll_seen = server:requests("GET", "get_result")[1]
    assert.matches("%?id=[%x-]+&id=[%x-]+$", poll_seen.target)
  end)
end)
