"""DICOM: every frame over the whole range of its values, whatever the header asks for; or a refusal."""

import io
import zlib

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from guardedvlm.errors import InvalidInput, Reason
from guardedvlm.guard.admit import admit
from guardedvlm.guard.decode import decode
from guardedvlm.guard.decode.kept import check_kept
from guardedvlm.guard.image import DicomHeader, Format, RawImage
from guardedvlm.policy.model import Limits

LIMITS = Limits()
ROWS, COLUMNS = 64, 96
RNG = np.random.default_rng(4711)
RAMP8 = np.linspace(0, 255, ROWS * COLUMNS).astype(np.uint8).reshape(ROWS, COLUMNS)
RAMP12 = np.linspace(0, 4095, ROWS * COLUMNS).astype(np.uint16).reshape(ROWS, COLUMNS)
COLOUR = RNG.integers(0, 256, (ROWS, COLUMNS, 3), np.uint8)


def dataset(pixels, photometric="MONOCHROME2", stored=None, frames=1, **attributes):
    """A secondary capture with `pixels` in native form."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = UID("1.2.840.10008.5.1.4.1.1.7")
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = UID("1.2.3.4")
    samples = 1 if photometric.startswith(("MONO", "PALETTE")) else 3
    ds.Rows, ds.Columns = pixels.shape[1:3] if frames > 1 else pixels.shape[:2]
    ds.SamplesPerPixel, ds.PhotometricInterpretation = samples, photometric
    if samples == 3:
        ds.PlanarConfiguration = 0
    if frames > 1:
        ds.NumberOfFrames = frames
    bits = pixels.dtype.itemsize * 8
    ds.BitsAllocated, ds.BitsStored = bits, stored or bits
    ds.HighBit = ds.BitsStored - 1
    ds.PixelRepresentation = int(pixels.dtype.kind == "i")
    data = pixels.tobytes()
    ds.PixelData = data + bytes(len(data) % 2)
    ds["PixelData"].VR = "OW" if bits > 8 else "OB"
    for keyword, value in attributes.items():
        setattr(ds, keyword, value)
    return ds


def written(ds):
    stream = io.BytesIO()
    ds.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def decoded(content, limits=LIMITS):
    image = decode(admit(RawImage(content, "application/dicom"), limits), limits)
    assert image.format is Format.DICOM
    return image


def rasters(ds, limits=LIMITS):
    return [page.raster for page in decoded(written(ds), limits).pages]


def gray(ds):
    (raster,) = rasters(ds)
    assert np.array_equal(raster[:, :, 0], raster[:, :, 1])
    assert np.array_equal(raster[:, :, 0], raster[:, :, 2])
    return raster[:, :, 0]


def refused(source, limits=LIMITS):
    with pytest.raises(InvalidInput) as caught:
        decoded(source if isinstance(source, bytes) else written(source), limits)
    return caught.value.reason


# ---------------------------------------------------------------- values to tones


def test_eight_bit_gray_is_exact_and_monochrome1_inverted():
    assert np.array_equal(gray(dataset(RAMP8)), RAMP8)
    assert np.array_equal(gray(dataset(RAMP8, "MONOCHROME1")), 255 - RAMP8)


def test_twelve_of_sixteen_bits_and_signed_values_fill_the_range():
    expected = np.rint(RAMP12 * (255 / 4095)).astype(np.uint8)
    assert np.array_equal(gray(dataset(RAMP12, stored=12)), expected)
    signed = RAMP12.astype(np.int16) - 2048
    assert np.array_equal(gray(dataset(signed, stored=16)), expected)


def test_thirty_two_bits_one_bit_and_floats():
    expected = np.rint(RAMP12 * (255 / 4095)).astype(np.uint8)
    assert np.array_equal(gray(dataset(RAMP12.astype(np.uint32) * 70_000)), expected)
    ds = dataset(RAMP8)
    ds.BitsAllocated = ds.BitsStored = 1
    ds.HighBit = 0
    ds.PixelData = np.packbits((RAMP8 > 100).reshape(-1), bitorder="little").tobytes()
    assert np.array_equal(gray(ds), np.where(RAMP8 > 100, 255, 0))
    for keyword, kind in (("FloatPixelData", np.float32), ("DoubleFloatPixelData", np.float64)):
        ds = dataset(RAMP8)
        del ds.PixelData, ds.BitsStored, ds.HighBit, ds.PixelRepresentation
        ds.BitsAllocated = 32 if kind is np.float32 else 64
        setattr(ds, keyword, (RAMP8 / 7).astype(kind).tobytes())
        assert np.abs(gray(ds).astype(int) - RAMP8).max() <= 1


def test_a_window_that_hides_burned_in_text_is_ignored():
    pixels = np.full((ROWS, COLUMNS), 3000, np.uint16)
    pixels[:, :10] = 1000
    pixels[5:9, 20:30] = 3200  # text just above what the window shows
    tones = gray(dataset(pixels, stored=12, WindowCenter=500, WindowWidth=10, VOILUTFunction="LINEAR"))
    assert int(tones[6, 25]) - int(tones[12, 25]) > 20
    assert np.array_equal(tones, gray(dataset(pixels, stored=12)))


def test_rescaling_does_not_change_the_tones_unless_it_inverts():
    plain = gray(dataset(RAMP12, stored=12))
    assert np.array_equal(gray(dataset(RAMP12, stored=12, RescaleSlope=2.5, RescaleIntercept=-1024)), plain)
    assert np.array_equal(gray(dataset(RAMP12, stored=12, RescaleSlope=-1, RescaleIntercept=0)), 255 - plain)
    both = dataset(RAMP12, "MONOCHROME1", stored=12, RescaleSlope=-1, RescaleIntercept=0)
    assert np.array_equal(gray(both), plain)


def test_padding_values_do_not_squeeze_the_anatomy():
    pixels = RAMP12.astype(np.int16)
    pixels[:4] = -32_768
    ds = dataset(pixels, PixelPaddingValue=-32_768)
    tones = gray(ds)
    assert tones[:4].max() == 0
    assert tones[4].min() < 3
    assert tones[-1].max() == 255
    ds.PixelPaddingRangeLimit = -30_000
    assert np.array_equal(gray(ds), tones)


def test_overlays_are_not_drawn_not_even_those_in_unused_bits():
    pixels = RAMP12.copy()
    pixels[3:9, 3:30] |= 0xF000  # "text" in the four unused bits
    ds = dataset(pixels, stored=12)
    ds.add_new((0x6000, 0x0010), "US", ROWS)
    ds.add_new((0x6000, 0x0011), "US", COLUMNS)
    ds.add_new((0x6000, 0x0040), "CS", "G")
    ds.add_new((0x6000, 0x0050), "SS", [1, 1])
    ds.add_new((0x6000, 0x0100), "US", 16)
    ds.add_new((0x6000, 0x0102), "US", 12)
    ds.add_new((0x6000, 0x3000), "OW", b"\xff" * (ROWS * COLUMNS // 8))
    assert np.array_equal(gray(ds), gray(dataset(RAMP12, stored=12)))


def test_the_senders_word_about_burned_in_text_changes_nothing():
    ds = dataset(RAMP8, BurnedInAnnotation="NO", PatientIdentityRemoved="YES", PatientName="DOE^JANE")
    image = decoded(written(ds))
    assert np.array_equal(image.pages[0].raster[:, :, 0], RAMP8)
    assert "JANE DOE" in {secret.text for secret in image.secrets}


# ---------------------------------------------------------------- colour


def test_rgb_both_planar_configurations():
    assert np.array_equal(rasters(dataset(COLOUR, "RGB"))[0], COLOUR)
    planar = dataset(COLOUR, "RGB", PlanarConfiguration=1, PixelData=COLOUR.transpose(2, 0, 1).tobytes())
    assert np.array_equal(rasters(planar)[0], COLOUR)


def test_sixteen_bit_rgb_is_stretched_over_all_channels():
    deep = COLOUR.astype(np.uint16) * 16
    deep[0, 0], deep[0, 1] = 0, 4080
    assert np.abs(rasters(dataset(deep, "RGB", stored=12))[0].astype(int) - deep / 16).max() <= 1


def test_ybr_becomes_rgb():
    smooth = np.asarray(Image.fromarray(COLOUR[:3, :4]).resize((COLUMNS, ROWS), Image.Resampling.BICUBIC))
    ybr = np.asarray(Image.fromarray(smooth).convert("YCbCr"))
    assert np.abs(rasters(dataset(ybr, "YBR_FULL"))[0].astype(int) - smooth).max() < 5
    y, cb, cr = (ybr[:, :, i] for i in range(3))
    subsampled = np.stack([y[:, ::2], y[:, 1::2], cb[:, ::2], cr[:, ::2]], axis=2)
    ds = dataset(ybr, "YBR_FULL_422", PixelData=subsampled.tobytes())
    assert np.abs(rasters(ds)[0].astype(int) - smooth).mean() < 12


@pytest.mark.parametrize("bits", [8, 16])
def test_palette_colour(bits):
    indices = RNG.integers(0, 4, (ROWS, COLUMNS)).astype(np.uint8)
    table = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]])
    ds = dataset(indices, "PALETTE COLOR")
    for channel, name in enumerate(("Red", "Green", "Blue")):
        setattr(ds, f"{name}PaletteColorLookupTableDescriptor", [4, 0, bits])
        values = table[:, channel].astype(np.uint8) if bits == 8 else (table[:, channel] * 257).astype(np.uint16)
        setattr(ds, f"{name}PaletteColorLookupTableData", values.tobytes())
    assert np.array_equal(rasters(ds)[0], table[indices])


@pytest.mark.parametrize("photometric", ["HSV", "CMYK", "ARGB", "YBR_PARTIAL_420", "NONSENSE"])
def test_other_photometric_interpretations_are_refused(photometric):
    assert refused(dataset(COLOUR, "RGB", PhotometricInterpretation=photometric)) is Reason.FORMAT_UNSUPPORTED


def test_a_header_that_contradicts_itself_is_refused():
    assert refused(dataset(COLOUR, "RGB", SamplesPerPixel=1)) is Reason.FORMAT_UNSUPPORTED
    assert refused(dataset(RAMP8, SamplesPerPixel=3)) is Reason.FORMAT_UNSUPPORTED
    assert refused(dataset(RAMP12, stored=12, HighBit=15)) is Reason.FORMAT_UNSUPPORTED
    assert refused(dataset(RAMP8, BitsAllocated=12)) is Reason.FORMAT_UNSUPPORTED
    assert refused(dataset(RAMP8, FloatPixelData=bytes(4))) is Reason.IMAGE_CORRUPT
    assert refused(dataset(RAMP8, PixelData=RAMP8.tobytes()[:-40])) is Reason.IMAGE_CORRUPT
    for keyword in ("Rows", "Columns", "BitsAllocated", "BitsStored", "PhotometricInterpretation"):
        ds = dataset(RAMP8)
        delattr(ds, keyword)
        assert refused(ds) is Reason.IMAGE_CORRUPT


# ---------------------------------------------------------------- transfer syntaxes


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian])
def test_uncompressed_transfer_syntaxes(syntax):
    pixels = RAMP12.astype(">u2") if syntax == ExplicitVRBigEndian else RAMP12
    ds = dataset(pixels, stored=12)
    ds.file_meta.TransferSyntaxUID = syntax
    stream = io.BytesIO()
    pydicom.dcmwrite(stream, ds, enforce_file_format=True)
    assert np.array_equal(decoded(stream.getvalue()).pages[0].raster[:, :, 0], gray(dataset(RAMP12, stored=12)))


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless])
def test_lossless_compression(syntax):
    for ds, expected in (
        (dataset(RAMP8), RAMP8),
        (dataset(RAMP12, stored=12), np.rint(RAMP12 * (255 / 4095)).astype(np.uint8)),
    ):
        ds.compress(syntax)
        assert np.array_equal(gray(ds), expected)
    ds = dataset(COLOUR, "RGB")
    ds.compress(syntax)
    assert np.array_equal(rasters(ds)[0], COLOUR)


def jpeg(pixels, photometric, **options):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=95, **options)
    ds = dataset(pixels, photometric)
    ds.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    ds.PixelData = encapsulate([stream.getvalue()])
    ds["PixelData"].is_undefined_length = True
    return ds


def test_jpeg_baseline_gray_and_colour():
    assert np.abs(gray(jpeg(RAMP8, "MONOCHROME2")).astype(int) - RAMP8).mean() < 4
    smooth = np.asarray(Image.fromarray(COLOUR[:3, :4]).resize((COLUMNS, ROWS), Image.Resampling.BICUBIC))
    raster = rasters(jpeg(smooth, "YBR_FULL_422"))[0]
    assert np.abs(raster.astype(int) - smooth).mean() < 8


def test_jpeg_ls():
    for ds, expected in (
        (dataset(RAMP8), RAMP8),
        (dataset(RAMP12, stored=12), gray(dataset(RAMP12, stored=12))),
    ):
        ds.compress(JPEGLSLossless)
        assert np.array_equal(gray(ds), expected)
    ds = dataset(COLOUR, "RGB")
    ds.compress(JPEGLSLossless)
    assert np.array_equal(rasters(ds)[0], COLOUR)


@pytest.mark.parametrize("syntax", [JPEGLSLossless, JPEG2000Lossless, RLELossless])
def test_a_stream_that_ends_early_or_has_another_size_is_refused(syntax):
    """What a decoder reads behind a cut stream would be somebody else's memory."""
    ds = dataset(RAMP8)
    ds.compress(syntax)
    frame = next(generate_frames(ds.PixelData, number_of_frames=1))
    for share in (0.2, 0.5, 0.8):
        ds.PixelData = encapsulate([frame[: int(len(frame) * share)]])
        assert refused(ds) is Reason.IMAGE_CORRUPT
    ds.PixelData = encapsulate([frame])
    ds.Rows = ROWS + 1
    assert refused(ds) is Reason.IMAGE_CORRUPT


