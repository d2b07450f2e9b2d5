"""The services of this slice, put together; one module per operation does the work."""

from copilot_common.auth.passwords import Passwords
from copilot_common.auth.signed_ids import invite_tokens
from copilot_common.auth.tokens import AccessTokens
from copilot_common.limits import Limiter, Lockout
from copilot_common.platform.settings import Settings
from copilot_common.tenancy import TenantDatabase
from copilot_domain.tenants.administration import PlatformService
from copilot_domain.tenants.invites import InviteService
from copilot_domain.tenants.registration import RegistrationService
from copilot_domain.tenants.sessions import SessionService


class TenantServices:
    """One per process: the bound on concurrent password hashes is in it."""

    def __init__(
        self,
        db: TenantDatabase,
        limiter: Limiter,
        settings: Settings,
        *,
        access_tokens: AccessTokens,
        passwords: Passwords | None = None,
    ) -> None:
        passwords, lockout = passwords or Passwords(), Lockout(limiter)
        self.invites = InviteService(invite_tokens(settings.jwt_secret))
        self.platform = PlatformService(self.invites)
        self.sessions = SessionService(
            db,
            passwords=passwords,
            lockout=lockout,
            access_tokens=access_tokens,
            jwt_secret=settings.jwt_secret,
            refresh_ttl_seconds=settings.refresh_token_ttl_seconds,
        )
        self.registration = RegistrationService(
            db, mode=settings.registration, invites=self.invites, passwords=passwords, lockout=lockout
        )
