"""How long a connection may be silent and how old it may become: what a service behind a load balancer needs."""

from __future__ import annotations

KEEPALIVE_SECONDS = 60.0
"""Between two pings of a silent connection. Load balancers drop idle ones after some minutes, and tell neither side."""
KEEPALIVE_TIMEOUT_SECONDS = 20.0
"""Without an answer to a ping for so long a connection is dead."""
MAX_AGE_SECONDS = 1_800.0
"""After which a connection is asked to be made anew: a balancer that spreads connections finds new replicas so."""
MAX_AGE_GRACE_SECONDS = 660.0
"""What calls that run then have left: more than the 600 seconds that a policy may allow one."""
