"""The playground: a policy author tries a policy on a picture, and sees what it hides and what the screen changed.

A process of zone 1 and of its own: nothing starts it but `guardedvlm playground`, and no other serves its pages. It is
a gateway between a browser and GuardService, and not grpc-web in the guard: the guard keeps one protocol, one listener
and one way to know who calls, and a page's script never holds the credential. A picture comes as the body of one
request, goes to the guard in one message under the identity of the person who logged in, and is forgotten with the
request; nothing of it, of the question or of the answer is written to a disk, a log or a cache. What the browser shows
as "before" is its own file, which is never sent back to it.
"""
