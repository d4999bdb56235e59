"""`review` and `audit report` as a user meets them: what they print, write, refuse and never say."""

import json
import stat
import time

import pytest
from typer.testing import CliRunner
from written_ledger import Writing

from guardedvlm.audit.checkpoint import CHECKPOINTS, read_checkpoints
from guardedvlm.audit.completeness import Completeness, verify_logs
from guardedvlm.audit.digest import Purpose, load_or_create_key
from guardedvlm.audit.keys import create_keys, load_keys
from guardedvlm.audit.record import LedgerEvent
from guardedvlm.audit.review.store import About
from guardedvlm.audit.reviewed import Basis
from guardedvlm.audit.segment import list_segments
from guardedvlm.audit.verify import read_records
from guardedvlm.audit.writer import ChainWriter
from guardedvlm.cli import app
from guardedvlm.cli.audit import report as report_command
from guardedvlm.config import load_settings
from guardedvlm.core.finding import Kind
from guardedvlm.errors import ConfigurationError, NotIdentified, NotPermitted, Reason, Refused
from guardedvlm.evidence import AUDIT_KEY, EVIDENCE_KEYS, sample_store
from guardedvlm.transport.identity import new_token
from guardedvlm.transport.secret_file import write_key
from guardedvlm.trust import TOKENS_KEY

PICTURE = b"\x89PNG picture"
DAY = time.strftime("%Y-%m-%d", time.gmtime())


class Site:
    def __init__(self, folder):
        self.folder = folder
        self.config = folder / "guardedvlm.yaml"
        self.config.write_text("keys: keys\nledger: ledger\nreview: {folder: pictures, max_samples: 9}\n")
        self.settings = load_settings(self.config)
        self.store = sample_store(self.settings)
        self.tenant = load_or_create_key(folder / "keys" / AUDIT_KEY).pseudonym(Purpose.TENANT, "clinic")

    def sample(self):
        about = About("11" * 16, self.tenant, "33" * 32, Basis.RANDOM, 0, "44" * 32)
        return self.store.put(PICTURE, about, 3600).sample

    def request(self):
        writing = Writing(self.folder / "ledger" / "service")
        writing.request(1, tenant=self.tenant)
        writing.close()

    def run(self, *arguments):
        done = CliRunner().invoke(app, [*map(str, arguments), "--config", str(self.config)], env={"COLUMNS": "200"})
        if isinstance(done.exception, Exception):
            raise done.exception
        return done

    def events(self):
        return [one.event for one in read_records(self.folder / "ledger" / "review")]


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path)


def test_a_review_from_the_list_to_the_risk(site, tmp_path):
    samples = [site.sample() for _ in range(6)]
    listed = site.run("review", "list").stdout
    assert all(sample in listed for sample in samples)
    assert site.tenant not in listed
    for sample in samples:
        shown = site.run("review", "show", sample, "--out", tmp_path / "look.png", "--as", "ann")
        assert (tmp_path / "look.png").read_bytes() == PICTURE
        assert stat.S_IMODE((tmp_path / "look.png").stat().st_mode) == 0o600
        assert not {site.tenant, site.tenant[:8], "random", "clinic"} & set(shown.stdout.split())
    for sample in samples[1:]:
        site.run("review", "mark", sample, "clean", "--as", "ann")
    told = site.run("review", "mark", samples[0], "leaked", "-k", "PERSON", "--cell", "3,12", "--as", "ann").stdout
    assert "destroyed" in told
    assert site.run("review", "list").stdout.strip() == "no sample waits"
    assert len(site.run("review", "list", "--all").stdout.split()) > 5
    rows = json.loads(site.run("review", "risk", "--json").stdout)
    assert [(row["kind"], row["leaked"], row["reviewed"]) for row in rows if row["tenant"] == site.tenant] == [
        (None, 1, 6),
        ("PERSON", 1, 6),
    ]
    assert "1 / 6" in site.run("review", "risk").stdout
    assert [event for event in site.events() if event is LedgerEvent.INCIDENT] == [LedgerEvent.INCIDENT]


def test_the_log_of_reviews_has_signed_checkpoints_in_both_places(site, tmp_path):
    elsewhere = tmp_path / "elsewhere.checkpoints"
    site.config.write_text(site.config.read_text() + f"checkpoints: {{sink: file, file: {elsewhere}}}\n")
    site.run("review", "show", sample := site.sample(), "--out", tmp_path / "a.png")
    site.run("review", "mark", sample, "clean")
    keys = load_keys(site.folder / "keys" / EVIDENCE_KEYS).public
    verdict = verify_logs(site.folder / "ledger", read_checkpoints(elsewhere), keys)
    (log,) = verdict.logs
    assert (log.name, log.completeness) == ("review", Completeness.SHOWN)
    assert log.covered == log.report.records == 4  # opened twice, viewed, marked
    path = list_segments(site.folder / "ledger" / "review")[0].path
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    assert not verify_logs(site.folder / "ledger", read_checkpoints(elsewhere), keys).complete


