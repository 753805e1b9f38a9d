"""Pictures of the world in and out: any usual file read with all that it says, enlarged, and written whole."""

from sst.inference.pictures.enlarging import enlarge
from sst.inference.pictures.kinds import READ, UNREADABLE
from sst.inference.pictures.picture import Bands, Metadata, Picture
from sst.inference.pictures.reading import read_picture
from sst.inference.pictures.writing import FORMATS as WRITTEN
from sst.inference.pictures.writing import write_picture

__all__ = ['READ', 'UNREADABLE', 'WRITTEN', 'Bands', 'Metadata', 'Picture', 'enlarge', 'read_picture', 'write_picture']
