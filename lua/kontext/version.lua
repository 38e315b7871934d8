--- The module's version, as rocks and packages count it.
return "0.9.0"