def test_a_signer_that_is_away_stops_no_review(site, tmp_path):
    site.config.write_text(site.config.read_text() + "signer: unix:nobody.sock\n")
    site.run("review", "show", site.sample(), "--out", tmp_path / "a.png")
    assert LedgerEvent.VIEWED in site.events()
    assert not (site.folder / "ledger" / "review" / CHECKPOINTS).exists()


def test_a_small_cell_is_not_printed(site, tmp_path):
    for _ in range(4):
        site.run("review", "show", sample := site.sample(), "--out", tmp_path / "a.png")
        site.run("review", "mark", sample, "clean")
    assert "0 / 4" not in (printed := site.run("review", "risk").stdout)
    assert "fewer than 5" in printed
    assert all(
        row["suppressed"] and "reviewed" not in row for row in json.loads(site.run("review", "risk", "--json").stdout)
    )


@pytest.mark.parametrize("cell", ["3", "a,b", "3,-1", "1,2,3", "\u0663,1"])
def test_a_cell_that_is_none_is_wrong_usage(site, cell):
    assert site.run("review", "mark", site.sample(), "leaked", "-k", "FACE", "--cell", cell).exit_code == 2


def test_what_a_reviewer_may_not_do_is_refused(site, tmp_path):
    sample = site.sample()
    with pytest.raises(Refused) as unseen:
        site.run("review", "mark", sample, "clean")
    with pytest.raises(Refused) as gone:
        site.run("review", "show", "0" * 32, "--out", tmp_path / "a.png")
    assert (unseen.value.reason, gone.value.reason) == (Reason.SAMPLE_UNSEEN, Reason.SAMPLE_GONE)
    assert not (tmp_path / "a.png").exists()


def test_the_sweep_says_how_many(site):
    site.store._clock = lambda: time.time() - 7200
    site.sample()
    assert site.run("review", "sweep").stdout.strip() == "1 destroyed"
    assert site.run("review", "sweep").stdout.strip() == "0 destroyed"


@pytest.fixture
def told_elsewhere(tmp_path):
    """A site whose checkpoints go to a second place, and how its ledger verifies against them."""
    site = Site(tmp_path)
    with site.config.open("a") as config:
        config.write("checkpoints: {sink: file, file: elsewhere}\n")
    site.settings = load_settings(site.config)
    public = tmp_path / "public.json"
    create_keys(tmp_path / "keys" / EVIDENCE_KEYS).public.write(public)

    def verified():
        arguments = ["--checkpoints", tmp_path / "elsewhere", "--keys", public]
        return CliRunner().invoke(app, ["audit", "verify", str(tmp_path / "ledger"), *map(str, arguments)]).exit_code

    return site, verified


def test_what_reviewers_do_is_told_elsewhere_and_cannot_be_taken_back(told_elsewhere, tmp_path):
    site, verified = told_elsewhere
    site.run("review", "show", sample := site.sample(), "--out", tmp_path / "a.png")
    assert verified() == 0
    site.run("review", "mark", sample, "leaked", "-k", "PERSON")
    assert verified() == 0
    ChainWriter(tmp_path / "ledger" / "service", "a0" * 16).close()
    (tmp_path / "ledger" / "review").rename(tmp_path / "gone")
    assert verified() == 5


def test_the_incident_cannot_be_cut_off(told_elsewhere, tmp_path):
    site, verified = told_elsewhere
    site.run("review", "show", sample := site.sample(), "--out", tmp_path / "a.png")
    (segment,) = list_segments(tmp_path / "ledger" / "review")
    before = segment.path.read_bytes()
    site.run("review", "mark", sample, "leaked", "-k", "PERSON")
    segment.path.write_bytes(before)
    assert verified() == 5


def report(site, output, *more):
    return site.run("audit", "report", "--from", DAY, "--to", DAY, "--out", output, *more)


@pytest.mark.parametrize("name", ["report.html", "report.pdf"])
def test_a_report_is_written(site, tmp_path, name):
    site.request()
    done = report(site, tmp_path / name, "--tenant", "clinic")
    assert done.exit_code == 0
    assert "The chain holds: 9 records in 1 log verified" in done.stdout
    assert "Completeness is not shown" in done.stdout
    content = (tmp_path / name).read_bytes()
    assert content.startswith(b"<!doctype html>" if name.endswith("html") else b"%PDF-")
    if name.endswith("html"):
        assert site.tenant.encode() in content
        assert b"clinic" in content


def test_the_report_of_a_broken_ledger_is_written_and_exits_with_5(site, tmp_path):
    writer = ChainWriter(site.folder / "ledger" / "service", "a0" * 16)
    writer.close()
    path = list_segments(site.folder / "ledger" / "service")[0].path
    path.write_bytes(path.read_bytes().replace(b'"torn_bytes":0', b'"torn_bytes":1') + b"{}\n")
    assert report(site, tmp_path / "report.html").exit_code == 5
    assert "does NOT hold" in (tmp_path / "report.html").read_text()


