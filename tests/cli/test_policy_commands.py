"""`guardedvlm policy ...` as an operator meets it."""

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from guardedvlm.cli import app
from guardedvlm.cli.policy.bench import guard_bench
from guardedvlm.cli.settings import find_policy, local_settings
from guardedvlm.core.finding import Kind
from guardedvlm.errors import ConfigurationError, Reason
from guardedvlm.policy.cases import cases_of
from guardedvlm.policy.exercise import run_cases
from guardedvlm.policy.load import load_policy

POLICIES = Path(__file__).parents[2] / "policies"


def policy(*arguments):
    return CliRunner().invoke(app, ["policy", *map(str, arguments)], env={"COLUMNS": "200"})


async def test_the_shipped_policies_do_what_their_cases_say_and_every_rule_has_one():
    async with guard_bench() as bench:
        for name in ("healthcare", "finance"):
            path = POLICIES / name / "policy.yaml"
            found, cases = load_policy(path), cases_of(path)[0]
            report = await run_cases(found, [case for case in cases if case.case.picture is None], bench)
            assert [(one.located.place, one.failures) for one in report.failed] == []
            assert report.unexercised == ()
        # The cases notice a rule that was taken away, and the report notices a case that was.
        hide = {kind: action for kind, action in found.hide.items() if kind is not Kind.SSN}
        weaker = found.model_copy(update={"hide": hide, "keep": found.keep | {Kind.SSN}})
        report = await run_cases(weaker, [case for case in cases if "social security" in case.case.name], bench)
        assert len(report.failed) == 1
        left = [case for case in cases if case.case.found is not None or "religion" in case.case.name]
        unexercised = (await run_cases(found, left, bench)).unexercised
        assert "hide.SSN" in unexercised
        assert not {"hide.FACE", "ask.forbid.religion"} & set(unexercised)


@pytest.mark.slow
def test_a_picture_goes_the_whole_way(tmp_path):
    from guardedvlm.cli.pictures.page import portrait

    folder = tmp_path / "healthcare"
    (folder / "cases").mkdir(parents=True)
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "common.yaml").write_text((POLICIES / "base" / "common.yaml").read_text())
    (folder / "policy.yaml").write_text((POLICIES / "healthcare" / "policy.yaml").read_text())
    portrait().convert("RGB").save(folder / "cases" / "face.png")
    (folder / "cases" / "a.yaml").write_text(
        "cases:\n  - name: a face\n    picture: face.png\n    expect: {actions: {FACE: fill}}\n"
        "  - name: wrong\n    picture: face.png\n    expect: {actions: {FACE: label}}\n"
    )
    done = policy("test", folder, "--least", 0)
    assert done.exit_code == 1
    assert "1 of 2 cases passed, 1 of 56 rules exercised" in done.output
    assert "healthcare/cases/a.yaml:5: wrong: expect.actions.FACE: label was expected, not fill" in done.output


def test_shipped_policies_have_no_warnings_that_nobody_meant():
    done = policy("lint")
    assert (done.exit_code, done.output) == (0, "0 warnings\n")


def test_lint_tells_what_is_probably_not_meant(tmp_path):
    folder = tmp_path / "bank"
    folder.mkdir()
    text = (POLICIES / "finance" / "policy.yaml").read_text().replace("name: finance", "name: bank")
    text = text.replace("extends: common", "").replace("rules: [pci_dss, glba]", "rules: []")
    text = text.replace("ethnicity, religion", "religion", 1).replace("ACCOUNT: label", "ACCOUNT: fill")
    (folder / "policy.yaml").write_text(text.replace("  mode: balanced", "  mode: balanced\n  clear: [labels]"))
    done = policy("lint", folder)
    assert done.exit_code == 0
    for word in ("claims no rule", "strict mode only", "ethnicity may not be said", "ACCOUNT is filled", "no cases"):
        assert word in done.output
    assert policy("lint", folder, "--strict").exit_code == 1


def test_effective_values_come_with_their_lines():
    done = policy("show", "healthcare", "--effective")
    assert "base/common.yaml:" in done.output
    assert any(
        "text.mode" in line and "strict" in line and "healthcare/policy.yaml:" in line
        for line in done.output.splitlines()
    )


def test_a_weaker_policy_needs_a_reason(tmp_path):
    other = tmp_path / "policies" / "healthcare"
    (tmp_path / "policies").mkdir()
    shutil.copytree(POLICIES / "base", tmp_path / "policies" / "base")
    other.mkdir()
    text = (POLICIES / "healthcare" / "policy.yaml").read_text()
    (other / "policy.yaml").write_text(text)
    assert policy("diff", "healthcare", other).output == "0 weaker, 0 stronger, 0 other\n"
    (other / "policy.yaml").write_text(text.replace("  max_tokens: 512", "  max_tokens: 500"))
    assert policy("diff", "healthcare", other).exit_code == 0
    weaker = tmp_path / "policies" / "base" / "common.yaml"  # what is inherited counts
    weaker.write_text(weaker.read_text().replace("max_pages: 50", "max_pages: 60"))
    done = policy("diff", "healthcare", other)
    assert done.exit_code == 1
    assert done.output.splitlines()[-1] == "1 weaker, 1 stronger, 0 other"
    assert policy("diff", "healthcare", other, "--allow-weaker", "long files, DPIA-7").exit_code == 0
    assert policy("diff", "healthcare", other, "--allow-weaker", " ").exit_code == 2
    told = json.loads(policy("diff", "healthcare", other, "--json", "--allow-weaker", "DPIA-7").output)
    assert (told["weaker"], told["allowed_because"]) == (1, "DPIA-7")
    assert "1 weaker, 1 stronger" in policy("diff", other, "healthcare").output


