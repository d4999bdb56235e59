"""Write the part `guard.settings` of the chart's schema from the service's own settings.

    python helm/settings_schema.py

Run it after a setting was added; tests/helm compares.
"""

import json
from pathlib import Path
from typing import Any

from guardedvlm.config import Settings

SCHEMA = Path(__file__).parent / "guardedvlm" / "values.schema.json"
PREFIX = "settings."


def settings_definitions() -> dict[str, Any]:
    """Definitions of the settings, without titles and texts; what the service defaults need not be said."""
    made = Settings.model_json_schema()
    parts = {name: _cleaned(part) for name, part in made.pop("$defs").items()}
    return {f"{PREFIX}{name}": part for name, part in sorted(({**parts, "Settings": _cleaned(made)}).items())}


def _cleaned(part: Any) -> Any:
    if isinstance(part, list):
        return [_cleaned(item) for item in part]
    if not isinstance(part, dict):
        return part
    kept = {}
    for key, value in part.items():
        if key == "properties":
            kept[key] = {name: _cleaned(of) for name, of in value.items()}
        elif key == "$ref":
            kept[key] = f"#/definitions/{PREFIX}{value.rpartition('/')[2]}"
        elif key not in {"title", "description", "default", "format"}:
            kept[key] = _cleaned(value)
    return kept


def main() -> None:
    """Replace the definitions in the schema file."""
    schema = json.loads(SCHEMA.read_text("utf-8"))
    others = {name: part for name, part in schema["definitions"].items() if not name.startswith(PREFIX)}
    schema["definitions"] = {**others, **settings_definitions()}
    SCHEMA.write_text(json.dumps(schema, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
