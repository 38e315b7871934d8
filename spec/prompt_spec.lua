local replace_text = require "kontext.prompt".replace_text

describe("replace_text", function()
  it("writes the prompt that BFL's guide recommends", function()
    assert.equal("Replace 'joy' with 'BFL'", replace_text("joy", "BFL"))
  end)

  it("keeps case, spaces and line breaks to the letter", function()
    assert.equal("Replace ' Choose  joy\n' with 'BFL'", replace_text(" Choose  joy\n", "BFL"))
  end)

  it("uses quotation marks that neither text holds", function()
    assert.equal([[Replace "it's" with "BFL"]], replace_text("it's", "BFL"))
    assert.equal([[Replace "BFL" with "it's"]], replace_text("BFL", "it's"))
    assert.equal([[Replace “it's” with “"so"”]], replace_text("it's", '"so"'))
    assert.equal([[Replace ‘it's “"so"”’ with ‘b’]], replace_text([[it's “"so"”]], "b"))
  end)

  it("raises at its caller for what is no text", function()
    for _, call in ipairs {
      function() replace_text("a") end, function() replace_text(1, "b") end,
      function() replace_text("", "b") end,
    } do
      local done, message = pcall(call)
      assert.is_false(done)
      assert.matches("prompt_spec.lua:%d+: replace_text", message)
    end
  end)
end)
