"""Kinds of picture files: those that are read, by the ending of their names, and those that people have besides."""

import re

from sst.inference.pictures.writing import FORMATS as WRITTEN

# What Pillow calls them. TGA has no mark at its beginning and is known by its ending alone.
READ = WRITTEN | {
    **dict.fromkeys(('.jpe', '.jfif', '.mpo'), 'JPEG'),
    **dict.fromkeys(('.jp2', '.j2k', '.j2c', '.jpc', '.jpf', '.jpx'), 'JPEG2000'),
    **dict.fromkeys(('.ppm', '.pgm', '.pbm', '.pnm'), 'PPM'),
    '.apng': 'PNG',
    '.avif': 'AVIF',
    '.avifs': 'AVIF',
    '.bmp': 'BMP',
    '.dds': 'DDS',
    '.gif': 'GIF',
    '.qoi': 'QOI',
    '.tga': 'TGA',
}
NAMES = 'PNG, JPEG, WebP, TIFF, BMP, GIF, AVIF, JPEG 2000, TGA, PPM, PGM, PBM, QOI and DDS'
_RAW = '3fr arw cr2 cr3 crw dcr dng erf fff gpr iiq kdc mef mos mrw nef nrw orf pef raf raw rw2 rwl sr2 srf srw x3f'
_OTHERS = 'heic heics heif hif jxl jxr wdp psd psb xcf kra exr hdr pcx sgi svg'
UNREADABLE = frozenset(f'.{ending}' for ending in f'{_RAW} {_OTHERS}'.split())
_HEIC = (b'heic', b'heix', b'heim', b'heis', b'hevc', b'hevx', b'mif1', b'msf1')  # brands, behind `ftyp`


def unreadable_kind(content: bytes, ending: str) -> str | None:
    """What a picture is of a kind that cannot be read, by its content or the ending of its name; None for others."""
    if content[4:8] == b'ftyp' and content[8:12] in _HEIC:
        return 'a HEIC picture'
    return f'a {ending} picture' if ending in UNREADABLE else None


def bits_stored(content: bytes, file_format: str) -> int:
    """Bits of a sample in an AVIF, JPEG 2000 or coloured PPM file; 8 for other kinds."""
    if file_format == 'AVIF' and (place := content.find(b'av1C')) >= 0:
        deep, deeper = content[place + 6] & 0x40, content[place + 6] & 0x20
        return 12 if deep and deeper else 10 if deep else 8
    if file_format == 'JPEG2000' and (place := content.find(b'\xff\x4f\xff\x51')) >= 0:
        return (content[place + 42] & 0x7F) + 1
    if file_format == 'PPM' and (header := re.match(rb'P[36](?:\s|#.*\n)+\d+\s+\d+\s+(\d+)', content)):
        return int(header[1]).bit_length()
    return 8
