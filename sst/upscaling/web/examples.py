"""Pictures to try, cut from the photographs that ship inside scikit-image."""

from pathlib import Path

import skimage.data
from PIL import Image

# Name of the photograph and the box that is cut out: left, top, right, bottom.
_CUTS = {
    'astronaut.png': (128, 0, 384, 256),
    'coffee.png': (110, 40, 430, 360),
    'chelsea.png': (80, 20, 336, 276),
}
_SIDE = 160  # pixels: shrunk, as small pictures are, and enlarged in a moment


def write_examples(folder: Path) -> list[Path]:
    """Write the example pictures into an existing folder, except for those that scikit-image lacks."""
    photographs = Path(skimage.data.__file__).parent
    written = []
    for name, box in _CUTS.items():
        if (photographs / name).is_file():
            with Image.open(photographs / name) as image:
                cut = image.convert('RGB').crop(box).resize((_SIDE, _SIDE), Image.Resampling.BICUBIC)
            cut.save(folder / name)
            written.append(folder / name)
    return written
