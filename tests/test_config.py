"""Settings: closed, and no bearer token in clear."""

import pytest

from guardedvlm.audit.otel import Otel
from guardedvlm.audit.traceparent import Traces
from guardedvlm.config import inference_settings, load_settings
from guardedvlm.errors import ConfigurationError, Reason


def write(tmp_path, text):
    path = tmp_path / "guardedvlm.yaml"
    path.write_text(text)
    return path


def test_paths_count_from_the_file(tmp_path):
    text = "policies: p\ntls: {certificate: c.pem, key: /k.pem}\nlisten: unix:a/guard.sock\ninference: unix:/e.sock\n"
    settings = load_settings(write(tmp_path, text))
    assert (settings.listen, settings.inference) == (f"unix:{tmp_path}/a/guard.sock", "unix:/e.sock")
    assert settings.policies == tmp_path / "p"
    assert settings.review.folder == tmp_path / "review"
    assert settings.tls.certificate == tmp_path / "c.pem"
    assert str(settings.tls.key) == "/k.pem"


def test_the_file_of_checkpoints_counts_from_the_file_too(tmp_path):
    settings = load_settings(write(tmp_path, "checkpoints: {sink: file, file: elsewhere, every_records: 5}\n"))
    assert settings.checkpoints.file == tmp_path / "elsewhere"
    assert (settings.checkpoints.sink.value, settings.checkpoints.every_records) == ("file", 5)


def test_who_delivers_the_ledger(tmp_path):
    text = "otel: otlp\notlp_ca: ca.pem\ntail: {inside: false, state: cursors, most_seconds: 60}\ntraces: derive\n"
    settings = load_settings(write(tmp_path, text))
    assert (settings.otlp_ca, settings.tail.state) == (tmp_path / "ca.pem", tmp_path / "cursors")
    assert (settings.tail.inside, settings.tail.most_records, settings.tail.most_seconds) == (False, 100_000, 60)
    assert settings.traces is Traces.DERIVE


def test_environment_wins_over_the_file_and_the_command_line_over_both(tmp_path, monkeypatch):
    path = write(tmp_path, "replicas: 1\notel: console\n")
    monkeypatch.setenv("GUARDEDVLM_REPLICAS", "2")
    assert load_settings(path).replicas == 2
    assert load_settings(path, replicas=3, otel=None).replicas == 3
    assert load_settings(path).otel is Otel.CONSOLE


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("replikas: 2", "replikas"),
        ("replicas: many", "replicas"),
        ("tls: {certificate: c, key: k, cipher: x}", "tls.cipher"),
        ("listen: 0.0.0.0:8443", "settings"),
        ("checkpoints: {sink: file}", "checkpoints"),
        ("checkpoints: {file: x}", "checkpoints"),
        ("checkpoints: {every_seconds: 0}", "checkpoints.every_seconds"),
        ("tail: {most_records: 0}", "tail.most_records"),
        ("tail: {collector: x}", "tail.collector"),
        ("traces: raw", "traces"),
        ("review: {folder: ledger/samples}", "settings"),
        ("review: {folder: ledger}", "settings"),
        ("review: {folder: a, max_samples: 0}", "review.max_samples"),
        ("- a", "guardedvlm.yaml"),
        ("", "guardedvlm.yaml"),
        ("a: [", "guardedvlm.yaml:2"),
        ("listen: 2026-13-45", "guardedvlm.yaml"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, place):
    with pytest.raises(ConfigurationError) as failure:
        load_settings(write(tmp_path, text + "\n"))
    assert failure.value.reason is Reason.SETTINGS_INVALID
    assert failure.value.place == place
    assert failure.value.explanation


def test_an_unknown_variable_is_an_error(monkeypatch):
    monkeypatch.setenv("GUARDEDVLM_LISTENN", "127.0.0.1:1")
    with pytest.raises(ConfigurationError) as failure:
        load_settings(None)
    assert failure.value.place == "listenn"


@pytest.mark.parametrize("value", ["{replicas: [", "!!python/name:os.system", "2026-13-45"])
def test_a_variable_that_is_no_yaml_is_an_error(monkeypatch, value):
    monkeypatch.setenv("GUARDEDVLM_TLS", value)
    with pytest.raises(ConfigurationError) as failure:
        load_settings(None)
    assert failure.value.reason is Reason.SETTINGS_INVALID
    assert (failure.value.place, failure.value.explanation) == ("GUARDEDVLM_TLS", "is not YAML")
    assert value not in str(failure.value)


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(ConfigurationError) as failure:
        load_settings(tmp_path / "absent.yaml")
    assert failure.value.explanation == "cannot be read"


def test_a_settings_file_may_leave_all_to_defaults_but_tls_is_needed_off_the_loopback(tmp_path):
    assert load_settings(None).listen == "127.0.0.1:8443"
    path = write(tmp_path, "listen: 0.0.0.0:8443\ntls: {certificate: c.pem, key: k.pem}\n")
    assert load_settings(path).tls is not None


@pytest.mark.parametrize(
    "values",
    [
        {"engine": "transformers"},
        {"model": "m"},
        {"offload": True},
        {"adapter": "a"},
        {"attention": "sdpa"},
        {"compiled": True},
        {"engine": "transformers", "model": "m", "compiled": True, "offload": True},
        {"listen": "0.0.0.0:1"},
    ],
)
def test_an_engine_gets_what_it_takes(values):
    with pytest.raises(ConfigurationError) as failure:
        inference_settings(**({"listen": "unix:/e.sock", "guard_keys": ("k",)} | values))
    assert (failure.value.reason, failure.value.place) == (Reason.SETTINGS_INVALID, "settings")
    assert failure.value.explanation
