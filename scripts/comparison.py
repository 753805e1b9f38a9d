"""Draws versions of a photograph side by side: the whole with a frame, and what is in the frame, enlarged."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from sst.analysis import largest_error

BACKGROUND = (255, 255, 255)
INK = (24, 26, 32)
FAINT_INK = (104, 110, 122)
FRAME = (230, 40, 70)

CROP = 72  # side of the framed part, in pixels of the photograph
ENLARGED = 4 * CROP
CAPTIONS = 62  # height of the texts below a crop
WHOLE = (1000, 2 * ENLARGED + CAPTIONS)  # the whole photograph fits into this width and height
TEXT_WIDTH = 460  # of the longest line below the whole
GAP = 20
MARGIN = 36


@dataclass(frozen=True)
class Panel:
    """One version of the photograph: (H, W, 3) uint8, the same size in all panels."""

    title: str
    caption: str
    picture: np.ndarray


def draw_comparison(name: str, panels: Sequence[Panel]) -> Image.Image:
    """The last panel whole (it is the original), with a frame, and beside it the framed part of each panel, enlarged.

    The frame lies where the second panel (the baseline) is furthest from the original: the choice does not depend on
    the network that is judged.
    """
    original = panels[-1].picture
    side = min(CROP, *original.shape[:2])
    region = largest_error(panels[1].picture, original, side)
    top, left = region.top, region.left

    title_font, heading_font, text_font = (ImageFont.load_default(size) for size in (30, 23, 17))
    whole, factor = _fit(original)
    grid_left = MARGIN + max(whole.width, TEXT_WIDTH) + 2 * GAP
    height = 2 * (ENLARGED + CAPTIONS) + GAP
    size = (grid_left + 2 * ENLARGED + GAP + MARGIN, MARGIN + 52 + height + MARGIN)
    canvas = Image.new('RGB', size, BACKGROUND)
    draw = ImageDraw.Draw(canvas)
    draw.text((MARGIN, MARGIN - 8), name, INK, title_font)

    y = MARGIN + 52
    canvas.paste(whole, (MARGIN, y))
    frame = [MARGIN + round(left * factor), y + round(top * factor)]
    frame += [MARGIN + round((left + side) * factor), y + round((top + side) * factor)]
    draw.rectangle([frame[0] - 1, frame[1] - 1, frame[2] + 1, frame[3] + 1], outline=BACKGROUND, width=6)
    draw.rectangle(frame, outline=FRAME, width=4)
    text = f'{original.shape[1]} x {original.shape[0]} pixels. Framed: where {panels[1].title.lower()} errs most.'
    draw.text((MARGIN, y + whole.height + 10), text, FAINT_INK, text_font)
    draw.text((MARGIN, y + whole.height + 35), 'Figures: PSNR / SSIM on Y, whole picture.', FAINT_INK, text_font)

    for index, panel in enumerate(panels):
        x = grid_left + index % 2 * (ENLARGED + GAP)
        crop_y = y + index // 2 * (ENLARGED + CAPTIONS + GAP)
        crop = Image.fromarray(panel.picture[top : top + side, left : left + side])
        canvas.paste(crop.resize((ENLARGED, ENLARGED), Image.Resampling.NEAREST), (x, crop_y))
        draw.text((x, crop_y + ENLARGED + 7), panel.title, INK, heading_font)
        draw.text((x, crop_y + ENLARGED + 35), panel.caption, FAINT_INK, text_font)
    return canvas


def _fit(picture: np.ndarray) -> tuple[Image.Image, float]:
    """The picture as large as it may be drawn whole, and its factor of enlargement."""
    height, width = picture.shape[:2]
    factor = min(WHOLE[0] / width, WHOLE[1] / height)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS), factor
