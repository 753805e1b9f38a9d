"""Image files: any usual file is read with everything that it says, and written with it."""

from sst.upscaling.pictures.image_file import ImageFile, Metadata
from sst.upscaling.pictures.kinds import READ, UNREADABLE, WRITTEN
from sst.upscaling.pictures.reading import read_image
from sst.upscaling.pictures.writing import write_image

__all__ = ['READ', 'UNREADABLE', 'WRITTEN', 'ImageFile', 'Metadata', 'read_image', 'write_image']
