"""A front that speaks OpenAI's chat completions, for tools that cannot speak gRPC.

    tool --HTTP--> this process --gRPC, under the tool's own bearer token--> the guard

It is a process of its own: it decodes nothing, decides nothing, keeps nothing and has no identity, so that there is one
pipeline, one admission and one ledger. What the service cannot keep is refused, and never left out without a word.

    chat.py       a request's JSON -> what is asked for, or a refusal
    completion.py what the guard gave -> OpenAI's objects and events
    schema.py     OpenAI's strict schemas -> the service's
    events.py     server-sent events, and callers who go away
    failure.py    GuardedVLMError -> OpenAI's error object and an HTTP status
    app.py        routes
"""
