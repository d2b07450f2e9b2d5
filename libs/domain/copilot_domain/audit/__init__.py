"""Reading the audit log; `copilot_common.tenancy.audit` writes it."""

from copilot_domain.audit.repository import AuditFilter
from copilot_domain.audit.service import Actor, AuditEntry, list_audit

__all__ = ["Actor", "AuditEntry", "AuditFilter", "list_audit"]
