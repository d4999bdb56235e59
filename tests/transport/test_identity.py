"""Who calls: the tenants file's refusals, and which credentials name whom."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardedvlm.core.tenant import Caller, Role
from guardedvlm.errors import ConfigurationError, NotIdentified, Reason
from guardedvlm.transport.identity import (
    MAX_TOKEN_CHARS,
    Identities,
    bearer_token,
    new_token,
)
from guardedvlm.transport.secret_file import write_key

KEY = bytes(range(32))
GATEWAY_TOKEN, GATEWAY_HMAC = new_token(KEY)
TELLER_TOKEN, TELLER_HMAC = new_token(KEY)
GATEWAY_SAN, TELLER_SAN = "spiffe://hospital.example/gateway", "dns:teller.bank.example"
GATEWAY = Caller("clinic", "gateway", frozenset({Role.CALLER}))
TELLER = Caller("bank", "teller", frozenset({Role.CALLER, Role.REVIEWER}))
FILE = f"""\
tenants:
  clinic: {{policy: healthcare}}
  bank: {{policy: finance}}
callers:
  - name: gateway
    tenant: clinic
    roles: [caller]
    token_hmac: {GATEWAY_HMAC}
    san: ["{GATEWAY_SAN}"]
  - name: teller
    tenant: bank
    roles: [caller, reviewer]
    token_hmac: {TELLER_HMAC}
    san: ["{TELLER_SAN}", "email:teller@bank.example"]
