"""The kinds of image files, by the endings of their names."""

WRITTEN = {'.png': 'PNG', '.jpg': 'JPEG', '.jpeg': 'JPEG', '.webp': 'WEBP', '.tif': 'TIFF', '.tiff': 'TIFF'}
# Formats have the names that Pillow gives them. TGA has no mark at its beginning and is known by its ending alone.
_SINGLE = {'.apng': 'PNG', '.bmp': 'BMP', '.dds': 'DDS', '.gif': 'GIF', '.qoi': 'QOI', '.tga': 'TGA'}
READ = (
    WRITTEN
    | _SINGLE
    | {
        **dict.fromkeys(('.jpe', '.jfif', '.mpo'), 'JPEG'),
        **dict.fromkeys(('.jp2', '.j2k', '.j2c', '.jpc', '.jpf', '.jpx'), 'JPEG2000'),
        **dict.fromkeys(('.ppm', '.pgm', '.pbm', '.pnm'), 'PPM'),
        **dict.fromkeys(('.avif', '.avifs'), 'AVIF'),
    }
)
NAMES = 'PNG, JPEG, WebP, TIFF, BMP, GIF, AVIF, JPEG 2000, TGA, PPM, PGM, PBM, QOI and DDS'
_RAW = '3fr arw cr2 cr3 crw dcr dng erf fff gpr iiq kdc mef mos mrw nef nrw orf pef raf raw rw2 rwl sr2 srf srw x3f'
_OTHERS = 'heic heics heif hif jxl jxr wdp psd psb xcf kra exr hdr pcx sgi svg'
UNREADABLE = frozenset(f'.{ending}' for ending in f'{_RAW} {_OTHERS}'.split())
_HEIC = (b'heic', b'heix', b'heim', b'heis', b'hevc', b'hevx', b'mif1', b'msf1')  # brands, after `ftyp`


def unreadable_kind(content: bytes, ending: str) -> str | None:
    """The kind of an image that cannot be read, by its content or the ending of its name; None for other files."""
    if content[4:8] == b'ftyp' and content[8:12] in _HEIC:
        return 'a HEIC image'
    return f'a {ending} image' if ending in UNREADABLE else None
