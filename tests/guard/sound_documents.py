"""A small sound document of each kind that the service decodes: what hostile ones and fuzzers begin with."""

import io

import numpy as np
import pydicom
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, JPEG2000Lossless, RLELossless

WIDTH, HEIGHT = 80, 64
FRAMES = [
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (HEIGHT // 4, WIDTH // 4, 3), np.uint8)).resize(
        (WIDTH, HEIGHT)
    )
    for seed in range(3)
]


def encoded(name, frames=1, **options):
    stream = io.BytesIO()
    first, *others = [frame.copy() for frame in FRAMES[:frames]]  # Pillow leaves its settings behind in a saved image
    more = {"save_all": True, "append_images": others} if others else {}
    first.save(stream, name, **more, **options)
    return stream.getvalue()


def dicom(syntax, frames=1):
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = UID("1.2.840.10008.5.1.4.1.1.7")
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = UID("1.2.3.4")
    ds.PatientName, ds.PatientID, ds.PatientBirthDate = "Doe^Jane", "MRN-0042", "19610208"
    ds.Rows, ds.Columns, ds.SamplesPerPixel, ds.PhotometricInterpretation = HEIGHT, WIDTH, 3, "RGB"
    ds.BitsAllocated = ds.BitsStored = 8
    ds.HighBit, ds.PixelRepresentation, ds.PlanarConfiguration, ds.NumberOfFrames = 7, 0, 0, frames
    ds.PixelData = b"".join(frame.tobytes() for frame in FRAMES[:frames])
    if syntax != ExplicitVRLittleEndian:
        ds.compress(syntax)
    stream = io.BytesIO()
    pydicom.dcmwrite(stream, ds, enforce_file_format=True)
    return stream.getvalue()


SOUND = {
    "png": encoded("PNG"),
    "apng": encoded("PNG", 3),
    "jpeg": encoded("JPEG"),
    "jpeg-progressive": encoded("JPEG", progressive=True),
    "mpo": encoded("MPO", 3),
    "webp": encoded("WEBP", lossless=True),
    "webp-film": encoded("WEBP", 3, lossless=True),
    "tiff": encoded("TIFF", 3),
    "tiff-lzw": encoded("TIFF", 3, compression="tiff_lzw"),
    "tiff-jpeg": encoded("TIFF", compression="jpeg"),
    "bmp": encoded("BMP"),
    "gif": encoded("GIF", 3),
    "dicom": dicom(ExplicitVRLittleEndian, 3),
    "dicom-rle": dicom(RLELossless, 3),
    "dicom-j2k": dicom(JPEG2000Lossless),
    "pdf": encoded("PDF", 3),
}
