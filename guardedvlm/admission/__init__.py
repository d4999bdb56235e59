"""Who may begin, and when: rates and bounds of each tenant, and turns that are shared fairly between tenants.

bucket (rates), times (what requests take), queue (fair turns), gate (all of it for one guard).
"""

from guardedvlm.admission.gate import Gate, Place
from guardedvlm.admission.queue import NEVER

__all__ = ["NEVER", "Gate", "Place"]
