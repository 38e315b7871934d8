"""Other people's eyes on edited pictures: Pillow. One command a line on standard input, one line out.

shift FROM TO DX DY TINT    moves the content right and down, by parts of a pixel; tints it
scale FROM TO WIDTH HEIGHT  makes it another size
paint FROM TO X Y W H       paints a rectangle
compare A B X Y W H         differing pixels outside, mean difference inside
seam A B X Y W H BY         mean difference in a frame around a rectangle
kind FILE                   format, mode, size, progressive, orientation
coded DIR FROM              JPEGs of a photograph in every sampling, into a folder
"""
import sys
from PIL import Image, ImageChops, ImageDraw, ImageStat


def rgb(path):
    image = Image.open(path)
    return image.convert("RGB")


def shift(source, to, dx, dy, tint):
    image = rgb(source)
    image = image.transform(image.size, Image.AFFINE, (1, 0, -float(dx), 0, 1, -float(dy)),
                            Image.BICUBIC)
    if tint == "tint":
        tables = (lambda v: min(255, v * 1.06 + 3)), (lambda v: v * 0.97), (
            lambda v: max(0, v * 0.95 - 4))
        image = Image.merge("RGB", [c.point(t) for c, t in zip(image.split(), tables)])
    image.save(to)
    return "ok"


def scale(source, to, width, height):
    rgb(source).resize((int(width), int(height)), Image.LANCZOS).save(to)
    return "ok"


def paint(source, to, x, y, w, h):
    image = rgb(source)
    x, y, w, h = map(int, (x, y, w, h))
    ImageDraw.Draw(image).rectangle((x, y, x + w - 1, y + h - 1), fill=(200, 30, 40))
    image.save(to)
    return "ok"


def invert(source, to):
    image = ImageChops.invert(rgb(source)).transpose(Image.FLIP_LEFT_RIGHT)
    image.save(to)
    return "ok"


def upright(image):
    turns = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}
    turn = turns.get(image.getexif().get(0x112, 1))
    return image if turn is None else image.transpose(turn)


def compare(a, b, x, y, w, h):
    a, b = upright(Image.open(a)), upright(Image.open(b))
    if a.size != b.size:
        return "sizes differ"
    x, y, w, h = map(int, (x, y, w, h))
    if a.mode != b.mode:
        a, b = a.convert("RGBA"), b.convert("RGBA")
    if a.mode.startswith("I"):  # 16 bits: ImageChops knows them not
        outside = 0
        p, q = a.load(), b.load()
        for j in range(a.size[1]):
            for i in range(a.size[0]):
                if p[i, j] != q[i, j] and not (x <= i < x + w and y <= j < y + h):
                    outside += 1
        return "%d 0" % outside
    if a.mode in ("1", "P"):
        a, b = a.convert("RGBA"), b.convert("RGBA")
    difference = ImageChops.difference(a, b)
    inside = ImageStat.Stat(difference.crop((x, y, x + w, y + h))).mean
    difference.paste(0 if len(difference.getbands()) == 1 else (0,) * len(difference.getbands()),
                     (x, y, x + w, y + h))
    box = difference.getbbox() if len(difference.getbands()) < 4 else max(
        (c.getbbox() or (0, 0, 0, 0) for c in difference.split()), key=lambda t: t[2])
    if box == (0, 0, 0, 0):
        box = None
    area = 0 if box is None else (box[2] - box[0]) * (box[3] - box[1])
    return "%d %.4f" % (area, max(inside))


def seam(a, b, x, y, w, h, by):
    x, y, w, h, by = map(int, (x, y, w, h, by))
    difference = ImageChops.difference(rgb(a), rgb(b)).crop((x - by, y - by, x + w + by, y + h + by))
    mask = Image.new("L", difference.size, 255)
    mask.paste(0, (by, by, by + w, by + h))
    return "%.4f" % max(ImageStat.Stat(difference, mask).mean)


def kind(path):
    image = Image.open(path)
    image.load()
    exif = image.getexif()
    return "%s %s %dx%d %s %s" % (image.format, image.mode, image.size[0], image.size[1],
                                  "progressive" if image.info.get("progressive") else "plain",
                                  exif.get(0x112, 1))


def coded(folder, source):
    image = rgb(source)
    image.thumbnail((701, 523))
    for name, sampling in (("444", 0), ("422", 1), ("420", 2)):
        for way in (False, True):
            image.save("%s/%s%s.jpg" % (folder, name, "p" if way else ""), quality=88,
                       subsampling=sampling, progressive=way)
    image.convert("L").save(folder + "/grey.jpg", quality=88)
    image.convert("CMYK").save(folder + "/cmyk.jpg", quality=88)
    image.save(folder + "/rgb.png")
    image.convert("P", palette=Image.ADAPTIVE).save(folder + "/palette.png")
    image.convert("L").save(folder + "/grey.png")
    image.convert("1").save(folder + "/bit.png")
    image.convert("RGBA").save(folder + "/rgba.png")
    Image.merge("LA", (image.convert("L"), image.convert("L"))).save(folder + "/la.png")
    grey = image.convert("I").point(lambda v: v * 257)
    grey.save(folder + "/grey16.png")
    image.save(folder + "/picture.webp")
    return "%d %d" % image.size


for line in sys.stdin:
    command, *rest = line.rstrip("\n").split("\t")
    try:
        print(globals()[command](*rest), flush=True)
    except Exception as failure:  # told to the spec, which fails with it
        print("failed: %r" % failure, flush=True)
