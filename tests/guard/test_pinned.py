"""No role starts on weights of which one byte is another: each file of each, in a copy of its package."""

import os
from pathlib import Path

import pytest

from guardedvlm.errors import Reason, Unavailable
from guardedvlm.guard.detect import faces
from guardedvlm.guard.detect.personal import PersonalData, entities, lexicon
from guardedvlm.guard.screen import topic_model
from guardedvlm.reading import embedding, ppocr, ppocr_v4, weights

pytestmark = pytest.mark.slow  # torch, and models of 90 MB

LISTS = (lexicon.FREQUENCY_LIST, lexicon.SURNAMES, lexicon.FEMALE_NAMES, lexicon.MALE_NAMES)


def verifier():
    """torch is loaded here, and where it is needed alone."""
    from guardedvlm.guard.verify_faces import FaceVerifier

    return FaceVerifier()


def spacy_file():
    """A file of the model that is installed: (package, folder, a file in it)."""
    for package, folder, _ in entities.MODELS:
        try:
            root = weights.package_folder(package) / folder
        except Unavailable:
            continue
        largest = max((path for path in root.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
        return package, str(largest.relative_to(weights.package_folder(package)))
    pytest.skip("no model of names is installed")


FILES = [
    *((faces.Faces, faces.PACKAGE, name) for name in (faces.FILE,)),
    *((ppocr.PageReader, ppocr.PACKAGE, name) for name in ppocr.WEIGHTS),
    *((ppocr_v4.IndependentReader, ppocr_v4.PACKAGE, name) for name in ppocr_v4.WEIGHTS),
    *((verifier, "facenet_pytorch", f"data/{name}.pt") for name in ("pnet", "rnet", "onet")),
    *((topic_model.TopicModel, *item[:2]) for item in (topic_model.HEAD, embedding.MODEL, embedding.TOKENIZER)),
    *((PersonalData, *item[:2]) for item in LISTS),
    (PersonalData, "spacy", ""),
]


@pytest.fixture
def fresh():
    """What was looked at before is looked at again, before and after the test."""
    caches = [weights.pinned_file, weights.pinned_folder]
    caches += [lexicon._frequencies, lexicon._surnames, lexicon._given_names, lexicon._places]
    for cache in caches:
        cache.cache_clear()
    yield
    for cache in caches:
        cache.cache_clear()


@pytest.mark.parametrize(("role", "package", "name"), FILES, ids=lambda value: getattr(value, "__name__", value))
def test_a_role_does_not_start_on_a_changed_file(role, package, name, fresh, tmp_path, monkeypatch):
    if package == "spacy":
        package, name = spacy_file()
    real = weights.package_folder(package)
    copy = tmp_path / package
    _linked(real, copy, Path(name))
    content = bytearray((real / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / name).write_bytes(content)
    find = weights.package_folder
    monkeypatch.setattr(weights, "package_folder", lambda wanted: copy if wanted == package else find(wanted))
    with pytest.raises(Unavailable) as refused:
        role()
    assert refused.value.reason is Reason.WEIGHTS_CHANGED


def _linked(real, copy, name):
    """A folder like `real` whose files are links, but for the folders that lead to `name`."""
    copy.mkdir()
    step = name.parts[0]
    for entry in real.iterdir():
        if entry.name != step:
            os.symlink(entry, copy / entry.name)
    if len(name.parts) > 1:
        _linked(real / step, copy / step, Path(*name.parts[1:]))