def test_keys_are_made_once_and_signatures_checked(tmp_path):
    site, office = tmp_path / "policies", tmp_path / "office"
    shutil.copytree(POLICIES, site)
    assert policy("keygen", office).exit_code == 0
    assert (office / "policy.key").stat().st_mode & 0o077 == 0
    again = CliRunner().invoke(app, ["policy", "keygen", str(office)])
    assert isinstance(again.exception, ConfigurationError)
    assert policy("verify", site, "--key", office / "policy.pub").exit_code == 5
    assert policy("sign", site, "--key", office / "policy.key").exit_code == 0
    assert policy("verify", site, "--key", office / "policy.pub").exit_code == 0
    base = site / "base" / "common.yaml"
    base.write_text(base.read_text().replace("max_pages: 50", "max_pages: 51"))
    assert policy("verify", site / "finance", "--key", office / "policy.pub").exit_code == 5


@pytest.mark.parametrize("command", ["ask", "redact", "extract"])
def test_settings_with_a_key_ask_for_a_signature_without_a_server_too(tmp_path, command):
    """By the key's owner, over the policy as it is; refused before a detector is started."""
    site, office, config = tmp_path / "policies", tmp_path / "office", tmp_path / "site.yaml"
    shutil.copytree(POLICIES, site)
    policy("keygen", office)
    config.write_text("policy_key: office/policy.pub\n")
    picture, schema = tmp_path / "a.png", tmp_path / "schema.json"
    picture.write_bytes(b"no picture")
    schema.write_text('{"type": "object", "properties": {"total": {"type": "number"}}}')
    more = {"ask": ["What is it?"], "redact": ["--out", tmp_path / "out"], "extract": ["--schema", schema]}[command]

    def reason(name):
        arguments = [command, picture, *more, "--policy", name, "--config", config]
        return getattr(CliRunner().invoke(app, [*map(str, arguments)]).exception, "reason", None)

    assert reason(site / "finance") is Reason.POLICY_UNSIGNED
    assert reason("finance") is Reason.POLICY_UNSIGNED
    assert not (tmp_path / "out").exists()


def test_a_policy_that_the_key_signed_is_found_and_none_needs_one_without_it(tmp_path):
    site, office, config = tmp_path / "policies", tmp_path / "office", tmp_path / "site.yaml"
    shutil.copytree(POLICIES, site)
    policy("keygen", office)
    policy("sign", site, "--key", office / "policy.key")
    config.write_text("policy_key: office/policy.pub\n")
    settings = local_settings(config, None)
    assert find_policy(str(site / "finance"), settings).name == "finance"
    text = (site / "finance" / "policy.yaml").read_text()
    (site / "finance" / "policy.yaml").write_text(text.replace("description: ", "description: Not ", 1))
    with pytest.raises(ConfigurationError) as refused:
        find_policy(str(site / "finance"), settings)
    assert refused.value.reason is Reason.POLICY_UNSIGNED
    assert find_policy("finance", local_settings(None, None)).name == "finance"


@pytest.mark.parametrize("command", ["diff", "replay", "eval text", "eval docs", "eval faces", "eval leak"])
def test_with_a_key_commands_that_measure_and_compare_take_signed_policies_only(tmp_path, command):
    """Told before anything is measured."""
    site, office, data = tmp_path / "policies", tmp_path / "office", tmp_path / "data"
    shutil.copytree(POLICIES, site)
    policy("keygen", office)
    data.mkdir()
    Image.new("L", (64, 64), 255).save(data / "a.png")
    (data / "labels.jsonl").write_text('{"file": "a.png", "labels": []}\n')
    target, key = site / "finance", ["--policy-key", office / "policy.pub"]
    measured = ["--policy", target, "--out", tmp_path / "report"]
    arguments = {
        "diff": ["policy", "diff", target, target],
        "replay": ["policy", "replay", target, "--ledger", data, "--old", site],
        "eval leak": ["eval", "leak", *measured],
    }.get(command, [*command.split(), data, *measured])

    def reason():
        done = CliRunner().invoke(app, [*map(str, [*arguments, *key])])
        return getattr(done.exception, "reason", done.exit_code)

    assert reason() is Reason.POLICY_UNSIGNED
    assert not (tmp_path / "report").exists()
    if command in ("diff", "replay"):
        policy("sign", site, "--key", office / "policy.key")
        assert reason() is not Reason.POLICY_UNSIGNED


def test_cases_are_run_and_counted(tmp_path):
    """Of kinds that are given as found: no detector is started for them."""
    folder = Path(shutil.copytree(POLICIES / "finance", tmp_path / "finance"))
    shutil.copytree(POLICIES / "base", tmp_path / "base")
    shutil.rmtree(folder / "cases")
    none = policy("test", folder)
    assert (none.exit_code, "0 of 0 cases passed, 0 of 56 rules exercised" in none.output) == (1, True)
    (folder / "cases").mkdir()
    case = folder / "cases" / "a.yaml"
    case.write_text("cases:\n  - {name: faces, found: [FACE], expect: {actions: {FACE: fill}}}\n")
    done = policy("test", tmp_path, "--least", 1)
    assert (done.exit_code, "1 of 1 cases passed, 1 of 56 rules exercised" in done.output) == (0, True)
    assert "finance: no case exercises hide.PERSON" in done.output
    case.write_text("cases:\n  - {name: faces, found: [FACE], expect: {actions: {FACE: keep}}}\n")
    wrong = policy("test", folder, "--least", 0)
    assert wrong.exit_code == 1
    assert "finance/cases/a.yaml:2: faces: expect.actions.FACE: keep was expected, not fill" in wrong.output
    case.write_text("cases:\n  - {name: faces, fund: [FACE]}\n")
    assert policy("test", folder).exit_code == 2
