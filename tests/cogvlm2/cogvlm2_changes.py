"""Ways to break a checkpoint."""

import json

from safetensors.torch import load_file, save_file

from guardedvlm.cogvlm2 import headers


def change_json(path, **changes):
    """Change keys of a JSON file, those of an inner object one by one; None removes a key."""
    content = json.loads(path.read_text())
    for key, value in changes.items():
        is_inner = isinstance(value, dict) and key == "vision_config"
        content[key] = content[key] | value if is_inner else value
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))


def change_tensors(directory, change):
    """Rewrite the one tensor file of a checkpoint."""
    path = directory / headers.SINGLE
    save_file({name: value.contiguous() for name, value in change(load_file(path)).items()}, path, {"format": "pt"})