"""


@pytest.fixture(scope="module")
def identities() -> Identities:
    return Identities.parse(FILE, KEY)


def refused(identities: Identities, sans: tuple[str, ...], bearer: str | None) -> None:
    with pytest.raises(NotIdentified) as caught:
        identities.caller(sans, bearer)
    assert caught.value.reason is Reason.UNAUTHENTICATED
    assert caught.value.details == {}  # not even why


class TestCaller:
    def test_by_certificate(self, identities: Identities) -> None:
        assert identities.caller((GATEWAY_SAN,), None) == GATEWAY
        assert identities.caller(("dns:mesh.example", TELLER_SAN), None) == TELLER

    def test_by_token(self, identities: Identities) -> None:
        assert identities.caller((), GATEWAY_TOKEN) == GATEWAY
        assert identities.caller((), TELLER_TOKEN) == TELLER

    def test_by_both_when_they_agree(self, identities: Identities) -> None:
        assert identities.caller((TELLER_SAN, "email:teller@bank.example"), TELLER_TOKEN) == TELLER

    def test_a_certificate_that_names_nobody_is_ignored_beside_a_token(self, identities: Identities) -> None:
        assert identities.caller(("spiffe://mesh.example/workload",), GATEWAY_TOKEN) == GATEWAY

    def test_nobody(self, identities: Identities) -> None:
        refused(identities, (), None)
        refused(identities, ("spiffe://hospital.example/other",), None)

    def test_certificate_and_token_of_different_callers(self, identities: Identities) -> None:
        refused(identities, (GATEWAY_SAN,), TELLER_TOKEN)

    def test_certificate_with_the_names_of_two_callers(self, identities: Identities) -> None:
        refused(identities, (GATEWAY_SAN, TELLER_SAN), None)
        refused(identities, (GATEWAY_SAN, TELLER_SAN), GATEWAY_TOKEN)

    @pytest.mark.parametrize(
        "token",
        [
            "",
            GATEWAY_TOKEN[:-1],
            GATEWAY_TOKEN + "A",
            GATEWAY_TOKEN.upper(),
            GATEWAY_HMAC,  # what stands in the file does not let in
            "A" * (MAX_TOKEN_CHARS + 1),
            "\ud800",
        ],
        ids=["empty", "shorter", "longer", "other case", "what is stored", "too long", "no text"],
    )
    def test_a_wrong_token_is_refused_even_beside_a_known_certificate(self, identities: Identities, token: str) -> None:
        refused(identities, (), token)
        refused(identities, (GATEWAY_SAN,), token)

    def test_a_token_made_under_another_key(self) -> None:
        refused(Identities.parse(FILE, b"\x01" * 32), (), GATEWAY_TOKEN)

    @given(st.lists(st.text(max_size=30), max_size=3), st.none() | st.text(max_size=60))
    def test_what_nobody_was_given_names_nobody(self, sans: list[str], bearer: str | None) -> None:
        refused(Identities.parse(FILE, KEY), tuple(sans), bearer)


def test_policies_of_tenants(identities: Identities) -> None:
    assert identities.tenants == {"clinic", "bank"}
    assert identities.policy_name("clinic") == "healthcare"
    identities.require_policies({"healthcare", "finance", "more"})
    with pytest.raises(NotIdentified) as caught:
        identities.policy_name("insurance")
    assert caught.value.reason is Reason.TENANT_UNKNOWN
    with pytest.raises(ConfigurationError) as missing:
        identities.require_policies({"healthcare"})
    assert missing.value.for_operator() == "POLICY_MISSING: tenants.yaml:3: there is no policy 'finance'"


PUBLIC = "x25519:hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo="  # RFC 7748, section 6.1: Alice's
KEYED = FILE.replace("{policy: healthcare}", f'{{policy: healthcare, reidentify_key: "{PUBLIC}"}}').replace(
    "roles: [caller]", "roles: [caller, reidentify]"
)


def test_the_key_that_a_tenant_seals_for() -> None:
    keyed = Identities.parse(KEYED, KEY)
    assert str(keyed.sealing_key("clinic")) == PUBLIC
    assert keyed.sealing_key("bank") is None
    assert keyed.caller((), GATEWAY_TOKEN).roles == {Role.CALLER, Role.REIDENTIFY}
    with pytest.raises(NotIdentified):
        keyed.sealing_key("insurance")
    with pytest.raises(ConfigurationError) as unknown:
        Identities.parse(KEYED.replace("tenant: clinic", "tenant: hospital"), KEY)
    assert unknown.value.reason is Reason.TENANT_UNKNOWN


@pytest.mark.parametrize(
    ("old", "new", "explanation"),
    [
        (PUBLIC, PUBLIC[:-4], "reidentify_key must be the line that `guardedvlm keys reidentify-init` prints"),
        (f', reidentify_key: "{PUBLIC}"', "", "the role reidentify needs 'reidentify_key' under tenants.clinic"),
        ("[caller, reidentify]", "[reidentify]", "the role reidentify needs the role caller beside it"),
        (
            "[caller, reidentify]",
            "[caller, reidentity]",
            "callers[0].roles[1]: 'reidentity' is not known; did you mean",
        ),
    ],
)
def test_a_role_that_could_not_be_used_is_refused(old: str, new: str, explanation: str) -> None:
    assert old in KEYED
    with pytest.raises(ConfigurationError) as caught:
        Identities.parse(KEYED.replace(old, new), KEY)
    assert caught.value.reason is Reason.SETTINGS_INVALID
    assert explanation in caught.value.explanation


@pytest.mark.parametrize(
    ("old", "new", "reason", "place", "explanation"),
    [
        (
            "tenant: clinic",
            "tenant: hospital",
            Reason.TENANT_UNKNOWN,
            "tenants.yaml:6",
            "tenant 'hospital' is not under 'tenants'",
        ),
        (
            "name: teller",
            "name: gateway",
            Reason.SETTINGS_INVALID,
            "tenants.yaml:10",
            "this name belongs to callers[0], too",
        ),
        (
            TELLER_HMAC,
            GATEWAY_HMAC,
            Reason.SETTINGS_INVALID,
            "tenants.yaml:13",
            "this token belongs to callers[0], too",
        ),
        (TELLER_SAN, GATEWAY_SAN, Reason.SETTINGS_INVALID, "tenants.yaml:14", "this SAN belongs to callers[0], too"),
        (
            TELLER_HMAC,
            "secret-token",
            Reason.SETTINGS_INVALID,
            "tenants.yaml:13",
            "callers[1].token_hmac must have the form ^hmac-sha256:[0-9a-f]{64}$",
        ),
        ("[caller]", "[admin]", Reason.SETTINGS_INVALID, "tenants.yaml:7", None),
        ("[caller]", "[]", Reason.SETTINGS_INVALID, "tenants.yaml:7", "callers[0].roles must have at least 1 entries"),
        ("  clinic:", "  Clinic:", Reason.SETTINGS_INVALID, "tenants.yaml:2", None),
        ("policy: finance", "polcy: finance", Reason.SETTINGS_INVALID, "tenants.yaml:3", None),
        (GATEWAY_SAN, "*.hospital.example", Reason.SETTINGS_INVALID, "tenants.yaml:9", None),
        (GATEWAY_SAN, "dns:*.hospital.example", Reason.SETTINGS_INVALID, "tenants.yaml:9", None),
        (GATEWAY_SAN, "dns:Hospital.example", Reason.SETTINGS_INVALID, "tenants.yaml:9", None),
        (GATEWAY_SAN, "ip:10.0.0.1", Reason.SETTINGS_INVALID, "tenants.yaml:9", None),
        (
            "callers:",
            "callers: []\nx:",
            Reason.SETTINGS_INVALID,
            "tenants.yaml:4",
            "callers must have at least 1 entries",
        ),
    ],
    ids=range(14),  # two of them hold tokens, which each process makes anew
)
def test_a_wrong_file_is_refused(old: str, new: str, reason: Reason, place: str, explanation: str | None) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Identities.parse(FILE.replace(old, new), KEY)
    assert (caught.value.reason, caught.value.place) == (reason, place)
    assert caught.value.explanation == explanation or explanation is None
    assert "secret-token" not in caught.value.for_operator()  # a credential's value is never repeated


def test_a_caller_needs_a_credential() -> None:
    text = "tenants: {clinic: {policy: healthcare}}\ncallers:\n  - {name: a, tenant: clinic, roles: [caller]}\n"
    with pytest.raises(ConfigurationError) as caught:
        Identities.parse(text, KEY)
    assert caught.value.place == "tenants.yaml:3"
    assert caught.value.explanation == "a caller needs 'token_hmac', 'san' or 'jwt'"


@pytest.mark.parametrize("text", ["", "tenants: {}\ncallers: []\n", "- x\n", "tenants: {}\ntenants: {}\n"])
def test_a_file_that_names_nobody_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Identities.parse(text, KEY)
    assert caught.value.reason is Reason.SETTINGS_INVALID


class TestFiles:
    def test_file_and_key_are_loaded(self, tmp_path: Path) -> None:
        key = write_key(tmp_path / "tokens.key")
        token, stored = new_token(key)
        (tmp_path / "tenants.yaml").write_text(FILE.replace(GATEWAY_HMAC, stored))
        found = Identities.load(tmp_path / "tenants.yaml", tmp_path / "tokens.key", {"healthcare", "finance"})
        assert found.caller((), token) == GATEWAY
        refused(found, (), TELLER_TOKEN)

    def test_a_tenant_without_policy_is_refused(self, tmp_path: Path) -> None:
        write_key(tmp_path / "tokens.key")
        (tmp_path / "tenants.yaml").write_text(FILE)
        with pytest.raises(ConfigurationError) as caught:
            Identities.load(tmp_path / "tenants.yaml", tmp_path / "tokens.key", {"finance"})
        assert (caught.value.reason, caught.value.place) == (Reason.POLICY_MISSING, "tenants.yaml:2")

    def test_no_file(self, tmp_path: Path) -> None:
        write_key(tmp_path / "tokens.key")
        with pytest.raises(ConfigurationError) as caught:
            Identities.load(tmp_path / "tenants.yaml", tmp_path / "tokens.key", set())
        assert (caught.value.reason, caught.value.explanation) == (Reason.SETTINGS_INVALID, "does not exist")


class TestBearer:
    def test_none_and_one(self) -> None:
        assert bearer_token([]) is None
        assert bearer_token([("user-agent", "x"), ("authorization", f"Bearer {GATEWAY_TOKEN}")]) == GATEWAY_TOKEN
        assert bearer_token([("Authorization", "bearer abc=")]) == "abc="

    @pytest.mark.parametrize(
        "metadata",
        [
            [("authorization", "Basic dXNlcg==")],
            [("authorization", "Bearer")],
            [("authorization", "Bearer ")],
            [("authorization", "Bearer a b")],
            [("authorization", "Bearer é")],
            [("authorization", "Bearer " + "a" * (MAX_TOKEN_CHARS + 1))],
            [("authorization", b"Bearer abc")],
            [("authorization", "Bearer a"), ("authorization", "Bearer a")],
        ],
    )
    def test_anything_else_is_refused(self, metadata: list[tuple[str, str | bytes]]) -> None:
        with pytest.raises(NotIdentified):
            bearer_token(metadata)


class TestKeyed:
    def test_tokens_are_new_each_time_and_recognisable(self) -> None:
        assert GATEWAY_TOKEN != TELLER_TOKEN
        assert GATEWAY_TOKEN.startswith("gvlm_")
        assert bearer_token([("authorization", f"Bearer {GATEWAY_TOKEN}")]) == GATEWAY_TOKEN

    @pytest.mark.parametrize("key", [b"", b"short", bytes(31)])
    def test_a_short_key_is_a_defect(self, key: bytes) -> None:
        with pytest.raises(ValueError, match="too short"):
            new_token(key)


def test_nothing_secret_shows(identities: Identities) -> None:
    shown = repr(identities) + str(vars(identities).keys()) + repr(identities._document.value)
    assert KEY.hex() not in shown
    assert GATEWAY_HMAC not in shown
