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

    current, default = settings_or_usage(), Settings.model_construct()
    values, defaults = current.model_dump(mode="json"), default.model_dump(mode="json")
    rows = {
        variable(name): {
            "value": values[name],
            "default": defaults[name],
            "set": name in current.model_fields_set,
            "meaning": field.description,
        }
        for name, field in Settings.model_fields.items()
    }
    if as_json:
        print_json(rows)
        return
    print_table(
        ("variable", "value", "default", "meaning~"),
        [
            (
                variable(name),
                Text(_show(getattr(current, name), values[name]), style="bold" if row["set"] else ""),
                _show(getattr(default, name), defaults[name]),
                str(row["meaning"]),
            )
            for name, row in zip(Settings.model_fields, rows.values(), strict=True)
        ],
        optional=("default",),
    )


def _show(value: object, dumped: object) -> str:
    """The value for a person: none is nothing, a secret is masked, and one that everybody knows is called so."""
    from pydantic import SecretStr

    from orderflow.settings import PUBLIC_SECRETS

    if isinstance(value, SecretStr) and value.get_secret_value() in PUBLIC_SECRETS:
        return f"{dumped} (the simulator's, public)"
    return "" if dumped is None else str(dumped)
