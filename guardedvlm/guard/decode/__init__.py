"""Second stage: the document's pixels, all of them and nothing else.

The service calls `decode_in_worker`: a process with limits decodes untrusted bytes. `decode` does it in the caller's
process.

Every page or frame, or a refusal: nothing is skipped, and a damaged document is not repaired. What a format can hide
beside its pixels (metadata, profiles, layers, overlays, thumbnails, attachments) ends here; only a DICOM header leaves
something behind, the strings that an answer must not repeat.
"""

from guardedvlm.guard.decode.document import decode
from guardedvlm.guard.decode.isolated import decode_in_worker, decode_worker_spec

__all__ = ["decode", "decode_in_worker", "decode_worker_spec"]
