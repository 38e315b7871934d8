"""P1's photographs, and other people's eyes on what an edit of a region made of them: Pillow, libjpeg's
jpegtran, ImageMagick, exiftool. One JSON object a line on standard input and output, `id` in both.

photographs {folder, most}                 makes them; tells {path, format, width, height, what} of each
compare {before, after, window, region, changed}   how many pixels differ outside of the window, and by
                                           how much on average in a frame around the region's edge
strips {before, after, window}             whether the coefficients beside the window are the same
kept {before, after, stripped}             what of the metadata is gone or new, by exiftool
colours {before, after, window, changed}   the largest difference of colour outside of what was changed
profile {to, name}                         writes an ICC profile
fitted {before, after, window}             how far a picture's colours are from another one's, whole or
                                           in a window, and whether its profile is there
tagged {to, name}                          makes a small picture of strong colours with a profile
"""
import glob
import io
import json
import os
import random
import struct
import subprocess
import sys

from PIL import Image, ImageChops, ImageCms, ImageStat

Image.MAX_IMAGE_PIXELS = None

# name: size, how it is coded, the orientation, the profile.
KINDS = [
    ("444", 4243, 2829, "-sample 1x1,1x1,1x1", 1, None),
    ("422-restart", 4501, 3001, "-sample 2x1,1x1,1x1 -restart 7B", 1, None),
    ("420-turned", 5312, 2988, "-sample 2x2,1x1,1x1", 6, None),
    ("420-progressive", 5477, 3653, "-sample 2x2,1x1,1x1 -progressive", 3, None),
    ("440", 4803, 3203, "-sample 1x2,1x1,1x1", 1, None),
    ("grey-progressive", 4999, 2801, "-grayscale -progressive", 1, None),
    ("444-progressive", 5473, 3655, "-sample 1x1,1x1,1x1 -progressive", 8, "display-p3"),
    ("420-24", 6001, 4001, "-sample 2x2,1x1,1x1 -restart 1", 1, "display-p3"),
    ("422-progressive", 5001, 3335, "-sample 2x1,1x1,1x1 -progressive -restart 2", 1, "adobe-rgb"),
    ("rgb.png", 4501, 3001, "", 1, "adobe-rgb"),
    ("rgb16.png", 4243, 2829, "", 1, None),
    ("palette.png", 4801, 3201, "", 1, None),
]

# Primaries, adapted to D50, and the curve: a gamma, or sRGB's.
PROFILES = {
    "display-p3": (((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189),
                    (0.15710, 0.06657, 0.78407)), None),
    "adobe-rgb": (((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087),
                   (0.14919, 0.06322, 0.74457)), 563 / 256),
}


def s15(number):
    return struct.pack(">i", round(number * 65536))


