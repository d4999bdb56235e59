"""Hostile PDFs, written by hand: objects that contain themselves, pages without end, streams within streams."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence

from hostile_files import (
    CORRUPT,
    DECODED,
    EITHER,
    ENCRYPTED,
    NO_PIXELS,
    TOO_LARGE,
    TOO_MANY,
    Hostile,
    case,
    deflated_zeros,
)
from sound_documents import SOUND

BOX = b"[0 0 200 200]"


def pdf(objects: Sequence[bytes], trailer: bytes = b"") -> bytes:
    """A file of these objects, numbered from 1; the first is the catalogue."""
    out, places = bytearray(b"%PDF-1.7\n"), []
    for number, body in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%b\nendobj\n" % (number, body)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % place for place in places)
    out += b"trailer\n<</Size %d/Root 1 0 R%b>>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, trailer, start)
    return bytes(out)


def stream(body: bytes, entries: bytes = b"") -> bytes:
    """A stream object."""
    return b"<</Length %d%b>>stream\n%b\nendstream" % (len(body), entries, body)


def page(content: bytes = b"", *, box: bytes = BOX, resources: bytes = b"<<>>", entries: bytes = b"",
         more: Sequence[bytes] = ()) -> bytes:  # fmt: skip
    """A file of one page: object 4 is its content, `more` begins with object 5."""
    leaf = b"<</Type/Page/Parent 2 0 R/MediaBox %b/Contents 4 0 R/Resources %b%b>>" % (box, resources, entries)
    pages = b"<</Type/Pages/Kids[3 0 R]/Count 1>>"
    return pdf([b"<</Type/Catalog/Pages 2 0 R>>", pages, leaf, stream(content), *more])


def nested(filters: int, body: bytes) -> bytes:
    """A stream that is deflated many times over."""
    for _ in range(filters):
        body = zlib.compress(body, 9)
    return stream(body, b"/Filter[%b]" % (b"/FlateDecode " * filters))


def _form(name: bytes, content: bytes, inner: bytes = b"") -> bytes:
    resources = b"/Resources<</XObject<<%b>>>>" % inner
    return stream(content, b"/Type/XObject/Subtype/Form/BBox[0 0 200 200]%b" % resources)


def _doubling(levels: int) -> bytes:
    """Each form draws the next one ten times: 10^levels drawings of a line."""
    forms = [
        _form(b"F", b"/G Do " * 10, b"/G %d 0 R" % (6 + level)) if level < levels - 1 else _form(b"F", b"0 0 m 9 9 l S")
        for level in range(levels)
    ]
    return page(b"/F Do", resources=b"<</XObject<</F 5 0 R>>>>", more=forms)


def _image(width: int, height: int, body: bytes, filters: bytes = b"/Filter/FlateDecode") -> bytes:
    entries = b"/Type/XObject/Subtype/Image/Width %d/Height %d/BitsPerComponent 8/ColorSpace/DeviceRGB%b"
    picture = stream(body, entries % (width, height, filters))
    return page(b"200 0 0 200 0 0 cm /I Do", resources=b"<</XObject<</I 5 0 R>>>>", more=[picture])


def _pattern(step: bytes) -> bytes:
    tile = stream(
        b"0 0 1 1 re f",
        b"/PatternType 1/PaintType 1/TilingType 1/BBox[0 0 1 1]/XStep %b/YStep %b/Resources<<>>" % (step, step),
    )
    return page(b"/Pattern cs /P scn 0 0 200 200 re f", resources=b"<</Pattern<</P 5 0 R>>>>", more=[tile])


def _shading(function: bytes, kind: int = 2) -> bytes:
    shade = b"<</ShadingType %d/ColorSpace/DeviceRGB/Coords[0 0 200 200]/Function 6 0 R/Extend[true true]>>" % kind
    return page(b"/S sh", resources=b"<</Shading<</S 5 0 R>>>>", more=[shade, function])


def _font(glyph: bytes) -> bytes:
    """A Type 3 font, whose glyphs are programs."""
    font = (
        b"<</Type/Font/Subtype/Type3/FontBBox[0 0 9 9]/FontMatrix[.1 0 0 .1 0 0]/CharProcs<</a 6 0 R>>/FirstChar 97"
        b"/LastChar 97/Widths[9]/Encoding<</Differences[97/a]>>/Resources<</Font<</T 5 0 R>>>>>>"
    )
    return page(b"BT /T 9 Tf 9 9 Td (aaaa) Tj ET", resources=b"<</Font<</T 5 0 R>>>>", more=[font, stream(glyph)])


def _tree(count: int, kids: bytes) -> bytes:
    return pdf([b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[%b]/Count %d>>" % (kids, count)])


def documents() -> Iterator[Hostile]:
    """All of them."""
    yield from _pages()
    yield from _drawings()
    yield from _files()


def _pages() -> Iterator[Hostile]:
    for name, box in {
        "huge": b"[0 0 1000000000 1000000000]", "wide": b"[0 0 14400 20]", "flat": b"[0 0 0 0]", "tiny": b"[0 0 1 1]",
        "backwards": b"[200 200 0 0]", "text": b"(box)", "short": b"[0 0]", "infinite": b"[0 0 1e308 1e308]",
        "negative": b"[-100000 -100000 -99800 -99800]", "itself": b"3 0 R",
    }.items():  # fmt: skip
        yield case(f"pdf-box-{name}", lambda b=box: page(box=b), TOO_LARGE, "IMAGE_TOO_SMALL", *EITHER)
    yield case("pdf-unit-huge", lambda: page(entries=b"/UserUnit 75000"), TOO_LARGE, *EITHER)
    yield case("pdf-rotate-odd", lambda: page(entries=b"/Rotate 37"), *EITHER)
    yield case("pdf-pages-billion", lambda: _tree(10**9, b"3 0 R"), TOO_MANY, NO_PIXELS, *EITHER)
    yield case("pdf-pages-negative", lambda: _tree(-5, b""), NO_PIXELS, CORRUPT)
    yield case("pdf-pages-none", lambda: _tree(0, b""), NO_PIXELS, CORRUPT)
    yield case("pdf-pages-60", lambda: _many(60), TOO_MANY)
    yield case("pdf-pages-itself", lambda: _tree(3, b"2 0 R 2 0 R 2 0 R"), NO_PIXELS, TOO_MANY, *EITHER)
    yield case(
        "pdf-pages-one-thrice",
        lambda: pdf(
            [
                b"<</Type/Catalog/Pages 2 0 R>>",
                b"<</Type/Pages/Kids[3 0 R 3 0 R 3 0 R]/Count 3>>",
                b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 90 90]>>",
            ]
        ),
        *EITHER,
    )
    yield case("pdf-pages-deep", lambda: _deep(3_000), NO_PIXELS, *EITHER)
    yield case(
        "pdf-parent-loop",
        lambda: pdf(
            [
                b"<</Type/Catalog/Pages 2 0 R>>",
                b"<</Type/Pages/Parent 2 0 R/Kids[3 0 R]/Count 1>>",
                b"<</Type/Page/Parent 2 0 R>>",
            ]
        ),
        "IMAGE_TOO_SMALL",
        *EITHER,
    )
    yield case("pdf-catalogue-none", lambda: pdf([b"null"]), NO_PIXELS, CORRUPT)


def _many(count: int) -> bytes:
    leaves = [b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 90 90]>>"] * count
    kids = b" ".join(b"%d 0 R" % (3 + index) for index in range(count))
    return pdf([b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[%b]/Count %d>>" % (kids, count), *leaves])


def _deep(levels: int) -> bytes:
    inner = [b"<</Type/Pages/Parent %d 0 R/Kids[%d 0 R]/Count 1>>" % (1 + n, 3 + n) for n in range(levels)]
    leaf = b"<</Type/Page/Parent %d 0 R/MediaBox[0 0 90 90]>>" % (levels + 1)
    return pdf([b"<</Type/Catalog/Pages 2 0 R>>", *inner, leaf])


def _drawings() -> Iterator[Hostile]:
    yield case(
        "pdf-form-itself",
        lambda: page(b"/F Do", resources=b"<</XObject<</F 5 0 R>>>>", more=[_form(b"F", b"/F Do /F Do", b"/F 5 0 R")]),
        TOO_LARGE,
        *EITHER,
    )
    yield case(
        "pdf-forms-each-other",
        lambda: page(
            b"/F Do",
            resources=b"<</XObject<</F 5 0 R>>>>",
            more=[_form(b"F", b"/G Do /G Do", b"/G 6 0 R"), _form(b"G", b"/F Do /F Do", b"/F 5 0 R")],
        ),
        TOO_LARGE,
        *EITHER,
    )
    yield case("pdf-forms-doubling-6", lambda: _doubling(6), TOO_LARGE, *EITHER)
    yield case("pdf-forms-doubling-12", lambda: _doubling(12), TOO_LARGE, *EITHER)
    yield case("pdf-saves-many", lambda: page(b"q " * 1_000_000), TOO_LARGE, *EITHER)
    yield case("pdf-operands-deep", lambda: page(b"[" * 500_000), *EITHER)
    yield case("pdf-dictionaries-deep", lambda: page(entries=b"/X " + b"<</X " * 100_000), *EITHER, NO_PIXELS)
    yield case("pdf-path-long", lambda: page(b"0 0 m " + b"%d %d l " % (199, 7) * 900_000 + b"S"), TOO_LARGE, *EITHER)
    yield case("pdf-dashes", lambda: page(b"[.00001] 0 d 0 0 m 200 200 l S"), TOO_LARGE, *EITHER)
    yield case("pdf-clips-many", lambda: page(b"0 0 100 100 re W n " * 300_000), TOO_LARGE, *EITHER)
    yield case("pdf-matrix-infinite", lambda: page(b"1e38 0 0 1e38 0 0 cm " * 50 + b"0 0 1 1 re f"), *EITHER)
    yield case("pdf-numbers-long", lambda: page(b"9" * 100_000 + b" 0 0 0 re f"), *EITHER)
    yield case(
        "pdf-content-bomb", lambda: _content(stream(deflated_zeros(400), b"/Filter/FlateDecode")), TOO_LARGE, *EITHER
    )
    yield case("pdf-content-nested-3", lambda: _content(nested(3, b"0" * (300 * 2**20))), TOO_LARGE, *EITHER)
    yield case("pdf-content-filters-many", lambda: _content(nested(40, b"0 0 m")), *EITHER)
    yield case("pdf-content-itself", lambda: _content(b"4 0 R"), *EITHER)
    yield case("pdf-content-length-itself", lambda: _content(b"<</Length 4 0 R>>stream\n0 0 m\nendstream"), *EITHER)
    yield case("pdf-content-length-lie", lambda: _content(b"<</Length 2147483647>>stream\n0 0 m\nendstream"), *EITHER)
    yield case("pdf-image-60000", lambda: _image(60_000, 60_000, deflated_zeros(10)), TOO_LARGE, *EITHER)
    yield case("pdf-image-bomb", lambda: _image(12_000, 12_000, deflated_zeros(412)), TOO_LARGE, *EITHER)
    yield case("pdf-image-negative", lambda: _image(-5, 5, b"abc"), *EITHER)
    for kind in (b"DCTDecode", b"JPXDecode", b"JBIG2Decode", b"CCITTFaxDecode", b"LZWDecode", b"RunLengthDecode"):
        for name, body in {"garbage": b"\xff\xd8\xff" + bytes(range(256)) * 4, "empty": b""}.items():
            yield case(
                f"pdf-{kind.decode().lower()}-{name}",
                lambda k=kind, b=body: _image(200, 200, b, b"/Filter/" + k),
                *EITHER,
            )
    yield case(
        "pdf-jpeg-65535", lambda: _image(65_535, 65_535, SOUND["jpeg"], b"/Filter/DCTDecode"), TOO_LARGE, *EITHER
    )
    yield case(
        "pdf-fax-huge",
        lambda: _image(
            60_000, 60_000, b"\x00" * 99, b"/Filter/CCITTFaxDecode/DecodeParms<</K -1/Columns 60000/Rows 60000>>"
        ),
        TOO_LARGE,
        *EITHER,
    )
    yield case("pdf-pattern-steps", lambda: _pattern(b".0001"), TOO_LARGE, *EITHER)
    yield case("pdf-pattern-zero", lambda: _pattern(b"0"), TOO_LARGE, *EITHER)
    yield case(
        "pdf-shading-function-itself",
        lambda: _shading(b"<</FunctionType 3/Domain[0 1]/Functions[6 0 R]/Bounds[]/Encode[0 1]>>"),
        *EITHER,
    )
    yield case(
        "pdf-shading-sampled-huge",
        lambda: _shading(
            stream(b"abc", b"/FunctionType 0/Domain[0 1]/Range[0 1 0 1 0 1]/Size[2147483647]/BitsPerSample 32")
        ),
        *EITHER,
    )
    yield case(
        "pdf-shading-calculator",
        lambda: _shading(stream(b"{" + b"dup mul " * 90_000 + b"}", b"/FunctionType 4/Domain[0 1]/Range[0 1 0 1 0 1]")),
        TOO_LARGE,
        *EITHER,
    )
    yield case("pdf-glyph-itself", lambda: _font(b"9 0 d0 BT /T 9 Tf (aaaa) Tj ET"), *EITHER)
    yield case(
        "pdf-mask-itself",
        lambda: page(
            b"/G gs 0 0 9 9 re f",
            resources=b"<</ExtGState<</G 5 0 R>>>>",
            more=[
                b"<</SMask<</S/Luminosity/G 6 0 R>>>>",
                stream(
                    b"/G gs 0 0 9 9 re f",
                    b"/Type/XObject/Subtype/Form/BBox[0 0 9 9]/Group<</S/Transparency>>/Resources<</ExtGState<</G 5 0 R>>>>",
                ),
            ],
        ),
        *EITHER,
    )


def _content(body: bytes) -> bytes:
    leaf = b"<</Type/Page/Parent 2 0 R/MediaBox %b/Contents 4 0 R/Resources<<>>>>" % BOX
    return pdf([b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[3 0 R]/Count 1>>", leaf, body])


def _files() -> Iterator[Hostile]:
    sound = page(b"0 0 m 9 9 l S")
    yield case("pdf-script", lambda: _catalogue(b"/OpenAction<</S/JavaScript/JS(while\\(1\\);)>>"), DECODED)
    yield case("pdf-launch", lambda: _catalogue(b"/OpenAction<</S/Launch/F(/bin/sh)>>"), DECODED)
    yield case("pdf-fetch", lambda: _catalogue(b"/OpenAction<</S/URI/URI(http://127.0.0.1:9/)>>"), DECODED)
    yield case(
        "pdf-form-xfa", lambda: _catalogue(b"/AcroForm<</XFA(<x/>)/Fields[4 0 R]/NeedAppearances true>>"), DECODED
    )
    yield case("pdf-fields-loop", lambda: _catalogue(b"/AcroForm<</Fields[2 0 R 2 0 R]>>"), *EITHER)
    yield case("pdf-outline-loop", lambda: _catalogue(b"/Outlines<</First 1 0 R/Last 1 0 R/Next 1 0 R>>"), DECODED)
    yield case(
        "pdf-encrypted",
        lambda: pdf(
            [b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[]/Count 0>>"],
            b"/Encrypt<</Filter/Standard/V 2/R 3/Length 128/O("
            + b"o" * 32
            + b")/U("
            + b"u" * 32
            + b")/P -4>>/ID[(a)(b)]",
        ),
        ENCRYPTED,
        CORRUPT,
    )
    yield case(
        "pdf-encrypted-unknown",
        lambda: pdf(
            [b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[]/Count 0>>"],
            b"/Encrypt<</Filter/Nobody/V 9/R 99>>",
        ),
        ENCRYPTED,
        CORRUPT,
    )
    yield case("pdf-previous-itself", lambda: sound.replace(b"/Root", b"/Prev 9/Root"), NO_PIXELS, *EITHER)
    yield case("pdf-xref-lie", lambda: sound.replace(b"00000 n", b"99999 n"), NO_PIXELS, *EITHER)
    yield case("pdf-xref-huge", lambda: sound.replace(b"xref\n0 5", b"xref\n0 2147483647"), NO_PIXELS, *EITHER)
    yield case("pdf-size-huge", lambda: sound.replace(b"/Size 5", b"/Size 2147483647"), NO_PIXELS, *EITHER)
    yield case("pdf-objects-many", lambda: pdf([*_objects(sound), *[b"null"] * 100_000]), NO_PIXELS, *EITHER)
    yield case(
        "pdf-object-streams-loop",
        lambda: page(more=[stream(b"6 0 5 9 <<>> <<>>", b"/Type/ObjStm/N 2/First 8/Extends 5 0 R")]),
        *EITHER,
    )
    yield case("pdf-no-end", lambda: sound[:-7], CORRUPT)
    yield case("pdf-end-alone", lambda: b"%PDF-1.7\n%%EOF", CORRUPT, NO_PIXELS)
    yield case("pdf-garbage", lambda: b"%PDF-1.7\n" + bytes(range(256)) * 400 + b"%%EOF", CORRUPT, NO_PIXELS)
    yield case("pdf-strings-deep", lambda: page(b"(" * 400_000), *EITHER)
    yield case("pdf-names-long", lambda: page(resources=b"<</" + b"A" * 300_000 + b" 1>>"), *EITHER)
    yield case(
        "pdf-comments-many", lambda: sound.replace(b"xref\n", b"% x\n" * 500_000 + b"xref\n", 1), NO_PIXELS, *EITHER
    )


def _catalogue(entries: bytes) -> bytes:
    leaf = b"<</Type/Page/Parent 2 0 R/MediaBox %b/Contents 4 0 R/Resources<<>>>>" % BOX
    return pdf(
        [b"<</Type/Catalog/Pages 2 0 R%b>>" % entries, b"<</Type/Pages/Kids[3 0 R]/Count 1>>", leaf, stream(b"")]
    )


def _objects(content: bytes) -> list[bytes]:
    parts = content.split(b"endobj\n")[:-1]
    return [part.partition(b" obj\n")[2].rstrip(b"\n") for part in parts]
