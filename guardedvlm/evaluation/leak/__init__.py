"""The canary harness: what an independent reader can still read on pictures that the guard cleared.

Files in the order of the data: canaries (made-up personal data), fonts, grounds (what they stand on), scene (placing
them), wear (what happens to a picture on its way), adversary (the engine that reads), sinks (where else content could
show), search (is it in there?), measure (all of it).
"""