def icc(name):
    primaries, gamma = PROFILES[name]
    words = name.encode()
    description = (b"desc\0\0\0\0" + struct.pack(">I", len(words) + 1) + words + b"\0" + bytes(78))
    if gamma:
        curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    else:
        curve = b"para\0\0\0\0\0\3\0\0" + b"".join(map(s15, (
            2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)))
    tags = [(b"desc", description), (b"cprt", b"text\0\0\0\0no rights reserved\0"),
            (b"wtpt", b"XYZ \0\0\0\0" + s15(0.9642) + s15(1) + s15(0.8249))]
    tags += [(b"%cXYZ" % c, b"XYZ \0\0\0\0" + b"".join(map(s15, p)))
             for c, p in zip(b"rgb", primaries)]
    tags += [(b"%cTRC" % c, curve) for c in b"rgb"]
    table, body, at = b"", b"", 128 + 4 + 12 * len(tags)
    for tag, content in tags:
        table += struct.pack(">4sII", tag, at + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    size = at + len(body)
    head = (struct.pack(">I4sI", size, b"\0\0\0\0", 0x02400000) + b"mntrRGB XYZ " + bytes(12) +
            b"acsp" + bytes(28) + s15(0.9642) + s15(1) + s15(0.8249))
    return head + bytes(128 - len(head)) + struct.pack(">I", len(tags)) + table + body


def run(words, data=None):
    return subprocess.run(words, input=data, stdout=subprocess.PIPE, check=True).stdout


def wallpapers():
    found = []
    for path in glob.glob("/usr/share/backgrounds/**/*.jpg", recursive=True):
        with Image.open(path) as image:
            found.append((image.size[0] * image.size[1], path))
    return [path for _, path in sorted(found, reverse=True)[:8]]


def painted(size, chance):
    """A landscape without a camera: soft hills of colour."""
    small = Image.frombytes("RGB", (24, 16), bytes(chance.randrange(256) for _ in range(24 * 16 * 3)))
    return small.resize(size, Image.BICUBIC)


def scene(number, size, chance):
    """A photograph of that size with as much noise as a camera leaves in its files."""
    found = wallpapers()
    image = Image.open(found[number % len(found)]).convert("RGB") if found else painted(size, chance)
    image = image.resize(size, Image.BICUBIC)
    tile = Image.effect_noise((1021, 1021), 2)
    noise = Image.new("L", size)
    for y in range(0, size[1], 1021):
        for x in range(0, size[0], 1021):
            noise.paste(tile.transpose(chance.randrange(5)), (x, y))
    noise = Image.merge("RGB", (noise,) * 3)
    return ImageChops.add(image, noise, 1, -128)


def ppm(image):
    out = io.BytesIO()
    image.save(out, "PPM")
    return out.getvalue()


def with_metadata(path, folder, image, orientation):
    thumbnail = folder + "/thumbnail.jpg"
    image.resize((160, 120)).save(thumbnail)
    words = ["exiftool", "-q", "-overwrite_original", "-Make=Maker", "-Model=Model 4",
             "-SerialNumber=4711", "-LensSerialNumber=0815", "-GPSLatitude=48.2", "-GPSLatitudeRef=N",
             "-GPSLongitude=11.5", "-GPSLongitudeRef=E", "-DateTimeOriginal=2026:05:04 03:02:01",
             "-ExifImageWidth=%d" % image.size[0], "-ExifImageHeight=%d" % image.size[1],
             "-XMP-dc:Title=A title", "-XMP-dc:Creator=Somebody", "-Orientation#=%d" % orientation]
    if path.endswith(".jpg"):
        words += ["-ThumbnailImage<=" + thumbnail, "-Comment=a comment", "-IPTC:City=Somewhere"]
    run(words + [path])
    os.remove(thumbnail)


def photographs(folder, most):
    made, chance = [], random.Random(7)
    for number, (name, width, height, how, orientation, profile) in enumerate(KINDS[:most]):
        path = "%s/%s" % (folder, name if name.endswith(".png") else name + ".jpg")
        turned = orientation >= 5
        made.append({"path": path, "format": "png" if name.endswith(".png") else "jpeg", "what": name,
                     "width": height if turned else width, "height": width if turned else height,
                     "profile": profile or ""})
        if os.path.exists(path):
            continue
        image = scene(number, (width, height), chance)
        colours = icc(profile) if profile else None
        if name == "rgb16.png":
            deep = bytearray(width * height * 6)
            deep[0::2] = image.tobytes()
            deep[1::2] = (os.urandom(65521) * (width * height * 3 // 65521 + 1))[:width * height * 3]
            run(["convert", "ppm:-", "-define", "png:compression-level=1", "png48:" + path],
                b"P6 %d %d 65535\n" % (width, height) + deep)
        elif name.endswith(".png"):
            kept = image.quantize(256, Image.FASTOCTREE) if name == "palette.png" else image
            kept.save(path, compress_level=1, icc_profile=colours)
        else:
            words = ["cjpeg", "-quality", "92"] + how.split()
            if colours:
                with open(folder + "/profile.icc", "wb") as file:
                    file.write(colours)
                words += ["-icc", folder + "/profile.icc"]
            with open(path, "wb") as file:
                file.write(run(words, ppm(image)))
        with_metadata(path, folder, image, orientation)
    return made


TURNS = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}
known = {}  # the one that was looked at last, decoded


def decoded(path):
    image = Image.open(path)
    turn = TURNS.get(image.getexif().get(0x112, 1))
    profile = image.info.get("icc_profile")
    if image.mode == "P":
        image = image.convert("RGB")
    image.load()
    image = image if turn is None else image.transpose(turn)
    image.info["icc_profile"] = profile
    return image


def original(path):
    if path not in known:
        known.clear()
        known[path] = deep(path) if "rgb16" in path else decoded(path)
    return known[path]


def deep(path):
    """ImageMagick's word on 16 bits: rows of six bytes a pixel."""
    data = run(["convert", path, "-depth", "16", "ppm:-"])
    head, size, most = data[:40].split(b"\n", 3)[:3]
    assert head == b"P6" and most == b"65535", data[:40]
    width, height = map(int, size.split())
    return data[-width * height * 6:], width, height


def box(r, by=0):
    return (r["x"] - by, r["y"] - by, r["x"] + r["width"] + by, r["y"] + r["height"] + by)


def differing_rows(a, b, window):
    """Rows that differ outside of the window."""
    (a, width, height), (b, other, lines) = a, b
    if (width, height) != (other, lines):
        return width * height
    left, top, right, bottom = box(window)
    row, count = width * 6, 0
    for y in range(height):
        at = y * row
        if y < top or y >= bottom:
            count += a[at:at + row] != b[at:at + row]
        else:
            count += a[at:at + left * 6] != b[at:at + left * 6]
            count += a[at + right * 6:at + row] != b[at + right * 6:at + row]
    return count


def compare(before, after, window, region, changed):
    a = original(before)
    if "rgb16" in before:
        b = deep(after)
        outside = differing_rows(a, b, window)
        a, b = Image.open(before), Image.open(after)
    else:
        b = decoded(after)
        if a.size != b.size:
            return {"outside": -1}
        if a.mode != b.mode:
            a, b = a.convert("RGB"), b.convert("RGB")
        difference = ImageChops.difference(a, b)
        difference.paste(0 if len(a.getbands()) == 1 else (0,) * len(a.getbands()), box(window))
        found = difference.getbbox()
        outside = 0 if not found else (found[2] - found[0]) * (found[3] - found[1])
    # A frame of 24 pixels to each side of the region's edge, where the answer had changed nothing.
    around = box(region, 24)
    around = (max(0, around[0]), max(0, around[1]), min(a.size[0], around[2]),
              min(a.size[1], around[3]))
    difference = ImageChops.difference(a.crop(around).convert("RGB"), b.crop(around).convert("RGB"))
    mask = Image.new("L", difference.size, 255)
    for hole in (box(region, -24), box(changed, 16)):
        if hole[0] < hole[2] and hole[1] < hole[3]:
            mask.paste(0, (hole[0] - around[0], hole[1] - around[1], hole[2] - around[0],
                           hole[3] - around[1]))
    count = mask.histogram()[255]
    seam = max(ImageStat.Stat(difference, mask).mean) if count > 2000 else -1
    inside = ImageStat.Stat(ImageChops.difference(a.crop(box(window)), b.crop(box(window)))).mean
    return {"outside": outside, "seam": seam, "inside": max(inside)}


def strips(before, after, window):
    """Whether jpegtran cuts the same bytes out of both on each side of the window, as stored."""
    image = Image.open(before)
    width, height = image.size
    left, top, right, bottom = box(window)
    unit = 32
    cuts = []
    if left >= unit:
        cuts.append((left // unit * unit, height, 0, 0))
    if top >= unit:
        cuts.append((width, top // unit * unit, 0, 0))
    if right + unit <= width:
        x = -(-right // unit) * unit
        cuts.append((width - x, height, x, 0))
    if bottom + unit <= height:
        y = -(-bottom // unit) * unit
        cuts.append((width, height - y, 0, y))
    same = 0
    for cut in cuts:
        words = ["jpegtran", "-copy", "none", "-crop", "%dx%d+%d+%d" % cut]
        same += run(words + [before]) == run(words + [after])
    return {"same": same, "of": len(cuts)}


def tags(path):
    told = json.loads(run(["exiftool", "-j", "-a", "-n", "-G1", path]))[0]
    away = ("System:", "ExifTool:", "File:", "Composite:", "IFD1:", "JFIF:", "PNG:", "PNG-pHYs")
    return {k: v for k, v in told.items() if k != "SourceFile" and not k.startswith(away)}


def kept(before, after, stripped):
    a, b = tags(before), tags(after)
    if stripped:
        secret = [k for k in b if "GPS" in k or "Serial" in k or "Creator" in k or "City" in k]
        return {"wrong": secret, "count": len(b)}
    return {"wrong": [k for k in set(a) | set(b) if a.get(k) != b.get(k)], "count": len(a)}


def in_lab(image, profile):
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile)) if profile else ImageCms.createProfile("sRGB")
    return ImageCms.profileToProfile(image.convert("RGB"), source, ImageCms.createProfile("LAB"),
                                     outputMode="LAB")


def colours(before, after, window, changed):
    """The mean difference in Lab, by littlecms and each file's own profile, beside what was changed."""
    a, b = decoded(before), decoded(after)
    difference = ImageChops.difference(in_lab(a.crop(box(window)), a.info["icc_profile"]),
                                       in_lab(b.crop(box(window)), b.info["icc_profile"]))
    mask = Image.new("L", difference.size, 255)
    hole = box(changed, 16)
    mask.paste(0, (hole[0] - window["x"], hole[1] - window["y"], hole[2] - window["x"],
                   hole[3] - window["y"]))
    return {"lab": max(ImageStat.Stat(difference, mask).mean),
            "same": a.info["icc_profile"] == b.info["icc_profile"] and a.info["icc_profile"] is not None}


def fitted(before, after, window=None):
    a, b = decoded(before), decoded(after)
    profile_before = a.info.get("icc_profile")
    a = a.crop(box(window)) if window else a.resize(b.size, Image.BOX)
    a.info["icc_profile"] = profile_before
    difference = ImageChops.difference(in_lab(a, a.info.get("icc_profile")),
                                       in_lab(b, b.info.get("icc_profile")))
    return {"lab": max(ImageStat.Stat(difference).mean), "width": b.size[0], "height": b.size[1],
            "same": a.info["icc_profile"] == b.info.get("icc_profile"), "mode": b.mode}


def tagged(to, name):
    image = Image.new("RGB", (360, 270))
    for i in range(12):
        colour = ((i & 1) * 255, (i >> 1 & 1) * 255, (i >> 2 & 1) * 200 + i * 4)
        image.paste(colour, (i % 4 * 90, i // 4 * 90, i % 4 * 90 + 90, i // 4 * 90 + 90))
    if name == "grey":
        grey = bytearray(icc("adobe-rgb"))
        grey[16:20] = b"GRAY"
        image.convert("L").save(to, quality=95, icc_profile=bytes(grey))
    else:
        image.save(to, quality=95, subsampling=0, icc_profile=icc(name))
    return {}


def profile(to, name):
    with open(to, "wb") as file:
        file.write(icc(name))
    return {}


for line in sys.stdin:
    asked = json.loads(line)
    number, what = asked.pop("id"), asked.pop("what")
    try:
        answer = globals()[what](**asked)
        answer = answer if isinstance(answer, dict) else {"list": answer}
    except Exception as failure:  # told to who asked, who fails with it
        answer = {"failed": repr(failure)}
    answer["id"] = number
    print(json.dumps(answer), flush=True)