def test_a_report_needs_a_name_a_period_and_what_draws_it(site, tmp_path, monkeypatch):
    ChainWriter(site.folder / "ledger" / "service", "a0" * 16).close()
    assert report(site, tmp_path / "report.docx").exit_code == 2
    backwards = ("audit", "report", "--from", "2026-02-02", "--to", "2026-02-01", "--out", tmp_path / "a.html")
    assert site.run(*backwards).exit_code == 2
    monkeypatch.setattr(report_command, "find_spec", lambda _: None)
    with pytest.raises(ConfigurationError) as missing:
        report(site, tmp_path / "report.pdf")
    assert "pip install 'guardedvlm[report]'" in missing.value.for_operator()


def test_without_the_key_a_tenant_is_named_by_its_pseudonym(site, tmp_path):
    site.request()
    (site.folder / "keys" / AUDIT_KEY).unlink()
    with pytest.raises(ConfigurationError):
        report(site, tmp_path / "report.html", "--tenant", "clinic")
    assert report(site, tmp_path / "report.html", "--tenant", site.tenant).exit_code == 0
    assert not (site.folder / "keys" / AUDIT_KEY).exists()  # a report makes no key


def test_kinds_are_those_of_the_ledger(site, tmp_path):
    site.run("review", "show", sample := site.sample(), "--out", tmp_path / "a.png")
    assert site.run("review", "mark", sample, "leaked", "-k", "Jane Roe").exit_code == 2
    assert site.run("review", "mark", sample, "over-redacted", "-k", Kind.DATE.value).exit_code == 0


@pytest.mark.parametrize("tenant", ["clinik", "ab" * 16])
def test_a_tenant_that_no_record_names_gets_no_report(site, tmp_path, tenant):
    site.request()
    with pytest.raises(ConfigurationError) as wrong:
        report(site, tmp_path / "report.html", "--tenant", tenant)
    assert "the ledger names no such tenant" in wrong.value.for_operator()
    assert not (tmp_path / "report.html").exists()


def test_a_tenant_that_only_a_broken_record_names_gets_no_report(site, tmp_path):
    site.request()
    path = list_segments(site.folder / "ledger" / "service")[0].path
    path.write_bytes(path.read_bytes().replace(b'"method":"AnalyzeImage"', b'"method":"Redact"', 1))
    with pytest.raises(ConfigurationError):
        report(site, tmp_path / "report.html", "--tenant", "clinic")


def test_a_tenant_whose_name_stands_in_the_review_gets_a_report(site, tmp_path):
    site.run("review", "show", sample := site.sample(), "--out", tmp_path / "a.png")
    site.run("review", "mark", sample, "clean")
    assert report(site, tmp_path / "report.html", "--tenant", "clinic").exit_code == 0


def test_no_risk_is_told_from_a_ledger_that_does_not_verify(site, tmp_path):
    site.run("review", "show", sample := site.sample(), "--out", tmp_path / "a.png")
    site.run("review", "mark", sample, "clean")
    assert site.run("review", "risk").exit_code == 0
    path = list_segments(site.folder / "ledger" / "review")[0].path
    path.write_bytes(path.read_bytes().replace(b'"torn_bytes":0', b'"torn_bytes":1', 1))

    done = site.run("review", "risk", "--json")

    assert done.exit_code == 5
    assert done.stdout.strip() == ""
    assert "does not verify" in done.stderr


def test_reviewers_may_have_to_prove_who_they_are(site, tmp_path):
    key, sample = write_key(tmp_path / "keys" / TOKENS_KEY), site.sample()
    tokens = {}
    lines = ["tenants: {clinic: {policy: healthcare}}", "callers:"]
    for name, roles in (("ann", "[reviewer]"), ("gateway", "[caller]")):
        token, stored = new_token(key)
        tokens[name] = tmp_path / f"{name}.token"
        tokens[name].write_text(token)
        lines.append(f"  - {{name: {name}, tenant: clinic, roles: {roles}, token_hmac: {stored}}}")
    (tmp_path / "tenants.yaml").write_text("\n".join(lines))
    site.config.write_text(site.config.read_text().replace("max_samples: 9", "max_samples: 9, identified: true"))
    picture = tmp_path / "look.png"
    for refused in ((), ("--as", "ann"), ("--token-file", tokens["gateway"])):
        for command in (("list",), ("show", sample, "--out", picture), ("mark", sample, "clean")):
            if command != ("list",) or "--as" not in refused:
                with pytest.raises(NotPermitted):
                    site.run("review", *command, *refused)
    assert not picture.exists()
    assert (
        site.run("review", "show", sample, "--out", picture, "--as", "x", "--token-file", tokens["ann"]).exit_code == 2
    )
    stranger = tmp_path / "stranger.token"
    stranger.write_text("gvlm_" + "a" * 43)
    with pytest.raises(NotIdentified):
        site.run("review", "list", "--token-file", stranger)

    site.run("review", "show", sample, "--out", picture, "--token-file", tokens["ann"])
    site.run("review", "mark", sample, "clean", "--token-file", tokens["ann"])
    assert picture.read_bytes() == PICTURE
    looks = [event for event in site.events() if event in (LedgerEvent.VIEWED, LedgerEvent.MARKED)]
    assert looks == [LedgerEvent.VIEWED, LedgerEvent.MARKED]
