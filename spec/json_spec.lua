local json = require "kontext.json"

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

  it("refuses more than 256 KiB before the decoder sees it", function()
    local most = '"' .. ("a"):rep(262142) .. '"'
    assert.equal(262142, #json.decode(most))
    local value, message = json.decode(most .. " ")
    assert.is_nil(value)
    assert.matches("262145 bytes", message, 1, true)
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

describe("string", function()
  it("escapes what JSON must and leaves the rest as it is", function()
    assert.equal('"a/b \\"c\\" \\\\ \\n\\t\\r\\u0000\\u001f\\u007f é €"',
      json.string 'a/b "c" \\ \n\t\r\0\31\127 é €')
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
