#!/bin/bash
# The guide's shell script (curl and jq), with its missing steps: the base64 goes through a file, for
# no command line takes it, and the picture is fetched.
# guide.sh URL PICTURE EDITS IN_FLIGHT POLL_INTERVAL
set -e
url=$1 picture=$2 edits=$3 interval=$5
body=$(mktemp) result=$(mktemp)
trap 'rm -f "$body" "$result"' EXIT

for ((i = 0; i < edits; i++)); do
  { printf '{"prompt": "bench", "input_image": "'; base64 -w0 "$picture"; printf '"}'; } >"$body"
  request=$(curl -s -X POST "$url/v1/flux-kontext-pro" -H 'accept: application/json' \
    -H 'x-key: bench' -H 'Content-Type: application/json' -d @"$body")
  polling_url=$(echo "$request" | jq -r .polling_url)
  while true; do
    sleep "$interval"
    answer=$(curl -s -X GET "$polling_url" -H 'accept: application/json' -H 'x-key: bench')
    status=$(echo "$answer" | jq -r .status)
    if [ "$status" == "Ready" ]; then break; fi
  done
  curl -s -o "$result" "$(echo "$answer" | jq -r .result.sample)"
done
