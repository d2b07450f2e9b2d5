"""What a user would otherwise pick, run beside the product in the same minutes on the same machine.

Peers live in a virtual environment of their own, never the project's: `python -m bench peers` makes it.
"""
