local json = require "kontext.json"
local support = require "spec.support.emulator"

local jit = rawget(_G, "jit")

describe("decode", function()
  it("reads an answer, its nulls as absent fields", function()
    local answer = json.decode(
      '{"id":"a","cost":null,"result":{"sample":"s","seed":null},"progress":0.5}')
    assert.same({ id = "a", result = { sample = "s" }, progress = 0.5 }, answer)
  end)

  it("keeps a list's length where it holds null", function()
    assert.same({ "a", false, "b" }, json.decode '["a",null,"b"]')
  end)

  it("makes whole numbers integers, so that they print without a point", function()
    assert.equal("42", tostring(json.decode('{"seed":42}').seed))
    assert.equal("-7", tostring(json.decode("[-7.0]")[1]))
  end)

  it("never raises, and says what is wrong", function()
    for _, text in ipairs {
      "", " ", "null", "{", "[1,", "nope", '{"a":}', "<html>", "\0\0", '"\\ud800"',
      ("["):rep(100000), "1e999", "-1e999",
    } do
      local value, message = json.decode(text)
      assert.is_nil(value, text)
      assert.is_string(message, text)
    end
  end)

  it("loses nothing else for a number that is not finite", function()
    assert.same({ id = "x" }, json.decode '{"cost":1e999,"id":"x"}')
    assert.same({ id = "x" }, json.decode '{"cost":NaN,"id":"x"}')
    assert.same({ { b = { false, 1 } } }, json.decode '[{"b":[-1e999,1]}]')
  end)

  it("refuses what is deeper than any answer", function()
    assert.is_table(json.decode(("["):rep(64) .. ("]"):rep(64)))
    assert.is_nil((json.decode(("["):rep(65) .. ("]"):rep(65))))
  end)

  it("refuses more than 512 KiB before the decoder sees it", function()
    local most = '"' .. ("a"):rep(524286) .. '"'
    assert.equal(524286, #json.decode(most))
    local value, message = json.decode(most .. " ")
    assert.is_nil(value)
    assert.matches("524289 bytes", message, 1, true)
  end)
end)

describe("decode #once", function()
  it("reads the same through Neovim's vim.json, where lua-cjson is absent", function()
    if os.execute "command -v nvim >/dev/null" ~= true then return pending "no nvim" end
    local texts = {
      '{"a":null,"b":[1,null,2],"seed":42,"c":{"d":0.5}}', "null", '{"a":NaN}', "[1e999]", "{", "",
    }
    local script, answers = os.tmpname(), os.tmpname()
    local file = assert(io.open(script, "w"))
    file:write("package.path, package.cpath = 'lua/?.lua', ''\n",
      "local json = require 'kontext.json'\nlocal out = io.open('", answers, "', 'w')\n",
      "out:write(json.name, '\\n')\n")
    for _, text in ipairs(texts) do
      file:write("out:write(vim.json.encode(json.decode(", ("%q"):format(text),
        ") or false), '\\n')\n")
    end
    file:write "out:close() vim.cmd 'qa!'"
    file:close()
    os.execute("timeout 20 nvim --headless --clean +'luafile " .. script .. "' 2>/dev/null")
    local lines = io.lines(answers)
    assert.equal("vim.json", lines())
    for _, text in ipairs(texts) do
      assert.same(json.decode(text) or false, json.decode("[" .. lines() .. "]")[1])
    end
    os.remove(script)
    os.remove(answers)
  end)
end)

describe("salvage", function()
  local answer = '{"id":"job-1","polling_url":"https:\\/\\/api.bfl.ai\\/v1\\/get_result?id=job-1",'
    .. '"cost":4.5,"input_mp":0.96}'
  local url = "https://api.bfl.ai/v1/get_result?id=job-1"

  it("reads an answer that is whole", function()
    assert.same({ id = "job-1", polling_url = url, cost = 4.5 }, json.salvage(answer))
  end)

  it("reads the id and the address of an answer that is cut anywhere, or nothing", function()
    local ids, urls = 0, 0
    for cut = 0, #answer do
      local told = json.salvage(answer:sub(1, cut)) or {}
      assert.is_true(told.id == nil or told.id == "job-1", tostring(told.id))
      assert.is_true(told.polling_url == nil or told.polling_url == url)
      assert.is_true(told.cost == nil or told.cost == 4.5)
      ids, urls = ids + (told.id and 1 or 0), urls + (told.polling_url and 1 or 0)
    end
    assert.equal(#answer - #'{"id":"job-1"' + 1, ids)
    assert.is_true(urls > 25)
  end)

  it("takes the id from the polling URL where its own member is cut", function()
    assert.equal("job 1", json.salvage(
      '{"polling_url":"https://api.bfl.ai/v1/get_result?a=1&id=job%201&b=2","id":"jo').id)
  end)

  it("reads an id whatever stands before and after the object", function()
    for _, text in ipairs {
      "\239\187\191" .. answer, answer .. "\n\0\0junk}", "  \r\n" .. answer, answer .. answer,
      "[" .. answer .. "]", "1f3\r\n" .. answer, (answer:gsub(",", " , ")),
      (answer:gsub("}", ",}")),
    } do
      assert.equal("job-1", json.salvage(text).id, text)
    end
  end)

  it("reads ids that are numbers digit for digit, and no beginning of one", function()
    assert.equal("12345678901234567890", json.salvage('{"id":12345678901234567890}').id)
    assert.is_nil(json.salvage '{"id":1234567')
    for _, other in ipairs { "true", "null", "1.5", "-1", '""', "{}", "[]", "1e3" } do
      assert.is_nil(json.salvage('{"id":' .. other .. "}"), other)
    end
  end)

  it("reads task_id where there is no id", function()
    assert.equal("b", json.salvage('{"task_id":"b"}').id)
    assert.equal("a", json.salvage('{"task_id":"b","id":"a"}').id)
  end)

  it("is not fooled by an id inside of a string or of another object", function()
    assert.equal("real", json.salvage(
      '{"prompt":"say \\"id\\":\\"false\\", {\\"id\\": 7}","x":{"id":"inner"},"id":"real"}').id)
    assert.is_nil(json.salvage '{"prompt":"\\\\\\"id\\":\\"false\\""}')
    assert.is_nil(json.salvage '{"error":{"id":"req-1","message":"no"},"detail":[{"id":"x"}]}')
    local told = json.salvage '{"data":{"id":"inner","polling_url":"https://a/"}}'
    assert.same({ id = "inner", polling_url = "https://a/", nested = true }, told)
  end)

  it("reads escaped characters of every length", function()
    assert.equal("\195\164/\240\159\152\128\226\130\172\\ud83d\\ude00",
      json.salvage [[{"id":"\u00e4\/\ud83d\uDE00\u20ac\\ud83d\\ude00"}]].id)
    assert.equal("a b\1", json.salvage('{"id":"a b\1"}').id)
  end)

  it("finds nothing where there is nothing, and never raises", function()
    for _, text in ipairs { "", "null", "<html>", "{", "[", "}", '"id":"x"', "{}", '{"id"',
      "\0" } do
      assert.is_nil(json.salvage(text), text)
    end
    assert.is_nil(json.salvage(nil))
  end)

  it("takes little time for whatever fills 256 KiB #plain", function()
    for _, part in ipairs { "[", "{", '"', "\\", '\\"', " ", "1", "1.", "-", '{"id":', '"a":',
      "[1.5,", '"id" ', "<", "\239", "{}", "[],", "1,", '"",', "tru" } do
      for _, before in ipairs { "", '{"id":"', '{"a":', "[" } do
        local text = before .. part:rep(math.floor(262000 / #part))
        for _, name in ipairs { "salvage", "decode", "decode_liberal" } do
          local begun = os.clock()
          json[name](text)
          local took = os.clock() - begun
          assert.is_true(took < 0.5, ("%s of %s…: %g s"):format(name, before .. part, took))
        end
      end
    end
  end)

  it("reads an answer with a long prompt in it", function()
    local text = '{"prompt":' .. json.string(('"Ä, {['):rep(3000)) .. ',"id":"x"}'
    assert.equal("x", json.salvage(text).id)
    assert.equal("x", json.decode(text).id)
  end)
end)

describe("decode_liberal", function()
  it("reads what decode reads, and what has a mark before it or more behind it", function()
    for _, text in ipairs { '{"a":[1.5,"x"]}', '\239\187\191{"a":[1.5,"x"]}',
      '{"a":[1.5,"x"]}\r\n}<html>', '  {"a":[1.5,"x"]} {"a":2}' } do
      assert.same({ a = { 1.5, "x" } }, json.decode_liberal(text))
    end
  end)

  it("reads what is whole of an answer that is cut", function()
    assert.same({ status = "Ready", result = { sample = "s" } },
      json.decode_liberal '{"status":"Ready","result":{"sample":"s","seed":12')
    assert.same({ a = {} }, json.decode_liberal '{"a":{"b":')
    assert.is_nil((json.decode_liberal '<html>'))
    assert.is_nil((json.decode_liberal '{"a" "b" nope'))
  end)
end)

describe("numbers", function()
  it("are written so that they are read back as the same", function()
    for _, row in ipairs { { 4, "4" }, { 4.5, "4.5" }, { -0.1, "-0.1" }, { 1e300, "1e+300" },
      { 1 / 3, tostring(("%.16g"):format(1 / 3)) }, { 2 ^ 60, "1.152921504606847e+18" } } do
      assert.equal(row[1], json.to_number(json.number(row[1])))
    end
    assert.equal("4.5", json.number(4.5))
    assert.is_nil(json.number(1 / 0))
    assert.is_nil(json.number(0 / 0))
  end)

  it("are read from nothing else", function()
    for _, text in ipairs { "", "0x10", "inf", "nan", " 1", "1,5", ("1"):rep(300), "1.5.5" } do
      assert.is_nil(json.to_number(text), text)
    end
  end)

  local locales -- the folder of one that writes a comma

  setup(function()
    locales = io.popen("mktemp -d"):read "*l"
    os.execute(("localedef -i de_DE -f UTF-8 %s/de_DE.UTF-8 >%s/log 2>&1"):format(locales, locales))
  end)

  teardown(function() os.execute("rm -r " .. locales) end)

  -- Runs this spec's Lua in that locale; returns what it wrote.
  local function in_locale(code)
    local lua, at = rawget(_G, "arg"), 0
    while lua[at - 1] do at = at - 1 end
    local script = locales .. "/code.lua"
    local file = assert(io.open(script, "w"))
    file:write(code)
    file:close()
    local pipe = io.popen(("LOCPATH=%s timeout 20 %s %s 2>&1"):format(locales, lua[at], script))
    local text = pipe:read "*a"
    pipe:close()
    return text
  end

  it("are read and written with a point, whenever the host changes the locale", function()
    for _, library in ipairs { "", "package.preload['cjson.safe'] = error\n" } do
      for _, when in ipairs { "before", "after" } do
        local set = 'assert(os.setlocale "de_DE.UTF-8", "localedef made no locale")\n'
        local text = in_locale((library .. "%slocal json = require 'kontext.json'\n%s"
          .. [[
          local read = json.decode([==[{"a":4.5,"b":[-1.25e2,7,"\u00011.5","2.5"],"c":1e3,
            "d":{"e":0.96}}]==])
          assert(read.a == 4 + 1 / 2 and read.b[1] == -125 and read.c == 1000 and read.d.e < 1)
          assert(read.b[3] == "\1" .. "1.5" and read.b[4] == "2.5")
          io.write(json.number(read.a), " ", json.salvage('{"id":"x","cost":4.5}').cost * 2, " ",
            json.name:match "^[%%a-]+")]]):format(when == "before" and set or "",
          when == "after" and set or ""))
        local name = library == "" and json.name:match "^[%a-]+" or "dkjson"
        assert.matches("^4%.5 9.* " .. name:gsub("%-", "%%-") .. "$", text)
      end
    end
  end)
end)

describe("dkjson", function()
  local function with_dkjson()
    local ours, cjson = package.loaded["kontext.json"], package.loaded["cjson.safe"]
    package.loaded["kontext.json"], package.loaded["cjson.safe"] = nil, nil
    package.preload["cjson.safe"] = function() error "not installed" end
    local done, made = pcall(require, "kontext.json")
    package.preload["cjson.safe"] = nil
    package.loaded["kontext.json"], package.loaded["cjson.safe"] = ours, cjson
    return assert(done and made, made)
  end

  it("reads the same where lua-cjson is absent", function()
    local other = with_dkjson()
    assert.matches("^dkjson %d", other.name)
    for _, text in ipairs {
      '{"id":"a","cost":null,"result":{"sample":"s","seed":null},"progress":0.5}', '["a",null,"b"]',
      '{"seed":42,"x":-7.0,"y":1e999}', "null", "{", "[1,", "nope", "", "<html>", '{"a":1} x',
      '"\\u00e4\\ud83d\\ude00\\n"', "[]", "{}", ("["):rep(64) .. ("]"):rep(64),
      ("["):rep(65) .. ("]"):rep(65), ("["):rep(100000), '{"cost":NaN,"id":"-Infinity"}',
      "[-Infinity,1,NaN]", '"\\ud800"', '"\\ud83d\\\\\\ude00"', '"\\udc00\\ud800"', '"\\\\ud800"',
    } do
      local expected, found = (json.decode(text)), (other.decode(text))
      assert.same(expected, found, text:sub(1, 80))
      if type(found) == "table" then assert.is_nil(getmetatable(found)) end
    end
    assert.equal("42", tostring(other.decode('{"seed":42}').seed))
  end)

  it("is found where it is installed for Lua 5.1 alone #once", function()
    local folder = support.shell "mktemp -d":match "%S+"
    finally(function() os.execute("rm -rf " .. folder) end)
    local ask = ([[LUA_PATH='lua/?.lua;%s/lua/5.4/?.lua' LUA_CPATH= lua5.4 -e "]]
      .. [[print(require('kontext.json').name, package.path:find('5.1', 1, true))" 2>&1]])
      :format(folder)
    assert.matches("needs lua%-cjson, or dkjson", support.shell(ask))
    os.execute(("mkdir -p %s/lua/5.1 && cp %s %s/lua/5.1"):format(
      folder, package.searchpath("dkjson", package.path), folder)) -- luacheck: ignore 143
    assert.matches("^dkjson [%d.]+\tnil\n$", support.shell(ask))
  end)
end)

describe("string", function()
  it("escapes what JSON must and leaves the rest as it is", function()
    assert.equal('"a/b \\"c\\" \\\\ \\n\\t\\r\\u0000\\u001f\\u007f é €"',
      json.string 'a/b "c" \\ \n\t\r\0\31\127 é €')
  end)

  it("escapes what would move a terminal that shows it", function()
    assert.equal('"\\u009b2J \\u0080 \\u202e \\u2066 \194\160 \226\130\172"',
      json.string "\194\1552J \194\128 \226\128\174 \226\129\166 \194\160 \226\130\172")
  end)

  it("is read back by the decoder byte for byte", function()
    local text = {}
    for byte = 0, 127 do text[#text + 1] = string.char(byte) end
    text = table.concat(text) .. "grün 中文 😀"
    assert.equal(text, json.decode("[" .. json.string(text) .. "]")[1])
  end)
end)

describe("integer", function()
  it("writes an integer digit for digit", function()
    for _, row in ipairs {
      { 0, "0" }, { 42, "42" }, { -7, "-7" }, { 3.0, "3" }, { -0.0, "0" },
      { 1e15, "1000000000000000" },
      { 2 ^ 63, "9223372036854775808" }, { 1e22, "10000000000000000000000" },
      { "123456789012345678901234567890", "123456789012345678901234567890" },
      { "-00012", "-12" }, { "000", "0" }, { "-0", "0" },
    } do
      assert.equal(row[2], json.integer(row[1]))
    end
  end)

  it("keeps all digits of the integers that Lua 5.3 and LuaJIT have", function()
    if math.type then -- luacheck: ignore 143
      assert.equal("9007199254740993", json.integer(tonumber "9007199254740993"))
      assert.equal("-9223372036854775808", json.integer(tonumber "0x8000000000000000"))
    elseif jit then
      local long = assert(load
        "return 9007199254740993LL, 18446744073709551615ULL, 1LL/2LL, 3i")
      local signed, unsigned, zero, complex = long()
      assert.equal("9007199254740993", json.integer(signed))
      assert.equal("18446744073709551615", json.integer(unsigned))
      assert.equal("0", json.integer(zero))
      assert.is_nil(json.integer(complex))
    end
  end)

  it("refuses what is no integer", function()
    for _, value in ipairs {
      0.5, 1 / 0, -1 / 0, 0 / 0, "", "-", "1.0", "1e3", "0x10", "+1", " 1", "1 ", "12a", true, {},
    } do
      assert.is_nil(json.integer(value), tostring(value))
    end
  end)
end)

describe("integer_field", function()
  it("gives a number where one holds the digits, else the digits", function()
    assert.equal(42, json.integer_field('{"seed":42}', "seed"))
    assert.equal(-1, json.integer_field('{"a":1, "seed" : -1 , "b":2}', "seed"))
    local digits = "123456789012345678901234567891"
    assert.equal(digits, json.integer_field('{"result":{"seed":' .. digits .. "}}", "seed"))
    local seed = json.integer_field('{"seed":9007199254740993}', "seed")
    assert.equal("9007199254740993", json.integer(seed))
  end)

  it("is not fooled by a prompt that looks like the field", function()
    local prompt = json.string [[say "seed": 1, and {"seed":2} \"seed":3, ]]
    assert.equal(4, json.integer_field('{"prompt":' .. prompt .. ',"seed":4}', "seed"))
    assert.is_nil(json.integer_field('{"prompt":' .. prompt .. "}", "seed"))
    assert.equal(2, json.integer_field([[{"a \"seed":1,"seed":2}]], "seed"))
  end)

  it("finds nothing where the field is no integer", function()
    for _, text in ipairs {
      "{}", '{"seed":null}', '{"seed":1.5}', '{"seed":1e3}', '{"seed":"7"}', '["seed"]',
    } do
      assert.is_nil(json.integer_field(text, "seed"), text)
    end
  end)
end)

describe("invalid_utf8", function()
  it("passes every valid sequence, the first and last of each length", function()
    for _, text in ipairs {
      "", "plain", "\194\128", "\223\191", "\224\160\128", "\237\159\191", "\238\128\128",
      "\239\191\191",
      "\240\144\128\128", "\244\143\191\191", "a\0b", "é€😀",
    } do
      assert.is_nil(json.invalid_utf8(text))
    end
  end)

  it("tells where the first bad sequence begins", function()
    for _, row in ipairs {
      { "\128", 1 }, { "ab\255", 3 }, { "é\192\175", 3 }, { "\224\159\191", 1 },
      { "x\237\160\128", 2 },
      { "\240\143\191\191", 1 }, { "\244\144\128\128", 1 }, { "\245\128\128\128", 1 },
      { "a\226\130", 2 },
      { "\226\130a", 1 }, { "\240\159\152", 1 }, { "caf\233 x", 4 },
    } do
      assert.equal(row[2], json.invalid_utf8(row[1]))
    end
  end)
end)
