"""A request that is over, in a ledger, for tests of receipts."""

from guardedvlm.audit.receipt import Closed
from guardedvlm.audit.request import RequestLog
from guardedvlm.core.lifecycle import State
from guardedvlm.errors import Reason

DOCUMENT = b"the document's bytes"
REDACTED = b"the redacted file's bytes"
PAGES = ("ab" * 32, "cd" * 32)


async def lived(ledger, life, *, until=State.RELEASED, reason=None):
    """A request of which `until` is the last state; with `reason` it is then refused."""
    log = await RequestLog.begin(ledger, **life[State.RECEIVED])
    for state, facts in list(life.items())[1:]:
        if log.state is until:
            break
        await log.advance(state, **facts)
    if reason is not None:
        await log.advance(State.REFUSED, reason=reason)
    return log


async def closed(ledger, life, **options):
    """What such a request leaves for its receipt."""
    log = await lived(ledger, life, **options)
    return Closed.of(log.records, log.log, PAGES)


async def refused(ledger, life):
    return await closed(ledger, life, until=State.DECODED, reason=Reason.RESIDUAL_FOUND)
