-- The examples for hosts, each in its host: what the server saw, and what is there afterwards.
local core = require "kontext.core"
local support = require "spec.hosts.support"

describe("the example for", function()
  local runner

  setup(function() runner = support.start(support.small, { ready_after = 0.3 }) end)
  teardown(function() runner:stop() end)
  before_each(function()
    runner:afresh()
    os.execute(("cp %s %s/car.jpg"):format(runner.photo, runner.out))
  end)

  local function is_edited(path)
    local info = core.check { path = runner.out .. "/" .. path }
    assert.is_table(info, path .. " is not a picture")
    assert.same({ "jpeg", 1184, 880 }, { info.format, info.width, info.height })
  end

  local function prompts()
    local list = {}
    for _, request in ipairs(runner.server:requests "POST") do
      list[#list + 1] = request.params.prompt
    end
    table.sort(list)
    return list
  end

  -- A promise that is tried where `need` is installed.
  local function promise(host, need, what, fn)
    it(host .. " " .. what, function()
      if not support.is_there(need) then return pending(need .. " is not installed") end
      fn()
    end)
  end

  promise("Pandoc", "pandoc", "shows edited figures, all edited at once, and pays once", function()
    local file = assert(io.open(runner.out .. "/trip.md", "w"))
    file:write [[
![A car](car.jpg){edit="Make it red"}

![Another](car.jpg){edit="Make it blue"}

![As it is](car.jpg)
]]
    file:close()
    local command = ("sh -c 'cd %s; pandoc -t html --lua-filter=%s trip.md'"):format(
      runner.out, support.root .. "/examples/pandoc/edit-figures.lua")
    local html = runner:host("5.3", command)
    local sources = {}
    for source in html:gmatch 'src="([^"]*)"' do sources[#sources + 1] = source end
    assert.equal(3, #sources, html)
    is_edited(sources[1])
    is_edited(sources[2])
    assert.equal("car.jpg", sources[3])
    assert.same({ "Make it blue", "Make it red" }, prompts())
    assert.equal(html, runner:host("5.3", command))
    assert.equal(2, #prompts())
  end)

  promise("tshark", "tshark", "edits the JPEG that a capture's HTTP carried", function()
    local jpeg = core.thumbnail({ path = runner.photo }, 320, 252, "jpeg")
    local answer = ("HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s")
      :format(#jpeg, jpeg)
    local dump = assert(io.open(runner.out .. "/dump", "w")) -- as text2pcap takes it
    for at = 1, #answer, 16 do
      dump:write(("%06x"):format(at - 1), (answer:sub(at, at + 15):gsub(".", function(char)
        return (" %02x"):format(char:byte())
      end)), "\n")
    end
    dump:close()
    local said = runner:host("5.2", ([[sh -c 'cd %s; text2pcap -q -T 80,5000 dump web.pcap;
      tshark -q -r web.pcap -X lua_script:%s -X lua_script1:"Make it snow"']]):format(
      runner.out, support.root .. "/examples/wireshark/edit-jpegs.lua"))
    assert.matches("packet%-1.jpg", said)
    is_edited "packet-1.jpg"
    assert.same({ "Make it snow" }, prompts())
  end)

  promise("mpv", "mpv", "edits the frame on the screen and shows the result", function()
    local said = runner:host("5.2", "mpv --no-config --vo=null --ao=null "
      .. "--image-display-duration=inf --script=examples/mpv/kontext.lua "
      .. "--script=spec/hosts/mpv_example.lua " .. runner.out .. "/car.jpg")
    local shown = io.open(runner.out .. "/shown")
    assert.is_truthy(shown, said)
    assert.equal("Make it snow 1184 880", shown:read "*a")
    shown:close()
    assert.same({ "Make it snow" }, prompts())
  end)

  promise("darktable", "darktable", "imports the results beside the pictures, grouped", function()
    local said = runner:host("5.4", "sh spec/hosts/darktable.sh darktable_example.lua")
    is_edited "car-kontext-1.jpg"
    local grouped = io.open(runner.out .. "/grouped")
    assert.is_truthy(grouped, said)
    assert.equal("car-kontext-1.jpg car.jpg", grouped:read "*a")
    grouped:close()
    assert.same({ "Make it snow" }, prompts())
  end)

  promise("LÖVE", "love", "shows the result while the game goes on", function()
    local said = runner:host("jit", "xvfb-run -a love spec/hosts/love example")
    local shown = io.open(runner.out .. "/shown")
    assert.is_truthy(shown, said)
    assert.equal("1184 880", shown:read "*a")
    shown:close()
    assert.same({ "Make it snow" }, prompts())
  end)

  -- It will not run as root.
  promise("VLC", "cvlc", "adds the edited picture to the playlist", function()
    local out = runner.out
    os.execute(([[mkdir -p %s/data/vlc/lua/intf && chmod -R a+rwX %s
      cp spec/hosts/vlc_example.lua %s/data/vlc/lua/intf/edit_pictures.lua]]):format(out, out, out))
    local user = support.shell "id -u":match "%d+" == "0"
      and "setpriv --reuid=65534 --regid=65534 --clear-groups" or ""
    -- Debian links it to Lua 5.2 or, since forky, 5.4.
    local plugin = support.shell "find /usr/lib -name liblua_plugin.so":match "%S+"
    local build = support.shell("ldd " .. plugin):match "liblua(5%.%d)"
    local said = runner:host(build, ("env HOME=%s XDG_DATA_HOME=%s/data KONTEXT_EXAMPLE=%s "
      .. "%s cvlc --no-audio --vout dummy --no-video-title-show --image-duration=50 "
      .. "--extraintf luaintf --lua-intf edit_pictures "
      .. [[--lua-config 'edit_pictures={prompt="Make it snow"}' %s/car.jpg]]):format(
      out, out, support.root .. "/examples/vlc/edit_pictures.lua", user, out))
    local playlist = io.open(out .. "/playlist")
    assert.is_truthy(playlist, said)
    assert.equal("car.jpg car-kontext-1.jpg", playlist:read "*a")
    playlist:close()
    is_edited "car-kontext-1.jpg"
    assert.same({ "Make it snow" }, prompts())
  end)

  promise("OBS Studio", "obs", "shows the edited picture and puts the old one back", function()
    local said = runner:host("jit", "sh spec/hosts/obs.sh")
    local shown = io.open(runner.out .. "/shown")
    assert.is_truthy(shown, said)
    assert.equal("car.jpg car-kontext-1.jpg car.jpg", shown:read "*a")
    shown:close()
    is_edited "car-kontext-1.jpg"
    assert.same({ "Make it snow" }, prompts())
  end)

  -- GIMP before 3 has no plug-ins through lgi.
  promise("GIMP", "gimp-console-3", "adds the edited picture as a layer of the image's size",
    function()
    local out = runner.out
    os.execute(([[mkdir -p %s/gimp/plug-ins/kontext-edit && cd %s/gimp
      cp "$OLDPWD/examples/gimp/kontext-edit.lua" plug-ins/kontext-edit
      # Of GIMP's own only what is needed: it asks each once, which takes a minute.
      for name in file-png file-jpeg script-fu; do
        ln -s /usr/lib/*/gimp/3.0/plug-ins/$name plug-ins
      done
      echo '(plug-in-path "${gimp_dir}/plug-ins")' >gimprc]]):format(out, out))
    local batch = assert(io.open(out .. "/batch.scm", "w"))
    batch:write((([[
(let* ((image (car (gimp-file-load RUN-NONINTERACTIVE "OUT/car.jpg"))))
  (plug-in-kontext-edit #:run-mode RUN-NONINTERACTIVE #:image image
    #:drawables (car (gimp-image-get-selected-drawables image)) #:prompt "Make it snow")
  (for-each
    (lambda (n) (gimp-message (string-append "layer of "
      (number->string (car (gimp-drawable-get-width n))) "x"
      (number->string (car (gimp-drawable-get-height n))))))
    (vector->list (car (gimp-image-get-layers image))))
  (gimp-file-save RUN-NONINTERACTIVE image "OUT/edited.xcf")
  (gimp-image-flatten image)
  (gimp-file-save RUN-NONINTERACTIVE image "OUT/edited.jpg"))]]):gsub("OUT", out)))
    batch:close()
    local said = runner:host("jit", ("env GIMP3_DIRECTORY=%s/gimp sh -c 'gimp-console-3 -n -i -d "
      .. "--batch-interpreter plug-in-script-fu-eval -b \"$(cat %s/batch.scm)\" --quit'"):format(
      out, out))
    local info = core.check { path = out .. "/edited.jpg" }
    assert.is_table(info, said)
    local size = ("layer of %dx%d\n"):format(info.width, info.height)
    assert.equal(2, select(2, said:gsub(size, "")), said)
    assert.matches("Make it snow", assert(io.open(out .. "/edited.xcf", "rb")):read "*a")
    assert.same({ "Make it snow" }, prompts())
  end)

  promise("awesome", "awesome", "hangs the edited wallpaper", function()
    local said = runner:host("5.3", ("env XDG_CACHE_HOME=%s xvfb-run -a awesome "
      .. "-c spec/hosts/awesome_example.lua"):format(runner.out))
    local hung = io.open(runner.out .. "/hung")
    assert.is_truthy(hung, said)
    assert.equal("1184 880", hung:read "*a")
    hung:close()
    assert.same({ "Make it snow" }, prompts())
  end)

  promise("Prosody", "prosody", "answers a message with the edited picture's address", function()
    local said = runner:host("5.4", ("env KONTEXT_PORT=%d prosody -F "
      .. "--config spec/hosts/prosody_example.cfg.lua"):format(support.free_port()))
    local answer = io.open(runner.out .. "/answer")
    assert.is_truthy(answer, said)
    assert.matches("^http://[^ ]+%.jpg 200 image/jpeg 1024 1024$", answer:read "*a")
    answer:close()
    assert.same({ "Make it snow" }, prompts())
  end)

  promise("webhooks", "lua5.1 http.server", "is called, and wakes the job", function()
    local said = runner:host("5.1", ("sh -c 'cd %s; lua5.1 %s/examples/webhook.lua car.jpg snow'")
      :format(runner.out, support.root))
    assert.matches("edited.jpg", said)
    is_edited "edited.jpg"
    local ledger = runner.server:ledger()
    assert.equal(204, ledger.webhooks[1].status)
    assert.equal(1, ledger.tasks[1].polls)
  end)

  -- Asks an example's server; returns the statuses and texts of its answers.
  local function ask(host, ...)
    local command = { "env WEBHOOK_SECRET=swordfish lua5.4 spec/hosts/ask.lua", host }
    for _, arguments in ipairs { ... } do command[#command + 1] = ("%q"):format(arguments) end
    return runner:host(host == "nginx" and "jit" or "5.3", table.concat(command, " "))
  end

  promise("nginx", "nginx", "takes webhooks that know the secret, and no others", function()
    local event = "-d '{\"id\":\"1\",\"status\":\"Ready\",\"result\":{}}' URL/webhook"
    local said = ask("nginx", "-H 'X-Webhook-Secret: swordfish' " .. event,
      "-H 'X-Webhook-Secret: tunafish' " .. event, event)
    assert.matches("^204 \n403 .*\n403 ", said:gsub("[^\n]*%[warn%][^\n]*\n", ""))
  end)

  local requests = {
    nginx = "--data-binary %s 'URL/edit?prompt=%%5Bemulate:+error%%5D'",
    haproxy = "--data-binary %s -H 'x-prompt: [emulate: error]' URL/edit",
  }
  for host, request in pairs(requests) do
    promise(host, host, "tells what was wrong with an edit", function()
      local said = ask(host, request:format "scribble",
        request:format("@" .. runner.out .. "/car.jpg"))
      assert.matches("^422 the image is not a picture[^\n]+\n502 the service could not", said)
      assert.same({ "[emulate: error]" }, prompts())
    end)
  end
end)
