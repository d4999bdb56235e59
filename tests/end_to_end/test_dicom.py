"""A DICOM file in, a redacted DICOM file out: through a real service, the header's patient in the pixels too."""

import io

import numpy as np
import pydicom
import pytest
from PIL import Image, ImageDraw, ImageFont
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, generate_uid

pytestmark = pytest.mark.service

NAME, NUMBER = "Kowalczyk", "RX-448812"


def film(frames=1):
    """A chest film with the patient's name and number burned in, and in its header."""
    shade = np.add.outer(np.linspace(20, 90, 768), np.linspace(0, 60, 1024))
    picture = Image.fromarray(shade.astype(np.uint8))
    font = ImageFont.load_default(32)
    ImageDraw.Draw(picture).text((60, 50), f"{NAME}, Maria", fill=255, font=font)
    ImageDraw.Draw(picture).text((60, 95), NUMBER, fill=255, font=font)
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = ComputedRadiographyImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    dataset.PatientName, dataset.PatientID, dataset.BurnedInAnnotation = f"{NAME}^Maria", NUMBER, "NO"
    dataset.Modality, dataset.PixelSpacing = "CR", [0.15, 0.15]
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = 768, 1024, 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 8, 8, 7, 0
    if frames > 1:
        dataset.NumberOfFrames = frames
    dataset.PixelData = np.asarray(picture).tobytes() * frames
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


@pytest.fixture(scope="module")
def page(service):
    with service.client("clinic") as client:
        return client.redact(film()).redaction.pages[0]


def test_it_is_a_dicom_file_of_nobody(page):
    assert page.media_type == "application/dicom"
    for secret in (NAME, NUMBER, "Maria"):
        assert secret.encode() not in page.content
    found = pydicom.dcmread(io.BytesIO(page.content))
    assert (found.PatientIdentityRemoved, found.Modality, list(found.PixelSpacing)) == ("YES", "CR", [0.15, 0.15])
    assert (found.PatientName, found.PatientID, found.PatientBirthDate) == ("", "", "")


def test_its_pixels_are_the_redacted_ones(page):
    before = pydicom.dcmread(io.BytesIO(film())).pixel_array
    after = pydicom.dcmread(io.BytesIO(page.content)).pixel_array
    assert after.shape == before.shape
    burned, seen = before == 255, np.ones_like(before, bool)
    for region in page.regions:
        box = region.box
        place = (slice(box.y0, box.y1), slice(box.x0, box.x1))
        seen[place] = False
        assert (after[place][~plate(after[place])] == 0).all()
    assert burned.sum() > 1000
    assert not (burned & seen).any()
    # What shows no text stays: shades rise as they did.
    assert np.corrcoef(before[500:].ravel(), after[500:].ravel())[0, 1] > 0.999


def test_every_frame_is_redacted(service, page):
    with service.client("clinic") as client:
        found = client.redact(film(frames=3)).redaction
    assert found.document.media_type == "application/dicom"
    assert [one.page_index for one in found.pages] == [0, 1, 2]
    assert [list(one.counts) for one in found.pages] == [list(page.counts)] * 3
    frames = pydicom.dcmread(io.BytesIO(found.document.content)).pixel_array
    assert frames.shape == (3, 768, 1024)
    assert (frames == frames[0]).all()
    assert NAME.encode() not in found.document.content


def plate(region):
    """The rectangle of a label: white, with the label's letters on it."""
    rows, columns = (np.flatnonzero((region == 255).any(axis=axis)) for axis in (1, 0))
    found = np.zeros_like(region, bool)
    if len(rows):
        found[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = True
    assert found.mean() < 0.7
    return found
