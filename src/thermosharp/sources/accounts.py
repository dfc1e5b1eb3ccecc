"""Accounts at the services, as far as sources need to know them."""

from dataclasses import dataclass

from pydantic import SecretStr


@dataclass(frozen=True, kw_only=True)
class Login:
    """An Earthdata account: a token, or a user name and a password."""

    token: SecretStr | None = None
    username: str = ""
    password: SecretStr | None = None

    @property
    def known(self) -> bool:
        """Whether there is anything to log in with."""
        return self.token is not None or self.with_password

    @property
    def with_password(self) -> bool:
        """Whether there are user name and password."""
        return bool(self.username) and self.password is not None

    @property
    def basic(self) -> tuple[str, str]:
        """User name and password, for HTTP."""
        assert self.password is not None
        return self.username, self.password.get_secret_value()
