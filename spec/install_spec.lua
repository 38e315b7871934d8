-- What users install, in each way they can: from a copy of the tree, and run with nothing else of
-- this checkout in reach.
local tree

-- Runs a shell script elsewhere, without this run's environment; returns the lines it printed.
-- $TREE is the copy; the table's fields are variables too.
local function alone(variables, script)
  local path = os.tmpname()
  local file = assert(io.open(path, "w"))
  for name, value in pairs(variables) do file:write(name, "='", value, "'\n") end
  file:write("set -e; cd /\n", script)
  file:close()
  local command = [[env -i PATH="$PATH" HOME='%s' TREE='%s' sh %s 2>&1; s=$?; echo; echo $s]]
  local pipe = io.popen(command:format(tree or "/", tree or "/", path))
  local lines = {}
  for line in pipe:lines() do
    if line ~= "" then lines[#lines + 1] = line end
  end
  pipe:close()
  os.remove(path)
  assert(table.remove(lines) == "0", script .. "\n" .. table.concat(lines, "\n"))
  return lines
end

-- Asserts that this Lua, with the modules of `prefix` before all others, takes kontext from there.
local function assert_loads(prefix, version)
  assert.same({
    ("%s/share/lua/%s/kontext"):format(prefix, version),
    ("%s/lib/lua/%s/kontext/core.so"):format(prefix, version),
  }, alone({ P = prefix, V = version }, [[
    export LUA_PATH="$P/share/lua/$V/?.lua;$P/share/lua/$V/?/init.lua;;"
    export LUA_CPATH="$P/lib/lua/$V/?.so;;"
    lua$V "$TREE/spec/support/where.lua"]]))
end

describe("an installed kontext #once", function()
  setup(function()
    local here = io.popen("pwd"):read "*l"
    tree = alone({ HERE = here }, [[
      tree=$(mktemp -d); echo "$tree"; cd "$HERE"
      cp -a Makefile kontext-*.rockspec LICENSE bin lua spec src types "$tree"
      mkdir "$tree/build"; cp -a build/5.4 "$tree/build"]])[1]
  end)

  teardown(function() alone({}, 'rm -rf "$TREE"') end)

  for _, version in ipairs { "5.4", "5.1" } do
    it("is whole under a staged prefix, and uninstalls without a rest: " .. version, function()
      local variables = { V = version, ROOT = tree .. "/root-" .. version }
      alone(variables, 'make -C "$TREE" install LUA_VERSION=$V PREFIX=/opt/k DESTDIR="$ROOT"')
      assert_loads(variables.ROOT .. "/opt/k", version)
      assert.truthy(alone(variables, '"$ROOT/opt/k/bin/kontext" --version')[1]:match "%d")
      assert.same({}, alone(variables, [[
        cd "$ROOT/opt/k/share"
        MANROFFSEQ= LC_ALL=C.UTF-8 man --warnings -l man/man1/kontext.1 2>&1 >/dev/null
        bash -n bash-completion/completions/kontext
        grep -q "^#compdef kontext" zsh/site-functions/_kontext
        grep -q "^complete -c kontext" fish/vendor_completions.d/kontext.fish]]))
      alone(variables, 'make -C "$TREE" uninstall LUA_VERSION=$V PREFIX=/opt/k DESTDIR="$ROOT"')
      assert.same({}, alone(variables, 'find "$ROOT" -type f'))
    end)

    it("is made by LuaRocks: " .. version, function()
      local variables = { V = version, ROCKS = tree .. "/rocks-" .. version }
      alone(variables, [[
        cd "$TREE"
        echo 'rocks_provided = { dkjson = "2.6-1", argparse = "0.7.1-1" }' > provided.lua
        LUAROCKS_CONFIG=provided.lua luarocks --lua-version $V make --tree "$ROCKS" \
          kontext-scm-1.rockspec]])
      assert_loads(variables.ROCKS, version)
      assert.truthy(alone(variables, '"$ROCKS/bin/kontext" --version')[1]:match "%d")
    end)
  end

  -- Prints what an edit ends with, and where the client's constructor stands.
  local asks = [[
    export LUA_PATH="$P/share/lua/$V/?.lua;$P/share/lua/$V/?/init.lua;;"
    export LUA_CPATH="$P/lib/lua/$V/?.so;;"
    "$RUN" -e 'local kontext = require "kontext"
      local client = kontext.new { base_url = "http://127.0.0.1:1" }
      local _, message = client:edit { prompt = "x", input_image = "no.jpg" }:wait()
      local where = debug.getinfo(kontext.new, "S")
      print(message) print(where.source .. ":" .. where.linedefined)']]

  local function line_of(path, text)
    local number = 0
    for line in io.lines(path) do
      number = number + 1
      if line:find(text, 1, true) == 1 then return number end
    end
  end

  for _, version in ipairs { "5.4", "5.1" } do
    it("reads one file of its own, and errors name the sources' lines: " .. version, function()
      local prefix = tree .. "/one-" .. version
      local variables = { V = version, P = prefix, RUN = "lua" .. version }
      alone(variables, [[make -C "$TREE" install LUA_VERSION=$V PREFIX="$P"
        cd "$P/share/lua/$V/kontext" && find . -name '*.lua' ! -path ./init.lua -delete]])
      local said = alone(variables, asks)
      assert.same("cannot read no.jpg: No such file or directory", said[1])
      local line = line_of("lua/kontext/client/client.lua", "function client.new(")
      assert.same("@lua/kontext/client/client.lua:" .. line, said[2])
    end)
  end

  it("reads its files in a Lua that it was not compiled for", function()
    local prefix = tree .. "/files"
    alone({ P = prefix }, 'make -C "$TREE" install LUA_VERSION=5.1 PREFIX="$P"')
    local said = alone({ V = "5.1", P = prefix, RUN = "luajit" }, asks)
    assert.same("cannot read no.jpg: No such file or directory", said[1])
    assert.same(1, (said[2]:find("@" .. prefix .. "/share/lua/5.1/kontext/client/client.lua", 1,
      true)))
  end)

  -- From an archive and its rockspec side by side, as `make dist` leaves them; the archive holds
  -- what this tree is, committed or not.
  for _, version in ipairs { "5.4", "5.1" } do
    it("is installed by LuaRocks from a release's archive, its types too: " .. version, function()
      local rocks = tree .. "/rocks with a space " .. version
      local variables = { V = version, ROCKS = rocks }
      local types = alone(variables, [[
        mkdir -p "$TREE/dist" && cd "$TREE/dist"
        cp "$TREE"/kontext-0.*.rockspec .
        release=$(sed -n 's/^return "\(.*\)"/\1/p' "$TREE/lua/kontext/version.lua")
        tar -C "$TREE" --transform "s,^,kontext-$release/," -czf "kontext-$release.tar.gz" \
          Makefile LICENSE bin lua src types
        echo 'rocks_provided = { dkjson = "2.6-1", argparse = "0.7.1-1" }' > provided.lua
        LUAROCKS_CONFIG=provided.lua luarocks --lua-version $V install --tree "$ROCKS" \
          "kontext-$release-1.rockspec" >&2
        find "$ROCKS" -path "*/types/kontext.lua" | wc -l]])
      assert.equal("1", types[#types]:match "%d+")
      assert_loads(rocks, version)
      assert.truthy(alone(variables, '"$ROCKS/bin/kontext" --version')[1]:match "0%.%d+%.%d")
    end)
  end

  it("is whole under a prefix with a space, and uninstalls without a rest", function()
    local variables = { P = tree .. "/a prefix" }
    alone(variables, 'make -C "$TREE" install PREFIX="$P"')
    assert_loads(variables.P, "5.4")
    assert.truthy(alone(variables, '"$P/bin/kontext" --version')[1]:match "%d")
    alone(variables, 'make -C "$TREE" uninstall PREFIX="$P"')
    assert.same({}, alone(variables, 'find "$P" -type f'))
  end)

  it("finds its own files through a relative PATH and through a link", function()
    local versions = alone({}, [[
      make -C "$TREE" install PREFIX="$TREE/usr" >/dev/null
      "$TREE/usr/bin/kontext" --version
      (cd "$TREE/usr" && PATH="bin:$PATH" kontext --version)
      ln -s "$TREE/usr/bin/kontext" "$TREE/link" && "$TREE/link" --version]])
    assert.truthy(versions[1]:match "%d")
    assert.same({ versions[1], versions[1], versions[1] }, versions)
  end)

  it("is found by Neovim on its runtimepath", function()
    local lines = alone({}, [[
      make -C "$TREE" nvim
      nvim --headless --clean --cmd "set rtp+=$TREE" +"luafile $TREE/spec/support/where.lua" +q]])
    assert.equal(tree .. "/lua/kontext/core.so", lines[#lines])
  end)
end)
