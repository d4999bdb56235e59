"""How well a policy holds on pictures whose content is known: what `guardedvlm eval` measures.

Files in the order of the data: share (a figure with its interval), samples (a labelled folder), session (the guard that
is measured), coverage (which pixels show nothing), text, documents, faces with conditions, and leak, which makes its
own pictures; report (JSON and HTML).
"""
