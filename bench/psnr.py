#!/usr/bin/python3
"""psnr.py ORIGINAL FITTED…: how near pictures come to a reference scaling of the original, upright
and with Lanczos' filter, as the service scales: a line for each, "WIDTH HEIGHT FORMAT PSNR", in dB."""
import math
import sys

from PIL import Image, ImageChops, ImageOps, ImageStat


def psnr(reference, picture):
    """Returns the peak signal-to-noise ratio, over all channels."""
    rms = ImageStat.Stat(ImageChops.difference(reference, picture)).rms
    mean = sum(value * value for value in rms) / len(rms)
    return 10 * math.log10(255 * 255 / mean) if mean else math.inf


def upright(path):
    with Image.open(path) as picture:
        return ImageOps.exif_transpose(picture).convert("RGB")


original = upright(sys.argv[1])
for path in sys.argv[2:]:
    with Image.open(path) as stored:
        kind = stored.format
    fitted = upright(path)
    reference = original.resize(fitted.size, Image.Resampling.LANCZOS)
    print(*fitted.size, kind, "%.2f" % psnr(reference, fitted))
