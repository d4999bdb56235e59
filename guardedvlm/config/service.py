"""Settings of the guard's service."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from guardedvlm.audit.otel import Otel
from guardedvlm.audit.traceparent import Traces
from guardedvlm.config.address import ADDRESS, is_local, resolved_socket
from guardedvlm.config.audit import Checkpoints, Review, Tail
from guardedvlm.config.jwt import Jwt
from guardedvlm.config.part import Part
from guardedvlm.config.tls import ClientTls, Tls
from guardedvlm.config.traffic import Admission, Connections
from guardedvlm.sandbox import Sandbox

EMBEDDED = "embedded"
"""The engine in a child process of the guard."""


class Settings(Part):
    """All settings. Relative paths count from the settings file's folder."""

    listen: Annotated[str, Field(pattern=ADDRESS)] = "127.0.0.1:8443"
    health_listen: Annotated[str, Field(pattern=ADDRESS)] = "127.0.0.1:8444"
    token_listen: Annotated[str, Field(pattern=ADDRESS)] | None = None  # beside mutual TLS, for bearer tokens
    tls: Tls | None = None
    policies: Path = Path("policies")
    policy_key: Path | None = None  # public key (PEM): every policy must be signed by it
    policies_issued: Path | None = None  # what was in force last, with policy_key; none: in the folder of the keys
    tenants: Path = Path("tenants.yaml")
    jwt: Jwt | None = None  # bearer tokens of an identity provider
    admission: Admission = Admission()
    keys: Path = Path("keys")
    ledger: Path = Path("ledger")
    checkpoints: Checkpoints = Checkpoints()
    review: Review = Review()
    inference: Annotated[str, Field(pattern=rf"^embedded$|{ADDRESS}")] = EMBEDDED  # or an inference service
    inference_tls: ClientTls | None = None  # for an inference service on another machine
    replicas: Annotated[int, Field(ge=1, le=64)] = 1  # worker processes of each detector role
    spacy_model: Path | None = None  # folder of the site's own named-entity model
    spacy_model_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None  # its `tree_digest`
    otel: Otel = Otel.NONE
    otlp_endpoint: str = "http://127.0.0.1:4317"
    otlp_ca: Path | None = None  # authority of an https collector's certificate; without it those of the system
    tail: Tail = Tail()
    traces: Traces = Traces.DERIVE  # what becomes of callers' trace ids
    reflection: bool = False
    sandbox: Sandbox = Sandbox.REQUIRED  # of the guard's workers; when-possible: also where the kernel cannot
    signer: Annotated[str, Field(pattern=r"^unix:.+$")] | None = None  # `guardedvlm keys serve`; else keys/evidence
    signer_user: Annotated[int, Field(ge=0)] | None = None  # number of the user it runs as; else this one
    drain_seconds: Annotated[float, Field(ge=0, le=600)] = 30.0
    connections: Connections = Connections()
    canary_seconds: Annotated[float, Field(ge=1, le=86_400)] = 600.0  # between two canary pictures

    @model_validator(mode="after")
    def _no_bearer_token_in_clear(self) -> Settings:
        addresses = [self.listen, *([self.token_listen] if self.token_listen else [])]
        if self.tls is None and not all(map(is_local, addresses)):
            raise ValueError("without 'tls' the service listens on the loopback interface or a unix socket only")
        if self.inference != EMBEDDED and self.inference_tls is None and not is_local(self.inference):
            raise ValueError("an inference service on another machine needs 'inference_tls'")
        if self.inference == EMBEDDED and self.inference_tls is not None:
            raise ValueError("'inference_tls' belongs to an inference service, and the engine is embedded")
        if (self.spacy_model is None) != (self.spacy_model_sha256 is None):
            raise ValueError("spacy_model and spacy_model_sha256 belong together: an unpinned model is an unknown one")
        return self

    @model_validator(mode="after")
    def _samples_apart(self) -> Settings:
        samples, ledger = self.review.folder, self.ledger
        if samples == ledger or ledger in samples.parents or samples in ledger.parents:
            raise ValueError("'review.folder' and 'ledger' lie apart: a ledger is kept for years, a sample for days")
        return self

    def resolved(self, folder: Path) -> Settings:
        """These settings with every relative path made absolute from `folder`."""
        values = {name: getattr(self, name) for name in Settings.model_fields}
        for name in (
            "policies",
            "policy_key",
            "policies_issued",
            "tenants",
            "keys",
            "ledger",
            "spacy_model",
            "otlp_ca",
        ):
            if values[name] is not None:
                values[name] = folder / values[name]
        for name in ("listen", "health_listen", "token_listen", "inference", "signer"):
            values[name] = resolved_socket(values[name], folder)
        if self.jwt is not None and "://" not in self.jwt.jwks:
            values["jwt"] = self.jwt.model_copy(update={"jwks": str(folder / self.jwt.jwks)})
        for name in ("tls", "inference_tls", "checkpoints", "tail", "review", "jwt"):
            if values[name] is not None:
                parts = dict(values[name]).items()
                values[name] = {key: folder / value if isinstance(value, Path) else value for key, value in parts}
        return Settings.model_validate(values)
