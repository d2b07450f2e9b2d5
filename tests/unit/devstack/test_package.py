import subprocess
import sys

import copilot_devstack


def test_the_public_names_are_these_and_each_can_be_imported() -> None:
    assert copilot_devstack.__all__ == [
        "DevState",
        "EmbeddedPostgres",
        "EmbeddedRedis",
        "Home",
        "Stack",
        "StackError",
        "TemporaryStores",
        "find_home",
        "load_dev_state",
    ]
    for name in copilot_devstack.__all__:
        assert getattr(copilot_devstack, name).__name__ == name


def test_registering_the_commands_loads_neither_the_servers_nor_the_domain() -> None:
    code = "import sys, copilot_devstack.commands; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"copilot_devstack.stack", "copilot_domain", "psycopg", "psutil"} & set(loaded)
