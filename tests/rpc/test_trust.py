"""Who is let in by a real server while what it trusts changes: tokens, certificates, roles, a provider's tokens."""

import json
import re
import shutil
import time
from contextlib import asynccontextmanager

import grpc
import pytest
import yaml
from grpc_health.v1 import health_pb2, health_pb2_grpc
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet
from running_service import free_port

from guardedvlm.backends.local import LocalBackend
from guardedvlm.cli.init import make_site
from guardedvlm.config import load_settings
from guardedvlm.policy.store import PolicyStore
from guardedvlm.rpc.server import GuardServer
from guardedvlm.rpc.service import GuardService
from guardedvlm.transport.dev_pki import write_dev_pki
from guardedvlm.transport.identity import new_token
from guardedvlm.transport.reload import TRUST
from guardedvlm.transport.secret_file import read_key
from guardedvlm.transport.status import error_from_rpc
from guardedvlm.transport.tls import channel_credentials
from guardedvlm.trust import TOKENS_KEY, Trust
from guardedvlm.v1 import guard_pb2 as pb
from guardedvlm.v1.guard_pb2_grpc import GuardServiceStub

KEY = ECKey.generate_key("P-256", {"kid": "k1"})


class Running:
    """A server with everything but a pipeline: GetPolicy tells who was let in."""

    def __init__(self, site, trust, port, health_port):
        self.site, self.trust, self.port, self.health_port = site, trust, port, health_port

    def channel(self, credentials=None):
        options = [("grpc.use_local_subchannel_pool", 1)]
        return grpc.aio.secure_channel(f"localhost:{self.port}", credentials or self.trusting(), options)

    def trusting(self, name=None):
        folder = self.site.pki.ca.parent
        pair = (folder / f"client-{name}.pem", folder / f"client-{name}.key") if name else ()
        return channel_credentials(self.site.pki.ca, *pair)

    async def told(self, channel, token=""):
        """The policy's name, or the reason of the refusal."""
        metadata = (("authorization", f"Bearer {token}"),) if token else ()
        try:
            answer = await GuardServiceStub(channel).GetPolicy(pb.GetPolicyRequest(), metadata=metadata, timeout=20)
        except grpc.aio.AioRpcError as failure:
            return error_from_rpc(failure).reason.value
        return answer.name

    async def asked(self, token="", credentials=None):
        async with self.channel(credentials) as channel:
            return await self.told(channel, token)

    def write_tenants(self, change):
        path = self.site.config.parent / "tenants.yaml"
        path.write_text(change(path.read_text()))

    async def trusted(self):
        async with grpc.aio.insecure_channel(f"127.0.0.1:{self.health_port}") as channel:
            found = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=TRUST))
            return found.status == health_pb2.HealthCheckResponse.SERVING

    async def look(self, server):
        await self.trust.look()
        await server.health.set_ready(TRUST, not any(self.trust.broken().values()))


@asynccontextmanager
async def running(folder, change=lambda settings: None, tenants=lambda text: text):
    site = make_site(folder / "site", "localhost:0", "127.0.0.1:0")
    values = yaml.safe_load(site.config.read_text())
    change(values)
    site.config.write_text(yaml.safe_dump(values))
    path = site.config.parent / "tenants.yaml"
    path.write_text(tenants(path.read_text()))
    settings = load_settings(site.config)
    policies = PolicyStore(settings.policies)
    trust = await Trust.load(settings, policies)
    service = GuardService(None, policies, trust.identities, None, None)
    trust.watch(service.take_identities, LocalBackend(None))
    server = GuardServer(service)
    health = free_port()
    (port,) = await server.start(trust.listeners(), f"127.0.0.1:{health}")
    found = Running(site, trust, port, health)
    found.server = server
    try:
        await found.look(server)
        yield found
    finally:
        await server.stop(0)
        await trust.close()


