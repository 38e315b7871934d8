#!/bin/sh
# obs.sh: OBS with one scene, which shows $KONTEXT_OUT/car.jpg, and the spec's script.
export XDG_CONFIG_HOME="$KONTEXT_OUT/config" XDG_RUNTIME_DIR="$KONTEXT_OUT" LIBGL_ALWAYS_SOFTWARE=1
export KONTEXT_EXAMPLE="$PWD/examples/obs/edit_source.lua"
config=$XDG_CONFIG_HOME/obs-studio
mkdir -p "$config/basic/scenes" "$config/basic/profiles/Spec"
for name in global user; do
  printf '[General]\nFirstRun=true\n[Basic]\nProfile=Spec\nProfileDir=Spec\nSceneCollection=Spec\n%s' \
    'SceneCollectionFile=Spec' >"$config/$name.ini"
done
printf '[General]\nName=Spec\n' >"$config/basic/profiles/Spec/basic.ini"
cat >"$config/basic/scenes/Spec.json" <<EOF
{ "name": "Spec", "current_scene": "Scene", "current_program_scene": "Scene",
  "scene_order": [ { "name": "Scene" } ],
  "modules": { "scripts-tool": [ { "path": "$PWD/spec/hosts/obs_example.lua", "settings": {} } ] },
  "sources": [
    { "id": "image_source", "name": "Photo", "settings": { "file": "$KONTEXT_OUT/car.jpg" } },
    { "id": "scene", "name": "Scene", "settings": { "id_counter": 1, "items": [
      { "id": 1, "name": "Photo", "visible": true } ] } } ] }
EOF
exec xvfb-run -a -s "-screen 0 1280x800x24" obs --multi --minimize-to-tray --disable-updater \
  --disable-shutdown-check --disable-missing-files-check --collection Spec --profile Spec
