"""The redacted DICOM file: the verified pixels, the profile's marks, and nothing of what the sender's file held."""

import io

import numpy as np
import pydicom
import pytest
from pydicom.datadict import DicomDictionary
from pydicom.dataset import Dataset
from test_decode_dicom import RAMP8, dataset, decoded

from guardedvlm.guard.files.dicom import METHOD, redacted_dicom
from guardedvlm.guard.image import DicomHeader

CANARY = "ZQXJ"
TEXT = {"AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UT"}


def planted():
    """A file with a canary in every text attribute, below every sequence, in private tags and elsewhere."""
    nested = Dataset()
    nested.PatientName = f"{CANARY}^NESTED"
    ds = dataset(RAMP8, Modality="CR", PixelSpacing=[0.2, 0.2])
    for tag, (vr, _, _, _, _) in DicomDictionary.items():
        if vr in TEXT and tag not in ds and 0x0008_0005 < tag < 0x7FE0_0000:
            ds.add_new(tag, vr, CANARY)
        elif vr == "SQ" and tag > 0x0008_0000:
            ds.add_new(tag, vr, [nested])
        elif vr == "DA" and tag > 0x0008_0000:
            ds.add_new(tag, vr, "18771231")
        elif vr == "UI" and tag not in ds and tag > 0x0008_0000:
            ds.add_new(tag, vr, "1.2.3.98765")
    block = ds.private_block(0x0029, CANARY, create=True)
    block.add_new(0x01, "LO", CANARY)
    ds.add_new(0x60003000, "OW", (CANARY * 50).encode())
    ds.add_new(0x50003000, "OW", (CANARY * 50).encode())
    ds.file_meta.ImplementationVersionName = CANARY
    ds.preamble = (CANARY * 32).encode()
    return ds


@pytest.mark.filterwarnings("ignore")  # pydicom finds most of it malformed
def test_nothing_planted_survives():
    stream = io.BytesIO()
    planted().save_as(stream, enforce_file_format=True)
    assert stream.getvalue().count(CANARY.encode()) > 500
    image = decoded(stream.getvalue())
    content = redacted_dicom([image.pages[0].raster], image.header)
    for secret in (CANARY, "18771231", "98765", "1.2.3.4"):
        assert secret.encode() not in content


def test_pixels_marks_and_what_is_kept():
    raster = np.repeat(RAMP8[:, :, None], 3, axis=2)
    header = DicomHeader((("Modality", "CR"), ("Laterality", "R")), (("PixelSpacing", (0.2, 0.2)),))
    first, second = (pydicom.dcmread(io.BytesIO(redacted_dicom([raster], header))) for _ in range(2))
    assert np.array_equal(first.pixel_array, RAMP8)
    assert (first.Modality, first.Laterality, list(first.PixelSpacing)) == ("CR", "R", [0.2, 0.2])
    assert (first.PatientIdentityRemoved, first.BurnedInAnnotation) == ("YES", "NO")
    assert [code.CodeValue for code in first.DeidentificationMethodCodeSequence] == [value for value, _ in METHOD]
    assert first.file_meta.MediaStorageSOPInstanceUID == first.SOPInstanceUID != second.SOPInstanceUID
    assert first.StudyInstanceUID != second.StudyInstanceUID


@pytest.mark.parametrize("gray", [True, False])
def test_frames_are_all_there_and_exact(gray):
    frames = [np.random.default_rng(n).integers(0, 256, (5, 7, 3), np.uint8) for n in range(3)]
    if gray:
        frames = [np.repeat(frame[:, :, :1], 3, axis=2) for frame in frames]
    found = pydicom.dcmread(io.BytesIO(redacted_dicom(frames, DicomHeader())))
    expected = np.stack(frames)[..., 0] if gray else np.stack(frames)
    assert np.array_equal(found.pixel_array, expected)
    assert found.NumberOfFrames == 3


def test_frames_of_several_sizes_are_no_file():
    for frames in ([], [np.zeros((4, 4, 3), np.uint8), np.zeros((5, 4, 3), np.uint8)]):
        with pytest.raises(ValueError, match="one size"):
            redacted_dicom(frames, DicomHeader())
