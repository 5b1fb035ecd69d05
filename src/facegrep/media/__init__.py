"""Pictures from outside, read safely: bytes are hostile until decoded."""

from __future__ import annotations

from facegrep.media._below import open_below, read_below
from facegrep.media._data_url import MAX_DATA_URL_BYTES, read_data_url
from facegrep.media._decode import FORMATS, MAX_PIXELS, MAX_SIDE
from facegrep.media._kind import begins_as_picture, kind_of
from facegrep.media._picture import Picture, read_picture
from facegrep.media._source import MAX_BYTES, read_path

__all__ = [
    "FORMATS",
    "MAX_BYTES",
    "MAX_DATA_URL_BYTES",
    "MAX_PIXELS",
    "MAX_SIDE",
    "Picture",
    "begins_as_picture",
    "kind_of",
    "open_below",
    "read_below",
    "read_data_url",
    "read_path",
    "read_picture",
]
