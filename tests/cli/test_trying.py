"""Local use of the playground: policies as their files are now, faults with their lines, samples."""

import io
import shutil

import pytest
from PIL import Image

from guardedvlm.cli.trying import DrawnSamples, LocalGuard
from guardedvlm.errors import ConfigurationError, Reason
from guardedvlm.playground.ports import Asked
from guardedvlm.policy.shipped import default_policies
from guardedvlm.transport.clearance_key import load_or_create_signing_key


class NoPipeline:
    """Nothing may reach it."""

    def __getattr__(self, name):
        raise AssertionError(name)


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(default_policies(), tmp_path / "policies")


def edit(folder, old, new, name="finance"):
    file = folder / name / "policy.yaml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


async def offers(folder, key=None):
    return {offer.id: offer for offer in await LocalGuard(NoPipeline(), folder, key).offers()}


async def test_policies_are_read_anew_each_time(folder):
    before = await offers(folder)
    edit(folder, "PERSON: label", "PERSON: fill")
    after = await offers(folder)
    assert set(before) == set(after) == {"finance", "healthcare"}
    assert before["finance"].policy.digest() != after["finance"].policy.digest()
    assert before["healthcare"].policy == after["healthcare"].policy


async def test_the_folder_of_one_policy_is_that_policy(folder):
    assert set(await offers(folder / "finance")) == {"finance"}


async def test_faults_come_with_their_lines_and_nothing_runs(folder):
    edit(folder, "  mode: balanced", "  mode: lenient")
    edit(folder, "  boxes: true", "  boxes: maybe")
    guard = LocalGuard(NoPipeline(), folder)
    (broken, healthy) = await guard.offers()
    assert broken.policy is None
    assert healthy.faults == ()
    lines = (folder / "finance" / "policy.yaml").read_text().splitlines()
    assert len(broken.faults) == 2
    for fault, wrong in zip(broken.faults, ("mode: lenient", "boxes: maybe"), strict=True):
        number = int(fault.place.rpartition(":")[2])
        assert wrong in lines[number - 1]
        assert (number, lines[number - 1]) in fault.excerpt
        assert len(fault.excerpt) == 3
    with pytest.raises(ConfigurationError) as refused:
        [event async for event in guard.events(Asked("finance", "", b"picture"))]
    assert refused.value.place == broken.faults[0].place


async def test_a_fault_of_a_base_is_shown_in_the_base(folder):
    base = folder / "base" / "common.yaml"
    base.write_text(base.read_text().replace("max_pages: 50", "max_pages: many"))
    (fault, *_) = (await offers(folder))["finance"].faults
    assert fault.place.startswith("base/common.yaml:")
    assert any("max_pages: many" in text for _, text in fault.excerpt)


async def test_a_policy_that_is_not_there_is_refused(folder):
    for name in ("absent", "../finance", "", "base"):
        with pytest.raises(ConfigurationError) as refused:
            [event async for event in LocalGuard(NoPipeline(), folder).events(Asked(name, "", b"picture"))]
        assert refused.value.reason is Reason.POLICY_MISSING


async def test_where_signatures_are_asked_for_an_unsigned_policy_is_none(folder, tmp_path):
    (tmp_path / "keys").mkdir(mode=0o700)
    load_or_create_signing_key(tmp_path / "keys")
    (offer, _) = (await offers(folder, tmp_path / "keys" / "clearance.pub")).values()
    assert offer.policy is None
    assert "signed" in offer.faults[0].explanation


def test_samples_are_the_demonstrations_pictures():
    samples = DrawnSamples()
    titles = samples.titles()
    assert len(titles) == 7
    name, _, questions = titles[0]
    assert questions
    assert Image.open(io.BytesIO(samples.picture(name))).format == "PNG"
    assert max(Image.open(io.BytesIO(samples.thumbnail(name))).size) <= 240
    assert samples.picture("absent") is samples.thumbnail("absent") is None
