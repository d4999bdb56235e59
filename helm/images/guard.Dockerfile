# syntax=docker/dockerfile:1
# Zone 1: the guard, on a CPU; the console and the other commands run from it too. From the top of the tree:
#
#   docker build -f helm/images/guard.Dockerfile --build-arg PYTHON_IMAGE=REGISTRY/python:3.11-slim@sha256:... \
#       --build-arg TORCH_INDEX=https://YOUR-INDEX/cpu -t guard .
#
# The base has no default: a digest that nobody looked at is none. What is installed is in guard.lock with its hashes,
# but for torch, which one layer has for one worker, the face verifier, from an index of the site's choice.
ARG PYTHON_IMAGE

FROM ${PYTHON_IMAGE} AS build
ARG PYTHON_IMAGE
SHELL ["/bin/sh", "-euc"]
RUN case "${PYTHON_IMAGE}" in *@sha256:*) ;; *) echo "PYTHON_IMAGE must be named by digest" >&2; exit 1 ;; esac
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/guardedvlm
WORKDIR /src
COPY helm/images/guard.lock .ci/requirements-no-deps.txt ./
RUN /opt/guardedvlm/bin/pip install --no-deps --require-hashes --requirement guard.lock \
    && /opt/guardedvlm/bin/pip install --no-deps --ignore-requires-python --require-hashes \
        --requirement requirements-no-deps.txt
COPY pyproject.toml README.md LICENSE ./
COPY guardedvlm ./guardedvlm
COPY policies ./policies
# The backend that builds our own wheel is not in the image.
RUN python -m venv /opt/build && /opt/build/bin/pip install "hatchling>=1.27,<2" \
    && /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /src/wheel . \
    && /opt/guardedvlm/bin/pip install --no-deps /src/wheel/guardedvlm-*.whl \
    && /opt/guardedvlm/bin/pip uninstall --yes pip \
    && echo /opt/face-verifier > /opt/guardedvlm/lib/python3.11/site-packages/face-verifier.pth

FROM ${PYTHON_IMAGE} AS torch
ARG TORCH_INDEX
ARG TORCH_VERSION=2.13.0
RUN test -n "${TORCH_INDEX}" && python -m pip install --no-cache-dir --no-deps --index-url "${TORCH_INDEX}" \
    --target /opt/face-verifier "torch==${TORCH_VERSION}"

FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="guardedvlm-guard" org.opencontainers.image.licenses="Apache-2.0"
COPY --from=torch /opt/face-verifier /opt/face-verifier
COPY --from=build /opt/guardedvlm /opt/guardedvlm
# Nothing is written into the image when it runs: its root is read-only.
ENV PATH=/opt/guardedvlm/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 HOME=/tmp
USER 10001:10001
WORKDIR /tmp
ENTRYPOINT ["guardedvlm"]
CMD ["--help"]
