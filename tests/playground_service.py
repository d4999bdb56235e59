"""A GuardService for tests of the playground: it writes down who called and what came."""

import grpc

from guardedvlm.policy.load import load_policy
from guardedvlm.policy.shipped import default_policies
from guardedvlm.transport.tls import peer_sans
from guardedvlm.v1 import guard_pb2 as pb
from guardedvlm.v1.guard_pb2_grpc import GuardServiceServicer


def policy_text(name="finance"):
    return load_policy(default_policies() / name / "policy.yaml").canonical()


class Recorder(GuardServiceServicer):
    """Answers everybody, or, with `known`, those tokens alone."""

    def __init__(self, policy_json, known=()):
        self._policy = policy_json
        self._known = {f"Bearer {token}" for token in known}
        self.tokens, self.sans, self.contents, self.questions = set(), set(), [], []

    async def _identify(self, context):
        token = dict(context.invocation_metadata()).get("authorization")
        if self._known and token not in self._known:
            await context.abort(grpc.StatusCode.UNAUTHENTICATED)
        self.tokens |= {token} - {None}
        self.sans |= set(peer_sans(context.auth_context()))

    async def GetPolicy(self, request, context):
        await self._identify(context)
        return pb.GetPolicyResponse(name="finance", policy_json=self._policy)

    async def StreamRedactImage(self, request, context):
        await self._identify(context)
        self.contents.append(request.document.content)
        yield pb.StreamRedactImageResponse(progress=pb.Progress(stage="read", page=1, pages=1))
        yield pb.StreamRedactImageResponse(result=pb.RedactImageResponse(audit_id="heard"))

    async def StreamAnalyzeImage(self, request, context):
        await self._identify(context)
        self.contents.append(request.document.content)
        self.questions.append(request.query.question)
        yield pb.StreamAnalyzeImageResponse(done=pb.Analysis(audit_id="heard"))
