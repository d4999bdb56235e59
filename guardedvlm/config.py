"""Settings of the service: one frozen tree, from a YAML file and GUARDEDVLM_* variables; an unknown key is an error.

Only `app` and `cli` read settings. Packages below get plain values.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from guardedvlm.audit.checkpointer import BOUND_SECONDS, EVERY_RECORDS, EVERY_SECONDS
from guardedvlm.audit.lag import MOST_RECORDS, MOST_SECONDS
from guardedvlm.audit.otel import Otel
from guardedvlm.audit.review.store import MAX_SAMPLES
from guardedvlm.audit.sink import Sink
from guardedvlm.audit.traceparent import Traces
from guardedvlm.core.connection import (
    KEEPALIVE_SECONDS,
    KEEPALIVE_TIMEOUT_SECONDS,
    MAX_AGE_GRACE_SECONDS,
    MAX_AGE_SECONDS,
)
from guardedvlm.errors import ConfigurationError, Reason
from guardedvlm.sandbox import Sandbox

ENVIRONMENT_PREFIX = "GUARDEDVLM_"
ADDRESS = r"^((\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+):[0-9]{1,5}|unix:.+)$"
"""HOST:PORT or unix:PATH."""
UNIX = "unix:"
EMBEDDED = "embedded"
"""The engine in a child process of the guard."""
S = TypeVar("S", "ConsoleSettings", "PlaygroundSettings", "OpenAISettings")


class Part(BaseModel):
    """Base of every part: closed and frozen; its errors do not show values."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Tls(Part):
    """Certificates of the server. With `client_ca` every caller at `listen` must show a certificate of that CA."""

    certificate: Path
    key: Path
    client_ca: Path | None = None


class ClientTls(Part):
    """How a client knows a server, and shows who it is: the authority, its own certificate and key."""

    ca: Path
    certificate: Path
    key: Path


class Checkpoints(Part):
    """Signed checkpoints of the ledger's logs: how often, and the second place that they go to beside the ledger."""

    every_records: Annotated[int, Field(ge=1, le=1_000_000)] = EVERY_RECORDS
    every_seconds: Annotated[float, Field(gt=0, le=86_400)] = EVERY_SECONDS
    sink: Sink = Sink.NONE  # otlp: the collector at `otlp_endpoint`
    file: Path | None = None  # on another volume, with the sink `file`
    bound_seconds: Annotated[float, Field(gt=0, le=86_400)] = BOUND_SECONDS  # after which a failing sink ends readiness

    @model_validator(mode="after")
    def _file_where_it_is_written(self) -> Checkpoints:
        if (self.sink is Sink.FILE) != (self.file is not None):
            raise ValueError("'file' belongs to the sink 'file', and that sink needs one")
        return self


class Tail(Part):
    """Who delivers the ledger to `otel`, and how far it may be behind before the service is not ready."""

    inside: bool = True  # false: `guardedvlm audit tail` does, beside the service
    state: Path | None = None  # folder of the cursors; without it `tail` in the ledger's folder
    most_records: Annotated[int, Field(ge=1)] = MOST_RECORDS
    most_seconds: Annotated[float, Field(gt=0)] = MOST_SECONDS


class Connections(Part):
    """Connections of callers, made for load balancers; all in seconds."""

    keepalive_seconds: Annotated[float, Field(ge=1, le=7_200)] = KEEPALIVE_SECONDS  # between pings of a silent one
    keepalive_timeout_seconds: Annotated[float, Field(ge=1, le=600)] = KEEPALIVE_TIMEOUT_SECONDS  # for the answer
    max_age_seconds: Annotated[float, Field(ge=1, le=86_400)] = MAX_AGE_SECONDS  # then it is to be made anew
    max_age_grace_seconds: Annotated[float, Field(ge=1, le=3_600)] = MAX_AGE_GRACE_SECONDS  # for calls that run then

    def in_order(self) -> tuple[float, float, float, float]:
        """All of them, as they stand above."""
        return (
            self.keepalive_seconds,
            self.keepalive_timeout_seconds,
            self.max_age_seconds,
            self.max_age_grace_seconds,
        )


