--- The module's version, as rocks and packages count it.
return "0.1.0"
