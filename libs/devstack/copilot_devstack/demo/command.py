"""`copilot demo`. Only typer is imported up front: every `copilot` command loads this module."""

import typer


def demo() -> None:
    """Show the main job on real documents, and check what it promises. Needs no key and no network.

    A stack of its own comes up in a temporary folder and goes again; `.copilot` is not touched. With a provider's key
    in the environment the answers come from that provider.
    """
    from copilot_devstack.demo.play import play
    from copilot_devstack.terminal import reporting

    with reporting():
        raise typer.Exit(0 if play() else 1)