class SignatureAlgorithm(StrEnum):
    """Signatures that a token may carry: asymmetric ones. No `none`, and no HMAC, whose key would be everybody's."""

    RS256 = "RS256"
    RS384 = "RS384"
    RS512 = "RS512"
    PS256 = "PS256"
    PS384 = "PS384"
    PS512 = "PS512"
    ES256 = "ES256"
    ES384 = "ES384"
    ES512 = "ES512"
    ED25519 = "Ed25519"
    EDDSA = "EdDSA"


ClaimPath = Annotated[str, Field(min_length=1, max_length=256)]


class JwtClaims(Part):
    """Where a token says who calls: dotted paths. `client` is looked up in the tenants file (`jwt.client`); with
    `tenant` every caller there needs a `jwt.tenant` that agrees; with `roles` a caller has those of its roles that the
    token holds, too, by the file's `jwt_roles`."""

    client: ClaimPath = "sub"
    tenant: ClaimPath | None = None
    roles: ClaimPath | None = None


class Jwt(Part):
    """Bearer tokens of an identity provider, beside those of the tenants file."""

    issuer: Annotated[str, Field(min_length=1, max_length=1024)]  # `iss`, letter for letter
    audience: Annotated[str, Field(min_length=1, max_length=1024)]  # that `aud` must hold
    jwks: Annotated[str, Field(min_length=1, max_length=2048)]  # file, or https:// (http:// on this machine alone)
    ca: Path | None = None  # authority of the provider's certificate; none: those of the system
    algorithms: Annotated[tuple[SignatureAlgorithm, ...], Field(min_length=1)] = (
        SignatureAlgorithm.RS256,
        SignatureAlgorithm.ES256,
    )
    claims: JwtClaims = JwtClaims()
    skew_seconds: Annotated[float, Field(ge=0, le=300)] = 30.0  # by which clocks may differ
    max_lifetime_seconds: Annotated[float, Field(ge=60, le=86_400)] = 3_600.0  # from `iat` to `exp`
    refresh_seconds: Annotated[float, Field(ge=10, le=86_400)] = 300.0  # between two looks at the JWKS address
    stale_seconds: Annotated[float, Field(ge=60, le=604_800)] = 3_600.0  # that keys are believed without a good look

    @model_validator(mode="after")
    def _no_keys_in_clear(self) -> Jwt:
        scheme, separator, rest = self.jwks.partition("://")
        if separator and scheme != "https" and not (scheme == "http" and _is_local(rest.partition("/")[0])):
            raise ValueError("'jwks' must be a file or https://")
        if self.ca is not None and scheme != "https":
            raise ValueError("'ca' belongs to 'jwks' at https://")
        if self.stale_seconds <= self.refresh_seconds:
            raise ValueError("'stale_seconds' must be more than 'refresh_seconds'")
        return self


class Admission(Part):
    """How much is worked on at once, and how much may wait. Limits of tenants stand in the tenants file."""

    # Documents that are looked at, at the same time; none: twice `replicas`, so that one is read while one is verified.
    concurrency: Annotated[int, Field(ge=1, le=1_024)] | None = None
    queue: Annotated[int, Field(ge=1, le=100_000)] = 256  # requests that wait, of all tenants
    queue_mebibytes: Annotated[int, Field(ge=1, le=1_048_576)] = 1_024  # of documents that all calls hold


