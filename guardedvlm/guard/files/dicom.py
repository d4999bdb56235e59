"""A redacted DICOM file: a new secondary capture around the verified pixels, never the sender's data set with holes.

Nothing is copied but the closed list of `guard.decode.kept`; dicom-anonymizer then applies the actions of PS3.15 table
E.1-1 (Basic Profile, edition 2026c) to that too. UIDs are new and random, so two redactions cannot be linked by them.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from dicomanonymizer.simpledicomanonymizer import anonymize_dataset, initialize_actions
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from guardedvlm.core.region import Raster
from guardedvlm.guard.image import DicomHeader

TABLE = "dicomfields_2026c"
SINGLE = "1.2.840.10008.5.1.4.1.1.7"
GRAY_FRAMES, COLOUR_FRAMES = "1.2.840.10008.5.1.4.1.1.7.2", "1.2.840.10008.5.1.4.1.1.7.4"
"""Secondary capture: one picture; multi-frame grayscale byte; multi-frame true colour (PS3.4, table B.5-1)."""
PAGE_NUMBER_VECTOR = 0x00182001
METHOD = (("113100", "Basic Application Confidentiality Profile"), ("113101", "Clean Pixel Data Option"))
"""PS3.16, CID 7050."""
EMPTY = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "ReferringPhysicianName", "AccessionNumber"),
    *("StudyID", "StudyDate", "StudyTime", "SeriesNumber", "PatientOrientation", "Laterality"),
)
"""Attributes of type 2 of the patient, study, series and image: required, and empty where nothing may be said."""


def redacted_dicom(frames: Sequence[Raster], header: DicomHeader) -> bytes:
    """The file with `frames`, verified rasters of one size, as 8-bit gray where all are gray, else RGB.

    Raises ValueError on no frame or frames of several sizes.
    """
    if not frames or len({frame.shape for frame in frames}) != 1:
        raise ValueError("frames of one size are wanted")
    dataset = _profiled(header)
    gray = all(_is_gray(frame) for frame in frames)
    _add_identity(dataset, SINGLE if len(frames) == 1 else GRAY_FRAMES if gray else COLOUR_FRAMES)
    _add_pixels(dataset, frames, gray=gray)
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def _profiled(header: DicomHeader) -> Dataset:
    """What is kept after the profile, and the empty attributes. No UID yet: the library remembers what it replaced."""
    dataset = Dataset()
    for keyword, value in (*header.codes, *header.numbers):
        setattr(dataset, keyword, list(value) if isinstance(value, tuple) else value)
    if "Modality" not in dataset:
        dataset.Modality = "OT"
    anonymize_dataset(dataset, base_rules_gen=lambda: initialize_actions(TABLE))
    # After the profile, which would put a dummy into them.
    for keyword in EMPTY:
        if keyword not in dataset:
            setattr(dataset, keyword, None)
    return dataset


def _add_identity(dataset: Dataset, sop_class: str) -> None:
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, generate_uid(prefix=None)
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = generate_uid(prefix=None), generate_uid(prefix=None)
    dataset.ImageType, dataset.ConversionType, dataset.InstanceNumber = ["DERIVED", "SECONDARY"], "WSD", 1
    dataset.BurnedInAnnotation, dataset.PatientIdentityRemoved = "NO", "YES"
    dataset.DeidentificationMethod = [meaning for _, meaning in METHOD]
    dataset.DeidentificationMethodCodeSequence = [_code(value, meaning) for value, meaning in METHOD]
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = sop_class
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID


def _code(value: str, meaning: str) -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, "DCM", meaning
    return code


def _add_pixels(dataset: Dataset, frames: Sequence[Raster], *, gray: bool) -> None:
    dataset.Rows, dataset.Columns = frames[0].shape[:2]
    dataset.SamplesPerPixel = 1 if gray else 3
    dataset.PhotometricInterpretation = "MONOCHROME2" if gray else "RGB"
    if not gray:
        dataset.PlanarConfiguration = 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 8, 8, 7, 0
    if len(frames) > 1:
        dataset.NumberOfFrames = len(frames)
        dataset.PageNumberVector = list(range(1, len(frames) + 1))
        dataset.FrameIncrementPointer = PAGE_NUMBER_VECTOR
    if len(frames) > 1 and gray:
        dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = 0, 1, "US"
        dataset.PresentationLUTShape = "IDENTITY"
    pixels = b"".join((frame[:, :, 0] if gray else frame).tobytes() for frame in frames)
    dataset.PixelData = pixels + bytes(len(pixels) % 2)
    dataset["PixelData"].VR = "OB"


def _is_gray(frame: Raster) -> bool:
    return bool(np.array_equal(frame[:, :, 0], frame[:, :, 1]) and np.array_equal(frame[:, :, 0], frame[:, :, 2]))
