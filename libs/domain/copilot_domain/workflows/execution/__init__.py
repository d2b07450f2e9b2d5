"""How a run is led: its steps done, recorded, waited for. Only the workflow engine imports all of it."""
