"""`copilot models`."""

from typing import TYPE_CHECKING

import typer

from copilot_cli.options import USER_PANEL, AsJson

if TYPE_CHECKING:
    from copilot_cli.client.types import Model


def register(app: typer.Typer) -> None:
    app.command(rich_help_panel=USER_PANEL)(models)


def models(as_json: AsJson = False) -> None:
    """List the models, their prices in USD per million tokens, and which of them are configured."""
    from copilot_cli.client import ApiClient
    from copilot_cli.output import print_json, print_table
    from copilot_cli.places import Places

    with ApiClient(Places.here().remote()) as client:
        found = client.models()
    if as_json:
        print_json(found)
    else:
        columns = ["model", "provider", "configured", "window", "input", "output", "cached", "capabilities"]
        print_table(columns, map(_row, found), empty="This API lists no models; provider/model-id works all the same.")


def _row(model: "Model") -> tuple[object, ...]:
    prices = model.prices
    shown = (
        ("unknown",) * 3
        if prices is None
        else (f"${price:f}" for price in (prices.input, prices.output, prices.cached_input))
    )
    return model.id, model.provider, model.configured, model.context_window, *shown, model.capabilities