class Review(Part):
    """Where redacted pictures wait for a reviewer, where a policy keeps any, and how many at most. Their keys lie in
    `sample_keys`, without it in the folder `review` of the settings' `keys`."""

    folder: Path = Path("review")
    sample_keys: Path | None = None
    max_samples: Annotated[int, Field(ge=1, le=10_000)] = MAX_SAMPLES
    identified: bool = False  # `guardedvlm review` shows nothing without a token of a caller with the role reviewer


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
        if self.tls is None and not all(map(_is_local, addresses)):
            raise ValueError("without 'tls' the service listens on the loopback interface or a unix socket only")
        if self.inference != EMBEDDED and self.inference_tls is None and not _is_local(self.inference):
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
            values[name] = _resolved_socket(values[name], folder)
        if self.jwt is not None and "://" not in self.jwt.jwks:
            values["jwt"] = self.jwt.model_copy(update={"jwks": str(folder / self.jwt.jwks)})
        for name in ("tls", "inference_tls", "checkpoints", "tail", "review", "jwt"):
            if values[name] is not None:
                parts = dict(values[name]).items()
                values[name] = {key: folder / value if isinstance(value, Path) else value for key, value in parts}
        return Settings.model_validate(values)


class InferenceEngine(StrEnum):
    """What an inference service runs."""

    READER = "reader"
    TRANSFORMERS = "transformers"  # CogVLM2
    VLLM = "vllm"  # CogVLM2, many requests at a time


class Attention(StrEnum):
    """How a model computes attention, by the library's own names."""

    EAGER = "eager"
    SDPA = "sdpa"
    FLASH_ATTENTION_2 = "flash_attention_2"  # sdpa where it is not installed


_OF_AN_ENGINE = {
    InferenceEngine.TRANSFORMERS: {"adapter", "attention", "offload", "compiled"},
    InferenceEngine.VLLM: {
        "tensor_parallel_size",
        "max_model_len",
        "gpu_memory_utilization",
        "kv_cache_bytes",
        "max_num_seqs",
        "eager",
    },
}
"""Settings that only one engine knows."""


class InferenceSettings(Part):
    """Settings of an inference service, from its command line."""

    listen: Annotated[str, Field(pattern=ADDRESS)]
    health_listen: Annotated[str, Field(pattern=ADDRESS)] = "127.0.0.1:8446"
    engine: InferenceEngine = InferenceEngine.READER
    model: Path | None = None  # checkpoint directory, for the engine that has one
    manifest: Path | None = None  # its pinned digests, when they do not stand beside it
    adapter: Path | None = None  # directory of a LoRA adapter on top of the model
    attention: Attention | None = None  # None: the engine's own choice
    offload: bool = False  # the model's visual experts in host memory
    compiled: bool = False  # decoding as one compiled graph
    tensor_parallel_size: Annotated[int, Field(ge=1, le=64)] = 1  # GPUs that share each layer
    max_model_len: Annotated[int, Field(ge=1)] | None = None  # tokens of prompt and answer; None: the model's own
    gpu_memory_utilization: Annotated[float, Field(gt=0, le=1)] | None = None  # share of the memory; None: vLLM's own
    kv_cache_bytes: Annotated[int, Field(ge=1)] | None = None  # instead of what that share leaves
    max_num_seqs: Annotated[int, Field(ge=1, le=256)] | None = None  # answers made at the same time; None: the engine's
    eager: bool = False  # no compiled graphs
    guard_keys: Annotated[tuple[Path, ...], Field(min_length=1)]  # public keys of the guards that may ask
    tls: Tls | None = None  # with client_ca: who may connect
    drain_seconds: Annotated[float, Field(ge=0, le=600)] = 30.0

    @model_validator(mode="after")
    def _no_pixels_in_clear(self) -> InferenceSettings:
        if not _is_local(self.listen) and (self.tls is None or self.tls.client_ca is None):
            raise ValueError("beyond this machine the service needs a certificate, its key and a client CA")
        return self

    @model_validator(mode="after")
    def _model_where_it_is_run(self) -> InferenceSettings:
        if (self.engine is not InferenceEngine.READER) != (self.model is not None):
            raise ValueError("the engines 'transformers' and 'vllm' need a model directory, and no other takes one")
        if self.model is None and "manifest" in self.model_fields_set:
            raise ValueError("'manifest' belongs to a model directory")
        for engine, names in _OF_AN_ENGINE.items():
            foreign = names & self.model_fields_set
            if self.engine is not engine and foreign:
                raise ValueError(f"'{min(foreign)}' belongs to the engine '{engine.value}'")
        return self

    @model_validator(mode="after")
    def _one_graph_or_streams(self) -> InferenceSettings:
        if self.compiled and self.offload:
            raise ValueError("'compiled' records one graph on the GPU, 'offload' copies weights meanwhile: choose one")
        return self


