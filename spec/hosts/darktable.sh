#!/bin/sh
# darktable.sh SCRIPT: darktable with nothing of the user's; the script ends it.
exec xvfb-run -a darktable --library :memory: --configdir "$KONTEXT_OUT/config" \
  --cachedir "$KONTEXT_OUT/cache" --disable-opencl \
  --luacmd "require('darktable').control.dispatch(dofile, 'spec/hosts/$1')"
