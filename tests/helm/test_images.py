"""The images: linted, pinned, without root; their locks have a hash for every package, and no torch."""

import fnmatch
import re
import subprocess
import sys
from pathlib import Path

import pytest
from chart import ROOT

IMAGES = ROOT / "helm" / "images"
DOCKERFILES = sorted(IMAGES.glob("*.Dockerfile"))
LOCKS = sorted(IMAGES.glob("*.lock"))
HADOLINT = Path(sys.executable).parent / "hadolint"
PACKAGE = re.compile(r"^([a-z0-9][a-z0-9._-]*)==(\S+) \\$")


def instructions(path):
    """Instructions with their arguments, one a line."""
    text = re.sub(
        r"\\\n\s*", " ", "\n".join(line for line in path.read_text().splitlines() if not line.startswith("#"))
    )
    return [tuple(line.split(None, 1)) for line in text.splitlines() if line.strip()]


def locked(path):
    """Version and hashes of every package of a lock."""
    found, current = {}, None
    for line in path.read_text().splitlines():
        if match := PACKAGE.match(line):
            current = found.setdefault(match[1], (match[2], []))[1]
        elif hashed := re.match(r"^ +--hash=sha256:([0-9a-f]{64})( \\)?$", line):
            current.append(hashed[1])
        else:
            raise AssertionError(line)
    return found


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_the_dockerfiles_are_clean(path):
    done = subprocess.run([HADOLINT, path], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_lint_sees_what_it_should(tmp_path):
    bad = tmp_path / "Dockerfile"
    bad.write_text("FROM python:latest\nRUN cd /x && sudo pip install y\n")
    done = subprocess.run([HADOLINT, bad], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "DL3007" in done.stdout


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_every_stage_begins_with_a_base_that_must_have_a_digest(path):
    found = instructions(path)
    bases = [rest.split()[0] for name, rest in found if name == "FROM"]
    assert len(bases) >= 2
    assert set(bases) == {"${PYTHON_IMAGE}"}
    assert ("ARG", "PYTHON_IMAGE") in found  # without a default
    assert any(name == "RUN" and "*@sha256:*) ;;" in rest and "exit 1" in rest for name, rest in found)


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_the_check_of_the_digest_is_one(path):
    (script,) = [rest for name, rest in instructions(path) if name == "RUN" and "@sha256:" in rest]
    named = "registry.example/python:3.11-slim@sha256:" + "a" * 64
    for image, code in ((named, 0), ("python:3.11-slim", 1), ("", 1)):
        done = subprocess.run(["sh", "-euc", script], env={"PYTHON_IMAGE": image}, capture_output=True, check=False)
        assert done.returncode == code


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_the_last_stage_runs_without_root(path):
    found = instructions(path)
    last = found[max(index for index, (name, _) in enumerate(found) if name == "FROM") :]
    assert ("USER", "10001:10001") in last
    assert not [rest for name, rest in last if name in {"RUN", "ADD"}]
    assert [rest for name, rest in last if name == "ENTRYPOINT"] == ['["guardedvlm"]']


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_what_is_copied_is_there_and_is_not_left_out(path):
    allowed = path.with_name(path.name + ".dockerignore").read_text().split()
    for name, rest in instructions(path):
        if name != "COPY" or rest.startswith("--from"):
            continue
        *sources, _ = rest.split()
        for source in sources:
            assert list(ROOT.glob(source.removeprefix("./"))), source
            assert [one for one in allowed if _lets(one, source.removeprefix("./"))], source


def _lets(line, source):
    """Whether a line of .dockerignore lets a file, or all of a folder, in."""
    pattern = line.removeprefix("!")
    return line != pattern and (fnmatch.fnmatch(source, pattern) or pattern in {source, f"{source}/**"})


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.name)
def test_every_package_is_pinned_by_hash_and_torch_is_not_among_them(path):
    found = locked(path)
    assert len(found) > 50
    assert all(hashes for _, hashes in found.values())
    assert not {"torch", "torchvision", "torchaudio", "triton"} & set(found)
    assert {"filelock", "fsspec", "jinja2", "networkx", "sympy", "typing-extensions"} <= set(found)  # what torch needs


def test_the_lock_of_the_guard_has_what_the_project_asks_for():
    """An extra that grew since then asks for `make locks`."""
    import tomllib

    from packaging.requirements import Requirement

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    for name, parts in (
        ("guard", ("guard", "reader", "console", "report", "export")),
        ("inference", ("cogvlm2", "reader")),
    ):
        found = locked(IMAGES / f"{name}.lock")
        for line in [*project["dependencies"], *(line for part in parts for line in extras[part])]:
            wanted = Requirement(line)
            if wanted.name == "torch":
                continue
            version = found[wanted.name.lower().replace("_", "-").replace(".", "-")][0]
            assert wanted.specifier.contains(version, prereleases=True), (name, line, version)


def test_no_extra_of_the_guards_lock_is_one_of_nvidias():
    assert not [name for name in locked(IMAGES / "guard.lock") if name.startswith(("nvidia", "cuda"))]
