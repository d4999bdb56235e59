"""Everything that decoding may load later, loaded now: a confined worker may be unable to open another file."""

from __future__ import annotations

import codecs
import contextlib

from PIL import Image
from pydicom.charset import python_encoding
from pydicom.pixels import get_decoder

from guardedvlm.guard.decode.dicom import DECODERS


def load_codecs() -> None:
    """Load Pillow's formats, pydicom's decoders and the character sets that a DICOM header may name."""
    Image.preinit()
    for syntax in DECODERS:
        with contextlib.suppress(NotImplementedError):
            get_decoder(syntax)
    for encoding in set(python_encoding.values()) | {"utf-8", "latin-1", "utf-16", "cp1252", "idna"}:
        with contextlib.suppress(LookupError):
            codecs.lookup(encoding)
