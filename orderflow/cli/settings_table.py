"""``orderflow settings``: what can be set, what is set, and what each setting means."""

from __future__ import annotations

import click
from rich.text import Text

from orderflow.cli.outcome import settings_or_usage
from orderflow.cli.output import print_json, print_table


@click.command(epilog="Example: ORDERFLOW_PARKED_MAX_AGE=3d orderflow settings")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def settings(as_json: bool) -> None:
    """All settings: variable, value, default, meaning. Secrets are masked."""
    from orderflow.settings import Settings, variable

    current = settings_or_usage().model_dump(mode="json")
    default = Settings.model_construct().model_dump(mode="json")
    fields = Settings.model_fields
    rows = {
        variable(name): {
            "value": current[name],
            "default": default[name],
            "set": name in settings_or_usage().model_fields_set,
            "meaning": field.description,
        }
        for name, field in fields.items()
    }
    if as_json:
        print_json(rows)
        return
    print_table(
        ("variable", "value", "default", "meaning"),
        [
            (
                name,
                Text(_show(row["value"]), style="bold" if row["set"] else ""),
                _show(row["default"]) if row["set"] else "",
                str(row["meaning"]),
            )
            for name, row in rows.items()
        ],
    )


def _show(value: object) -> str:
    return "" if value is None else str(value)
