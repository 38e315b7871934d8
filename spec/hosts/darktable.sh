#!/bin/sh
# darktable with nothing of the user's; spec/hosts/darktable.lua ends it.
exec xvfb-run -a darktable --library :memory: --configdir "$KONTEXT_OUT/config" \
  --cachedir "$KONTEXT_OUT/cache" --disable-opencl \
  --luacmd 'require("darktable").control.dispatch(dofile, "spec/hosts/darktable.lua")'