def test_a_document_that_is_a_number_is_refused():
    ds = dataset(RAMP8)
    del ds.PixelData
    ds.add_new(0x00420011, "UL", 1_500_000_000)
    assert refused(ds) is Reason.IMAGE_CORRUPT


@pytest.mark.parametrize("syntax", [JPEGLossless, JPEGLosslessSV1, "1.2.840.10008.1.2.4.100", "1.2.3.4.5.6"])
def test_transfer_syntaxes_without_a_decoder_are_refused(syntax):
    ds = jpeg(RAMP8, "MONOCHROME2")
    ds.file_meta.TransferSyntaxUID = UID(str(syntax))
    stream = io.BytesIO()
    pydicom.dcmwrite(stream, ds, implicit_vr=False, little_endian=True, enforce_file_format=True)
    assert refused(stream.getvalue()) is Reason.FORMAT_UNSUPPORTED


def test_extended_jpeg_of_eight_bits_is_decoded_and_of_twelve_refused():
    ds = jpeg(RAMP8, "MONOCHROME2")
    ds.file_meta.TransferSyntaxUID = JPEGExtended12Bit
    assert np.abs(gray(ds).astype(int) - RAMP8).mean() < 4
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 12, 11
    assert refused(ds) is Reason.FORMAT_UNSUPPORTED


