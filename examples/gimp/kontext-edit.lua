#!/usr/bin/env luajit
-- GIMP 3: a plug-in, through lgi: Filters → Edit with words. The result is a new layer on top.
-- Put it, executable, into ~/.config/GIMP/3.0/plug-ins/kontext-edit/ (3.2 for GIMP 3.2).
local ffi = require "ffi"
local kontext = require "kontext"
local lgi = require "lgi"

local GObject, Gio, GLib = lgi.GObject, lgi.Gio, lgi.GLib
local Gimp = lgi.require("Gimp", "3.0")

local NAME = "plug-in-kontext-edit"

-- GIMP's own way of making the answer crashes lgi.
local function answer(status, message)
  local values = Gimp.ValueArray(message and 2 or 1)
  values:append(GObject.Value(Gimp.PDBStatusType, Gimp.PDBStatusType[status]))
  if message then values:append(GObject.Value(GObject.Type.STRING, message)) end
  return values
end

local function temporary(extension)
  local path = os.tmpname()
  os.remove(path)
  return path .. extension
end

-- Returns the picture as it is seen, as a PNG in a temporary file.
local function export(image)
  local path = temporary ".png"
  local flat = image:duplicate()
  flat:flatten()
  Gimp.file_save(Gimp.RunMode.NONINTERACTIVE, flat, Gio.File.new_for_path(path), nil)
  flat:delete()
  return path
end

-- A plug-in is a process of its own: it may wait, and GIMP goes on.
local function edit(image, prompt)
  local path, result = export(image), temporary ".jpg"
  Gimp.progress_init(prompt)
  local job = kontext.edit { prompt = prompt, input_image = { path = path }, fit = true,
    save_as = result }
  while not job:ended() do
    kontext.poll(0.2)
    Gimp.progress_update(job.progress or 0)
  end
  os.remove(path)
  if not job.image then return nil, job.error.message end
  local layer = Gimp.file_load_layer(Gimp.RunMode.NONINTERACTIVE, image,
    Gio.File.new_for_path(result))
  layer:set_name(prompt)
  image:insert_layer(layer, nil, 0) -- before it is scaled: GIMP scales only an image's layers
  layer:scale(image:get_width(), image:get_height(), false)
  os.remove(result)
  return true
end

local Kontext = lgi.package "Kontext"
Kontext:class("Edit", Gimp.PlugIn)

function Kontext.Edit:do_create_procedure(name)
  local procedure = Gimp.ImageProcedure.new(self, name, Gimp.PDBProcType.PLUGIN,
    function(_, _, image, _, config)
      local value = GObject.Value(GObject.Type.STRING)
      config:get_property("prompt", value)
      local done, message = edit(image, value.value)
      if not done then return answer("EXECUTION_ERROR", message) end
      return answer "SUCCESS"
    end, nil)
  procedure:set_image_types "*"
  procedure:set_menu_label "Edit with _words…"
  procedure:add_menu_path "<Image>/Filters"
  procedure:set_documentation("Edits the picture with words",
    "BFL's API changes what the prompt says", name)
  procedure:add_string_argument("prompt", "Prompt", "what to change", "Make it snow",
    GObject.ParamFlags.READWRITE)
  return procedure
end

-- lgi frees the list that a method returns, and GIMP frees it again. So this method, the first
-- after those of GObject's class, is given without lgi.
ffi.cdef [[
  typedef struct { void *before[17]; void *(*query_procedures)(void *); } KontextClass;
  size_t g_type_from_name(const char *);
  KontextClass *g_type_class_ref(size_t);
  void *g_list_append(void *, void *);
  void *g_strdup(const char *);
]]
local gobject = ffi.load "libgobject-2.0.so.0"
local glib = ffi.load "libglib-2.0.so.0"
local class = gobject.g_type_class_ref(gobject.g_type_from_name(GObject.Type.name(Kontext.Edit)))
class.query_procedures = function() return glib.g_list_append(nil, glib.g_strdup(NAME)) end

-- lgi hands on an array from its first element, which `arg` has at 0.
local arguments = {}
for n = 0, #arg do arguments[n + 1] = arg[n] end
GLib.set_prgname "kontext-edit"
Gimp.main(GObject.Type.name(Kontext.Edit), arguments)
