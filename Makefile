PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
VLLM_VENV := .venv-vllm
VLLM_TESTS := tests/cogvlm2/vllm_plugin tests/inference/vllm_engine
STAMP := $(VENV)/.installed

.PHONY: install install-vllm demo test test-service test-slow test-gpu test-vllm check browser protos bench fuzz locks sbom clean

install: $(STAMP)

# torch comes first and pinned: with it in place no other requirement pulls a build of several gigabytes.
$(STAMP): pyproject.toml .ci/requirements-no-deps.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet torch==2.13.0
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	$(BIN)/python -m pip install --quiet --no-deps --ignore-requires-python --require-hashes --requirement .ci/requirements-no-deps.txt
	touch $@

demo: install
	$(BIN)/guardedvlm demo --out out

check: install
	$(BIN)/ruff check guardedvlm tests helm
	$(BIN)/ruff format --check guardedvlm tests helm
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/buf lint protos
	$(BIN)/hadolint helm/images/*.Dockerfile

# In two processes, a file in one of them: what the tests of a file share is started once.
test: check
	$(BIN)/python -m pytest -n 2 --dist loadfile -m 'not service and not slow and not gpu'

test-service: install
	$(BIN)/python -m pytest -n 2 --dist loadfile -m 'service and not slow'

# The console's tests drive a real browser; where there is none they say so and skip.
browser:
	command -v chromium >/dev/null || { test "$$(id -u)" = 0 && apt-get update -qq && \
		apt-get install -qq -y --no-install-recommends chromium; } || echo "no chromium: the console's browser tests skip"

test-slow: install
	$(BIN)/python -m pytest -m slow --timeout 1800

# On a machine with a GPU; see tests/cogvlm2/test_gpu.py.
test-gpu: install
	$(BIN)/python -m pytest -m gpu --timeout 1800

# Its libraries' own warnings are not ours to raise.
test-vllm: install-vllm
	$(VLLM_VENV)/bin/python -m pytest -m vllm -W default --timeout 600 --durations 15 $(VLLM_TESTS)

# Coverage-guided, one target after the other; findings lie in out/fuzz/TARGET/findings. See docs/sandbox.md.
SECONDS ?= 1800
fuzz: install
	$(BIN)/python -m pip install --quiet --editable '.[fuzz]'
	for target in decode dicom policy proto; do \
		nice $(BIN)/python tests/fuzz/fuzz.py $$target --seconds $(SECONDS) --out out/fuzz || exit 1; done

# vLLM pins other versions than the rest of the project, so it has an environment of its own. See docs/vllm.md.
install-vllm: $(VLLM_VENV)/.installed

$(VLLM_VENV)/.installed: .ci/install-vllm pyproject.toml
	PYTHON=$(PYTHON) .ci/install-vllm $(VLLM_VENV)
	touch $@

protos: install
	$(BIN)/python -m grpc_tools.protoc -I protos --python_out=. --pyi_out=. --grpc_python_out=. protos/guardedvlm/v1/*.proto

# The images' locks and bills of materials, by tools of their own environment. See docs/operator.md.
IMAGE_TOOLS := $(VENV)-images
$(IMAGE_TOOLS):
	$(PYTHON) -m venv $@
	$@/bin/python -m pip install --quiet uv==0.13.9 cyclonedx-bom==7.5.0

locks: $(IMAGE_TOOLS)
	PATH="$(CURDIR)/$(IMAGE_TOOLS)/bin:$$PATH" helm/images/lock

sbom: $(IMAGE_TOOLS)
	mkdir -p out
	for lock in guard inference vllm; do cat helm/images/$$lock.lock .ci/requirements-no-deps.txt | \
		$(IMAGE_TOOLS)/bin/cyclonedx-py requirements - \
		--pyproject pyproject.toml --spec-version 1.6 --output-reproducible --output-file out/$$lock.cdx.json || exit; done

clean:
	rm -rf $(VENV) $(IMAGE_TOOLS) $(VLLM_VENV) out
