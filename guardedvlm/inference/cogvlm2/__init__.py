"""CogVLM2 as an engine: `model` (checkpoint, prompt, steps, in one thread), `prefixes` (the KV of pictures), `engine`
(the port)."""
