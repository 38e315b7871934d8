"""What Pillow says of pictures: reads paths, writes "path, format, width, height", tab-separated,
for those that it decodes to the end without a complaint, and "path, -" for the others."""
import sys
import warnings

from PIL import Image

warnings.simplefilter("error")
for line in sys.stdin:
    path = line.rstrip("\n")
    try:
        with Image.open(path) as image:
            told = (image.format, *image.size)
            image.load()
        print(path, *told, sep="\t")
    except Exception:  # whatever it says: not a valid picture
        print(path, "-", sep="\t")