async def test_a_token_that_was_taken_away_is_refused_at_once(tmp_path):
    """Also on a connection that is open; a file that cannot be used changes nothing, and is told."""
    async with running(tmp_path) as service:
        token = service.site.tokens["clinic"].read_text().strip()
        async with service.channel() as channel:
            assert await service.told(channel, token) == "healthcare"
            service.write_tenants(lambda text: text + "  - {name: broken}\n")
            await service.look(service.server)
            assert (await service.told(channel, token), await service.trusted()) == ("healthcare", False)

            new, stored = new_token(read_key(service.site.config.parent / "keys" / TOKENS_KEY))
            service.write_tenants(lambda text: text.replace("  - {name: broken}\n", ""))
            service.write_tenants(lambda text: re.sub(r'"hmac-sha256:\w+"', f'"{stored}"', text, count=1))
            await service.look(service.server)
            assert await service.told(channel, token) == "UNAUTHENTICATED"
            assert (await service.told(channel, new), await service.trusted()) == ("healthcare", True)


async def test_certificates_rotate_while_it_serves(tmp_path):
    def mutual(settings):
        settings["tls"]["client_ca"] = "tls/ca.pem"

    async with running(tmp_path, mutual) as service:
        old = service.trusting("clinic")
        async with service.channel(old) as open_before:
            assert await service.told(open_before) == "healthcare"
            fresh = write_dev_pki(tmp_path / "fresh", ("clinic", "bank")).ca.parent
            shutil.copytree(fresh, service.site.pki.ca.parent, dirs_exist_ok=True)
            await service.look(service.server)
            assert await service.asked(credentials=service.trusting("bank")) == "finance"
            assert await service.asked(credentials=old) == "SERVICE_UNAVAILABLE"
            assert await service.told(open_before) == "healthcare"
            # What a connection proved is looked up anew for every call.
            service.write_tenants(lambda text: text.replace("internal/clinic", "internal/other"))
            await service.look(service.server)
            assert await service.told(open_before) == "UNAUTHENTICATED"


def provided(settings):
    settings["jwt"] = {
        "issuer": "https://idp.example",
        "audience": "guardedvlm",
        "jwks": "jwks.json",
        "claims": {"client": "azp", "roles": "roles"},
    }


def by_provider(text):
    roles = "jwt_roles: {ask: caller, office: policy-admin, seal: reidentify}\n"
    return roles + text.replace(
        "    tenant: bank\n    roles: [caller]\n",
        "    tenant: bank\n    jwt: {client: bank-7}\n    roles: [caller, policy-admin, reviewer]\n",
    )


def jwt_of(roles, key=KEY, **claims):
    now = int(time.time())
    said = {"iss": "https://idp.example", "aud": "guardedvlm", "azp": "bank-7", "iat": now, "exp": now + 60}
    return jwt.encode({"alg": "ES256", "kid": key.kid}, {**said, "roles": roles, **claims}, key, ["ES256"])


async def test_tokens_of_a_provider(tmp_path):
    (tmp_path / "site").mkdir()
    jwks = tmp_path / "jwks.json"
    jwks.write_text(json.dumps(KeySet([KEY]).as_dict(private=False)))

    def from_outside(settings):
        provided(settings)
        settings["jwt"]["jwks"] = str(jwks)

    async with running(tmp_path, from_outside, by_provider) as service:
        assert await service.asked(jwt_of(["ask"])) == "finance"
        assert await service.asked(jwt_of(["office"])) == "finance"
        assert await service.asked(jwt_of(["seal", "unknown"])) == "ROLE_MISSING"
        assert await service.asked(jwt_of(["ask"], exp=1)) == "UNAUTHENTICATED"
        other = ECKey.generate_key("P-256", {"kid": "k2"})
        assert await service.asked(jwt_of(["ask"], other)) == "UNAUTHENTICATED"
        assert await service.asked(service.site.tokens["bank"].read_text().strip()) == "finance"


async def test_a_role_is_demanded_for_what_it_is_for(tmp_path):
    """Who may only read policies asks nothing: before a document is looked at."""

    def only_admin(text):
        return text.replace("roles: [caller]", "roles: [policy-admin]", 1)

    async with running(tmp_path, tenants=only_admin) as service, service.channel() as channel:
        token = service.site.tokens["clinic"].read_text().strip()
        assert await service.told(channel, token) == "healthcare"
        stub, metadata = GuardServiceStub(channel), (("authorization", f"Bearer {token}"),)
        for method, request in (
            (stub.AnalyzeImage, pb.AnalyzeImageRequest()),
            (stub.RedactImage, pb.RedactImageRequest()),
            (stub.ExtractFields, pb.ExtractFieldsRequest()),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await method(request, metadata=metadata, timeout=20)
            assert error_from_rpc(caught.value).reason.value == "ROLE_MISSING"