class ConsoleLogin(Part):
    """Login at the identity provider (OpenID Connect, authorization code with PKCE)."""

    issuer: Annotated[str, Field(pattern=r"^https?://[^?#]+$")]
    client_id: Annotated[str, Field(min_length=1, max_length=256)]
    client_secret_file: Path | None = None  # none: a public client, which PKCE allows
    claim: Annotated[str, Field(min_length=1, max_length=256)] = "roles"  # dotted path in the ID token
    role: Annotated[str, Field(min_length=1, max_length=256)] = "reviewer"  # that must stand there
    ca: Path | None = None  # authority of the provider's certificate, where the system's do not know it

    @model_validator(mode="after")
    def _no_login_in_clear(self) -> ConsoleLogin:
        if not self.issuer.startswith("https://") and not _is_local(self.issuer.partition("://")[2].partition("/")[0]):
            raise ValueError("an issuer on another machine must be https")
        return self


class ConsoleReview(Part):
    """The desk of blind review in the console: it shows redacted pictures, and writes the ledger's log `review`."""

    folder: Path  # of the samples: the service's `review.folder`
    keys: Path  # of the samples' keys: `review` in the service's folder `keys`
    signer: Annotated[str, Field(pattern=r"^unix:.+$")] | None = None  # `guardedvlm keys serve`: checkpoints of the log
    signer_user: Annotated[int, Field(ge=0)] | None = None  # number of the user it runs as; else this one
    checkpoints: Path | None = None  # a second place for them, on another volume; with signer

    @model_validator(mode="after")
    def _nothing_unsigned(self) -> ConsoleReview:
        if self.signer is None and (self.checkpoints is not None or self.signer_user is not None):
            raise ValueError("'checkpoints' and 'signer_user' need 'signer'")
        return self


class ConsoleSettings(Part):
    """Settings of `guardedvlm console`. Relative paths count from the settings file's folder."""

    listen: Annotated[str, Field(pattern=r"^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+):[0-9]{1,5}$")] = "127.0.0.1:8450"
    url: Annotated[str, Field(pattern=r"^https?://[^/?#@]+$")] | None = None  # as reviewers reach it; none: listen
    tls: Tls | None = None
    login: ConsoleLogin | None = None  # none: the token that is printed at the start
    policies: tuple[Path, ...] = ()  # folders with the versions that may be shown and compared
    tenants: Path | None = None  # with audit_key: names instead of pseudonyms
    audit_key: Path | None = None
    keys: tuple[Path, ...] = ()  # public keys (keys export-public): signatures of checkpoints and receipts
    checkpoints: Path | None = None  # checkpoints that were kept elsewhere; with keys
    cache: Path | None = None  # folder of the index; none: below the user's cache folder
    review: ConsoleReview | None = None  # with audit_key; none: no pictures, and nothing of the ledger is written

    @model_validator(mode="after")
    def _no_pages_in_clear(self) -> ConsoleSettings:
        if not _is_local(self.listen) and (self.tls is None or self.login is None):
            raise ValueError("beyond this machine the console needs 'tls' and 'login'")
        if self.tls is not None and self.tls.client_ca is not None:
            raise ValueError("the console knows people by 'login', not by certificates of 'tls.client_ca'")
        if self.checkpoints is not None and not self.keys:
            raise ValueError("'checkpoints' needs 'keys': anybody can write one that nobody signed")
        if self.review is not None and self.audit_key is None:
            raise ValueError("'review' needs 'audit_key': the ledger names reviewers by keyed pseudonyms")
        if (self.tenants is None and self.review is None) != (self.audit_key is None):
            raise ValueError("'tenants' and 'audit_key' belong together: pseudonyms are keyed")
        return self

    def resolved(self, folder: Path) -> ConsoleSettings:
        """These settings with every relative path made absolute from `folder`."""
        values = _absolute(self.model_dump(), folder)
        if values["review"] is not None:
            values["review"]["signer"] = _resolved_socket(values["review"]["signer"], folder)
        return ConsoleSettings.model_validate(values)


