"""What the context leaves to be done in the background."""

from copilot_common.tenancy import Transaction
from copilot_domain.context.repository import ContextRepository, ItemRow


async def request_ingestion(tx: Transaction, item: ItemRow) -> ItemRow:
    """The item is pending, of a new generation; what was begun for an earlier one changes nothing any more."""
    return await ContextRepository().request_ingestion(tx, item.id)
