-- What must never be seen in any output or file: every client has it as its key and its webhook's
-- secret, and every link to a picture is signed with it. `poll` signs the polling URL, which a
-- token, a journal and an error's own field may tell, and nothing else. In two parts each, so that
-- this file is not found.

return {
  key = "kx-canary" .. "-key-7f3a9c51",
  secret = "kx-canary" .. "-secret-20b7e4",
  signature = "kxCanary" .. "Signature9d1",
  poll = "kxCanary" .. "Poll5e2",
}
