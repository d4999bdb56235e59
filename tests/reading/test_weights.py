"""Weights are the pinned bytes, or nothing is loaded."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from guardedvlm.errors import Reason, Unavailable
from guardedvlm.reading import ppocr, ppocr_v4, weights


def test_a_missing_package_is_named() -> None:
    with pytest.raises(Unavailable) as failed:
        weights.pinned_file("no_such_package", "weights.onnx", "0" * 64)
    assert failed.value.reason is Reason.DETECTOR_MISSING
    assert failed.value.details == {"package": "no_such_package"}


def test_a_missing_file_is_a_missing_detector() -> None:
    with pytest.raises(Unavailable) as failed:
        weights.pinned_file("rapidocr", "models/no_such.onnx", "0" * 64)
    assert failed.value.reason is Reason.DETECTOR_MISSING


def test_changed_bytes_are_not_loaded() -> None:
    with pytest.raises(Unavailable) as failed:
        weights.pinned_file("rapidocr", "config.yaml", "0" * 64)
    assert failed.value.reason is Reason.WEIGHTS_CHANGED


@pytest.mark.parametrize("role", [ppocr.PageReader, ppocr_v4.IndependentReader])
def test_a_reader_refuses_changed_weights(role: type, monkeypatch: pytest.MonkeyPatch) -> None:
    module = ppocr if role is ppocr.PageReader else ppocr_v4
    changed = dict.fromkeys(module.WEIGHTS, "0" * 64)
    monkeypatch.setattr(module, "WEIGHTS", changed)
    with pytest.raises(Unavailable) as failed:
        role()
    assert failed.value.reason is Reason.WEIGHTS_CHANGED


@pytest.mark.parametrize("role", [ppocr.PageReader, ppocr_v4.IndependentReader])
def test_a_reader_without_its_files_never_goes_to_the_network(role: type, monkeypatch: pytest.MonkeyPatch) -> None:
    def connected(*_: object) -> None:
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket.socket, "connect", connected)
    monkeypatch.setattr(weights, "package_folder", lambda package: Path("/nonexistent"))
    weights.pinned_file.cache_clear()
    try:
        with pytest.raises(Unavailable) as failed:
            role()
    finally:
        weights.pinned_file.cache_clear()
    assert failed.value.reason is Reason.DETECTOR_MISSING


def test_the_roles_declare_every_file_that_they_load(
    page_reader: ppocr.PageReader, independent_reader: ppocr_v4.IndependentReader
) -> None:
    for reader, module in ((page_reader, ppocr), (independent_reader, ppocr_v4)):
        declared = reader.weights()
        assert len(declared) == 3
        for name, digest in declared.items():
            package, _, relative = name.partition("/")
            assert package == module.PACKAGE
            assert weights.file_digest(weights.package_folder(package) / relative) == digest


def test_a_folder_is_pinned_by_names_and_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "a.bin").write_bytes(b"a")
    monkeypatch.setattr(weights, "package_folder", lambda package: tmp_path)
    digest = weights.tree_digest(tmp_path / "model")
    assert weights.pinned_folder("any", "model", digest) == tmp_path / "model"
    (tmp_path / "model" / "__pycache__").mkdir()
    (tmp_path / "model" / "__pycache__" / "x.pyc").write_bytes(b"x")
    assert weights.tree_digest(tmp_path / "model") == digest
    (tmp_path / "model" / "b.bin").write_bytes(b"")
    weights.pinned_folder.cache_clear()
    with pytest.raises(Unavailable) as failed:
        weights.pinned_folder("any", "model", digest)
    assert failed.value.reason is Reason.WEIGHTS_CHANGED
    with pytest.raises(Unavailable) as absent:
        weights.pinned_folder("any", "other", digest)
    assert absent.value.reason is Reason.DETECTOR_MISSING