def test_a_picture_inside_that_is_larger_than_the_header_says_is_refused():
    ds = jpeg(RAMP8, "MONOCHROME2")
    stream = io.BytesIO()
    Image.new("L", (3000, 3000)).save(stream, "JPEG")
    ds.PixelData = encapsulate([stream.getvalue()])
    assert refused(ds) in {Reason.IMAGE_CORRUPT, Reason.IMAGE_TOO_LARGE}
    assert refused(ds, Limits(max_pixels=10_000)) in {Reason.IMAGE_CORRUPT, Reason.IMAGE_TOO_LARGE}


def test_a_deflated_bomb_is_refused_before_it_is_inflated():
    limits = Limits(max_bytes=2**20)
    ds = dataset(RAMP8)
    ds.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    stream = io.BytesIO()
    pydicom.dcmwrite(stream, ds, enforce_file_format=True)
    content = stream.getvalue()
    meta_end = 144 + int.from_bytes(content[140:144], "little")
    deflater = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    bomb = deflater.compress(bytes(100 * 2**20)) + deflater.flush()
    assert len(bomb) < 2**18
    assert refused(content[:meta_end] + bomb, limits) is Reason.IMAGE_TOO_LARGE
    assert refused(content[:-20], limits) is Reason.IMAGE_CORRUPT