class PlaygroundSettings(Part):
    """Settings of `guardedvlm playground` beside a service. Relative paths count from the settings file's folder."""

    listen: Annotated[str, Field(pattern=r"^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+):[0-9]{1,5}$")] = "127.0.0.1:8451"
    url: Annotated[str, Field(pattern=r"^https?://[^/?#@]+$")] | None = None  # as authors reach it; none: listen
    tls: Tls | None = None
    server: Annotated[str, Field(pattern=ADDRESS)] = "localhost:8443"  # GuardService, where it takes bearer tokens
    certificate_server: Annotated[str, Field(pattern=ADDRESS)] | None = (
        None  # where it takes certificates; none: server
    )
    ca: Path | None = None  # authority of the service's certificate

    @model_validator(mode="after")
    def _no_pictures_in_clear(self) -> PlaygroundSettings:
        if not _is_local(self.listen) and self.tls is None:
            raise ValueError("beyond this machine the playground needs 'tls'")
        if self.tls is not None and self.tls.client_ca is not None:
            raise ValueError("the playground knows people by what they log in with, not by 'tls.client_ca'")
        if self.ca is None and not all(map(_is_local, (self.server, self.certificate_server or self.server))):
            raise ValueError("a service on another machine needs 'ca'")
        return self

    def resolved(self, folder: Path) -> PlaygroundSettings:
        """These settings with every relative path made absolute from `folder`."""
        values = _absolute(self.model_dump(), folder)
        for name in ("server", "certificate_server"):
            values[name] = _resolved_socket(values[name], folder)
        return PlaygroundSettings.model_validate(values)


class OpenAISettings(Part):
    """Settings of `guardedvlm openai`. Relative paths count from the settings file's folder."""

    listen: Annotated[str, Field(pattern=r"^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+):[0-9]{1,5}$")] = "127.0.0.1:8452"
    tls: Tls | None = None
    server: Annotated[str, Field(pattern=ADDRESS)] = "localhost:8443"  # GuardService, where it takes bearer tokens
    ca: Path | None = None  # authority of the service's certificate
    max_body: Annotated[int, Field(ge=1, le=512)] = 48  # MiB of a request; a document in base64 has a third more
    most_requests: Annotated[int, Field(ge=1, le=1_024)] = 32  # at once; others wait with their bodies unread

    @model_validator(mode="after")
    def _no_pictures_in_clear(self) -> OpenAISettings:
        if not _is_local(self.listen) and self.tls is None:
            raise ValueError("beyond this machine the front needs 'tls'")
        if self.tls is not None and self.tls.client_ca is not None:
            raise ValueError("the front knows callers by the tokens that it passes on, not by 'tls.client_ca'")
        if self.ca is None and not _is_local(self.server):
            raise ValueError("a service on another machine needs 'ca'")
        return self

    def resolved(self, folder: Path) -> OpenAISettings:
        """These settings with every relative path made absolute from `folder`."""
        values = _absolute(self.model_dump(), folder)
        values["server"] = _resolved_socket(values["server"], folder)
        return OpenAISettings.model_validate(values)


