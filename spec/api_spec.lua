local api = require "kontext.api"

describe("the API's facts", function()
  it("predict the output sizes that BFL's own documents show", function()
    for _, row in ipairs {
      { 2048, 1365, 1248, 832 }, { 1125, 750, 1248, 832 }, { 1024, 768, 1184, 880 },
      { 768, 1280, 800, 1328 }, { 843, 461, 1392, 752 }, { 1610, 2052, 880, 1184 },
      { 422, 750, 752, 1392 }, { 16, 9, 1392, 752 }, { 1, 1, 1024, 1024 },
      { 1, 100, 672, 1568 }, { 100, 1, 1568, 672 },
    } do
      local width, height = api.output_size(row[1], row[2])
      assert.same({ row[3], row[4] }, { width, height })
    end
  end)

  it("give each of the 17 sizes back for its own ratio", function()
    assert.equal(17, #api.sizes)
    for _, size in ipairs(api.sizes) do
      assert.same(size, { api.output_size(size[1], size[2]) })
    end
  end)

  it("take ratios from 3:7 to 7:3, the bounds included, however they are written", function()
    for text, ratio in pairs {
      ["16:9"] = 16 / 9, ["3:7"] = 3 / 7, ["7:3"] = 7 / 3, ["9:21"] = 9 / 21, ["21:9"] = 21 / 9,
      ["2.3:1"] = 2.3, ["1248:832"] = 1.5,
    } do
      assert.equal(ratio, api.parse_ratio(text))
    end
  end)

  it("refuse what is no ratio or outside the range", function()
    for _, text in ipairs {
      "", ":", "16x9", "16/9", "1.5", "16:9:1", " 16:9", "16:9 ", "-16:-9", "0:0", "1:0", "0:1",
      "2:5", "7.01:3", "2.99:7", "1e1:9", "0x10:9", ("9"):rep(400) .. ":" .. ("9"):rep(400),
    } do
      assert.is_nil(api.parse_ratio(text), text)
    end
  end)

  it("name the error of each HTTP status that a submit can end in", function()
    for status, kind in pairs {
      [400] = "invalid", [401] = "auth", [402] = "credits", [403] = "auth", [404] = "not_found",
      [413] = "invalid", [422] = "invalid", [429] = "rate_limited", [302] = "http", [308] = "http",
      [418] = "http", [500] = "http",
    } do
      assert.equal(kind, api.submit_kind(status))
    end
  end)
end)