# ---------------------------------------------------------------- frames


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, RLELossless, JPEG2000Lossless])
def test_every_frame_is_a_page(syntax):
    film = np.stack([RAMP8, 255 - RAMP8, np.roll(RAMP8, 7)])
    ds = dataset(film, frames=3)
    if syntax != ExplicitVRLittleEndian:
        ds.compress(syntax)
    for raster, frame in zip(rasters(ds), film, strict=True):
        assert np.array_equal(raster[:, :, 0], frame)


def test_frames_that_the_header_does_not_announce_are_a_reason_to_refuse():
    film = np.stack([RAMP8, 255 - RAMP8, np.roll(RAMP8, 7)])
    for announced in (None, 1, 2, 4):
        ds = dataset(film, frames=3)
        if announced is None:
            del ds.NumberOfFrames
        else:
            ds.NumberOfFrames = announced
        assert refused(ds) is Reason.IMAGE_CORRUPT
    ds = dataset(film, frames=3)
    ds.compress(RLELossless)
    for announced in (1, 2, 4):
        ds.NumberOfFrames = announced
        assert refused(ds) is Reason.IMAGE_CORRUPT


def test_limits_hold_before_anything_is_decoded():
    assert refused(dataset(RAMP8, NumberOfFrames=51)) is Reason.TOO_MANY_PAGES
    assert refused(dataset(RAMP8, NumberOfFrames=2**31 - 1)) is Reason.TOO_MANY_PAGES
    assert refused(dataset(RAMP8, NumberOfFrames=-1)) is Reason.NO_PIXELS
    assert refused(dataset(RAMP8, Columns=30_000)) is Reason.IMAGE_TOO_LARGE
    assert refused(dataset(RAMP8, Columns=19_000, Rows=19_000)) is Reason.IMAGE_TOO_LARGE
    assert refused(dataset(RAMP8, Columns=1, Rows=1)) is Reason.IMAGE_TOO_SMALL
    assert refused(dataset(RAMP8, NumberOfFrames=5), Limits(max_pixels=ROWS * COLUMNS)) is Reason.IMAGE_TOO_LARGE