def _absolute(value: Any, folder: Path) -> Any:
    if isinstance(value, Path):
        return folder / value
    if isinstance(value, dict):
        return {key: _absolute(item, folder) for key, item in value.items()}
    return tuple(_absolute(item, folder) for item in value) if isinstance(value, tuple) else value


def load_console_settings(path: Path | None, **overrides: Any) -> ConsoleSettings:
    """Settings from `path` (YAML), then `overrides` that are not None.

    Raises ConfigurationError(SETTINGS_INVALID) that names the key.
    """
    return _load(ConsoleSettings, path, overrides)


def load_playground_settings(path: Path | None, **overrides: Any) -> PlaygroundSettings:
    """As `load_console_settings`."""
    return _load(PlaygroundSettings, path, overrides)


def load_openai_settings(path: Path | None, **overrides: Any) -> OpenAISettings:
    """As `load_console_settings`."""
    return _load(OpenAISettings, path, overrides)


def _load(model: type[S], path: Path | None, overrides: Mapping[str, Any]) -> S:
    values = {**_from_file(path), **{name: value for name, value in overrides.items() if value is not None}}
    try:
        return model(**values).resolved(path.parent.resolve() if path else Path.cwd())
    except ValidationError as error:
        raise _invalid(error) from None


def _resolved_socket(address: str | None, folder: Path) -> str | None:
    """An address with the path of its socket counted from `folder`."""
    if address is None or not address.startswith(UNIX):
        return address
    return UNIX + str(folder / address.removeprefix(UNIX).removeprefix("//"))


def _is_local(address: str) -> bool:
    return address.startswith(UNIX) or address.rpartition(":")[0] in {"127.0.0.1", "localhost", "[::1]"}


def load_settings(path: Path | None, **overrides: Any) -> Settings:
    """Settings from `path` (YAML), then GUARDEDVLM_* variables, then `overrides` that are not None.

    Raises ConfigurationError(SETTINGS_INVALID) that names the key.
    """
    folder = path.parent.resolve() if path else Path.cwd()
    values: dict[str, Any] = {**_from_file(path), **_from_environment()}
    values |= {name: value for name, value in overrides.items() if value is not None}
    try:
        return Settings(**values).resolved(folder)
    except ValidationError as error:
        raise _invalid(error) from None


def inference_settings(**values: Any) -> InferenceSettings:
    """Settings of an inference service. Raises ConfigurationError(SETTINGS_INVALID) that names the key."""
    try:
        return InferenceSettings(**{name: value for name, value in values.items() if value is not None})
    except ValidationError as error:
        raise _invalid(error) from None


def _invalid(error: ValidationError) -> ConfigurationError:
    first = error.errors(include_input=False, include_url=False)[0]
    place = ".".join(str(part) for part in first["loc"]) or "settings"
    return ConfigurationError(Reason.SETTINGS_INVALID, place=place, explanation=first["msg"])


def _from_file(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        found = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError):
        raise ConfigurationError(Reason.SETTINGS_INVALID, place=path.name, explanation="cannot be read") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{path.name}:{mark.line + 1}" if mark else path.name
        raise ConfigurationError(Reason.SETTINGS_INVALID, place=place, explanation="is not YAML") from None
    if not isinstance(found, dict):
        raise ConfigurationError(Reason.SETTINGS_INVALID, place=path.name, explanation="holds no settings")
    return found


def _from_environment() -> dict[str, Any]:
    """GUARDEDVLM_LISTEN=... -> {"listen": ...}; values are parsed as YAML, so that tls may be given as a mapping."""
    found = {}
    for name, value in os.environ.items():
        if name.startswith(ENVIRONMENT_PREFIX):
            found[name.removeprefix(ENVIRONMENT_PREFIX).lower()] = yaml.safe_load(value)
    return found
