"""Where configuration comes from: the service, a file, a dictionary, or an object of the application."""

from kameleoon._sources.file import FileSource
from kameleoon._sources.kept import KeptSource
from kameleoon._sources.make import make_source
from kameleoon._sources.mapping import MappingSource
from kameleoon._sources.protocol import Source
from kameleoon._sources.service import ServiceSource

__all__ = ["FileSource", "KeptSource", "MappingSource", "ServiceSource", "Source", "make_source"]