def test_documents_without_a_picture():
    ds = dataset(RAMP8)
    del ds.PixelData
    assert refused(ds) is Reason.NO_PIXELS
    ds.EncapsulatedDocument = b"no PDF"
    assert refused(ds) is Reason.FORMAT_UNSUPPORTED
    ds.EncapsulatedDocument = b"%PDF-1.4"
    assert refused(ds) is Reason.IMAGE_CORRUPT
    assert refused(bytes(128) + b"DICM") is Reason.NO_PIXELS


def test_a_picture_in_a_sequence_is_not_the_picture():
    ds = dataset(RAMP8)
    icon = dataset(RAMP8)
    del icon.file_meta, ds.PixelData
    ds.IconImageSequence = [icon]
    assert refused(ds) is Reason.NO_PIXELS


def test_an_encapsulated_pdf_is_decoded_as_the_pdf_that_it_is():
    stream = io.BytesIO()
    picture = Image.fromarray(COLOUR)
    picture.save(stream, "PDF", save_all=True, append_images=[Image.new("RGB", (COLUMNS, ROWS), "white")])
    ds = dataset(RAMP8, PatientName="DOE^JANE")
    del ds.PixelData
    ds.EncapsulatedDocument = stream.getvalue() + bytes(len(stream.getvalue()) % 2)
    image = decoded(written(ds))
    assert len(image.pages) == 2
    assert image.header.is_pdf
    assert "JANE DOE" in {secret.text for secret in image.secrets}
    ds.PixelData = RAMP8.tobytes()
    assert refused(ds) is Reason.IMAGE_CORRUPT


def test_only_a_closed_list_of_the_header_is_kept():
    ds = dataset(
        RAMP8,
        PatientName="DOE^JANE",
        Modality="CR",
        BodyPartExamined="DOE",
        ViewPosition="PA",
        PixelSpacing=[0.14301234, 0.143],
        SliceThickness="9999999",
    )
    header = decoded(written(ds)).header
    assert header.codes == (("Modality", "CR"), ("ViewPosition", "PA"))
    assert header.numbers == (("PixelSpacing", (0.143, 0.143)),)
    check_kept(header)
    for bad in (
        DicomHeader(codes=(("Modality", "DOE"),)),
        DicomHeader(codes=(("PatientName", "DOE"),)),
        DicomHeader(codes=(("Modality", "CR"), ("Modality", "CR"))),
        DicomHeader(numbers=(("PixelSpacing", (0.14301234, 0.143)),)),
        DicomHeader(numbers=(("PatientWeight", (70.0,)),)),
        DicomHeader(numbers=(("PixelSpacing", (float("nan"), 1.0)),)),
    ):
        with pytest.raises(InvalidInput):
            check_kept(bad)
