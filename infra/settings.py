"""Settings from the environment (prefix ``SEATHOLD_``) and ``.env``; safe in development."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import (
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from domain.limits import OFFER_SECONDS
from domain.outbound import OutboundPolicy
from domain.payment_policy import PaymentMode
from domain.refund import Bracket, parse_brackets
from infra import production
from infra.codec import parse_keys
from infra.keys import KeyRing
from infra.networks import Networks, Words
from infra.sealing import SealRing
from services.work import HoldLimits, LateLimits

DEV_JWT_SEED = production.DEV_JWT_SEED
DEV_PAYLOAD_KEYS = production.DEV_PAYLOAD_KEYS
DEV_WEBHOOK_SECRET = production.DEV_WEBHOOK_SECRET
# What the cool-downs are where nobody set them: a person who means to buy stays far below.
COOL_DOWN_HOLDS = 6

PREFIX = "SEATHOLD_"
# A letter or two apart; the names that are not settings (`SEATHOLD_SEED`) are further from any.
NEARLY = 0.85
LOOPBACK = "127.0.0.0/8,::1/128"
DEV_PARTNER_KEYS = production.DEV_PARTNER_KEYS


# Set but empty is not set: compose files pass every variable on.
OptionalSecret = Annotated[
    SecretStr | None, BeforeValidator(lambda value: None if value == "" else value)
]


class Settings(BaseSettings):
    """Everything a process needs to know about its surroundings.

    Durations are seconds. ``database_url`` is a libpq URL (``postgresql://``) of the
    application's role; ``migrate_database_url`` one of the role that owns the tables, where that
    is another.

    Raises:
        ValueError: ``env`` is ``production`` and something is set as for development (each
            by its name, see ``infra/production.py``), Stripe is on and has no secret for its
            webhooks, or the refund brackets make no sense.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=".env",
        extra="ignore",
        hide_input_in_errors=True,  # else a refusal at the start prints the secrets it was given
    )

    env: Literal["dev", "production"] = "dev"
    database_url: SecretStr = SecretStr("postgresql://seathold:seathold@127.0.0.1:5433/seathold")
    migrate_database_url: OptionalSecret = None
    redis_url: SecretStr = SecretStr("redis://127.0.0.1:6379/0")

    hold_seconds: int = Field(600, ge=1, le=1800)
    hold_max_seconds: int = Field(1800, ge=1)
    payment_grace_seconds: int = Field(120, ge=1)
    # The same where the buyer has paid and the money is still on its way: a bank's debit, say.
    payment_settling_grace_seconds: int = Field(600, ge=0)
    payment_retry_seconds: float = Field(5, gt=0, le=60)
    late_window_seconds: int = Field(900, ge=0)
    refund_brackets: str = "24h:100,2h:50"
    box_office_refund_max: int = Field(5000, ge=0)  # minor units, of a sum that it names itself
    refunds_per_second: float = Field(5, gt=0, le=100)
    rate_limit_per_minute: int = Field(100, ge=0)
    max_seats_per_booking: int = Field(10, ge=1, le=50)
    max_seats_per_user_show: int = Field(20, ge=1)
    max_live_holds_per_user: int = Field(3, ge=1)
    # Unpaid holds that ran out, and holds of one show that their buyer cancelled, within the
    # window before a new one is refused. 0 = off; not set = 6, and off where rate limits are.
    max_lapsed_holds: int | None = Field(None, ge=0)
    max_cancelled_holds_per_show: int | None = Field(None, ge=0)
    cool_down_seconds: int = Field(3600, ge=1)
    access_token_seconds: int = Field(600, ge=1, le=600)
    session_seconds: int = Field(30 * 24 * 3600, ge=60)
    session_idle_seconds: int = Field(14 * 24 * 3600, ge=60)
    # `lenient` and `strict` are refused until a reserve is judged by them.
    orphan_rule: Literal["off"] = "off"

    api_host: str = "127.0.0.1"
    api_port: int = Field(8081, ge=0, le=65_535)
    # How many processes `seathold dev` starts; elsewhere run as many commands or containers.
    api_workers: int = Field(1, ge=1)
    worker_processes: int = Field(1, ge=1)
    db_pool_size: int = Field(10, ge=1)
    public_url: str = "http://127.0.0.1:8081"
    # Where mailed links lead: the pages of whoever serves people. Not set: /account of
    # public_url, in development; production says it.
    account_url: str = ""
    # Where the pay page sends buyers back to; {booking_id} stands for the booking. Not set: /back
    # of public_url.
    return_url: str = ""
    # Where browsers find the codec server: https://host[:port]. Not set: on this machine.
    codec_origin: str = ""

    # Whose X-Forwarded-For is believed: networks with commas. Nobody's, unless set.
    trusted_proxies: Networks = ()
    # Who may read /metrics. Not set: everybody in development, nobody in production.
    metrics_networks: Networks = ()
    # Origins (scheme://host[:port]) whose pages may call the API from a browser. None, unless set.
    cors_origins: Words = ()
    # The names under which the API is reached. Not set: any in development, in production that
    # of public_url.
    allowed_hosts: Words = ()
    # /docs and /openapi.json, which development always has.
    public_docs: bool = False

    payment_mode: PaymentMode = PaymentMode.CAPTURE
    sandbox_url: str = "http://127.0.0.1:8090"
    webhook_secret: SecretStr = SecretStr(DEV_WEBHOOK_SECRET)
    webhook_secret_previous: OptionalSecret = None
    stripe_api_key: OptionalSecret = None
    stripe_webhook_secret: OptionalSecret = None
    stripe_webhook_secret_previous: OptionalSecret = None
    jwt_seed: SecretStr = SecretStr(DEV_JWT_SEED)
    # Whether a role's power needs a session opened with a code; unset: in production.
    staff_totp: Literal["off", "required"] | None = None
    # Comma-separated: yesterday's seeds, or tomorrow's, whose signatures are accepted too.
    jwt_verify_seeds: SecretStr = SecretStr("")
    # What seals our payloads in Temporal: name:base64 of 32 bytes, the newest first.
    payload_keys: SecretStr = SecretStr(DEV_PAYLOAD_KEYS)

    partner_secret_keys: SecretStr = SecretStr(DEV_PARTNER_KEYS)
    partner_ports: str = "443,8443"
    partner_private_networks: str | None = None

    smtp_host: str = "127.0.0.1"
    smtp_port: int = Field(8026, ge=1, le=65_535)
    smtp_user: str | None = None
    smtp_password: OptionalSecret = None
    # Whether mail goes by TLS or not at all. Unset: in production to another machine, and
    # wherever a password goes along.
    smtp_tls: Literal["offered", "required"] | None = None
    mail_from: str = "Seathold <tickets@seathold.test>"
    sms_url: str = "http://127.0.0.1:8025/api/sms"

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_json: bool = True

    @model_validator(mode="after")
    def refuse_what_is_for_development(self) -> Self:
        if self.env == "production" and (reasons := production.refusals(self)):
            raise ValueError("\n".join(reasons))
        return self

    @model_validator(mode="after")
    def require_signed_webhooks(self) -> Self:
        if self.stripe_api_key is not None and self.stripe_webhook_secret is None:
            raise ValueError("SEATHOLD_STRIPE_API_KEY needs SEATHOLD_STRIPE_WEBHOOK_SECRET")
        return self

    @field_validator("payload_keys")
    @classmethod
    def require_keys(cls, keys: SecretStr) -> SecretStr:
        parse_keys(keys.get_secret_value())
        return keys

    @field_validator("refund_brackets")
    @classmethod
    def require_sound_brackets(cls, text: str) -> str:
        parse_brackets(text)
        return text

    # One for each, so that a refusal names the setting.
    @field_validator("partner_secret_keys")
    @classmethod
    def require_partner_keys(cls, keys: SecretStr) -> SecretStr:
        SealRing(keys.get_secret_value())
        return keys

    @field_validator("partner_ports")
    @classmethod
    def require_ports(cls, text: str) -> str:
        if not all(port.strip().isdecimal() for port in text.split(",")):
            raise ValueError("ports are numbers, separated by commas")
        return text

    @field_validator("partner_private_networks")
    @classmethod
    def require_networks(cls, text: str | None) -> str | None:
        _networks(text or "")
        return text

    @field_validator("database_url", "migrate_database_url")
    @classmethod
    def require_libpq_url(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None and not url.get_secret_value().startswith("postgresql://"):
            raise ValueError("begins with postgresql://")
        return url

    @field_validator("redis_url")
    @classmethod
    def require_redis_url(cls, url: SecretStr) -> SecretStr:
        if not url.get_secret_value().startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("begins with redis:// or rediss://")
        return url

    @property
    def partner_policy(self) -> OutboundPolicy:
        """Where partners' webhooks may go. In development also to this machine, in plain HTTP."""
        if self.env == "production":
            ports = frozenset(int(port) for port in self.partner_ports.split(","))
            return OutboundPolicy(https_only=True, ports=ports)
        written = self.partner_private_networks
        exempt = _networks(LOOPBACK if written is None else written)
        return OutboundPolicy(https_only=False, ports=None, exempt=exempt)

    @property
    def account_pages(self) -> str:
        """Below which the pages are that mailed links lead to."""
        return self.account_url or self.public_url.rstrip("/") + "/account"

    def back_from(self, booking_id: UUID) -> str:
        """Where the pay page of this booking sends its buyer back to."""
        where = self.return_url or self.public_url.rstrip("/") + "/back"
        return where.replace("{booking_id}", str(booking_id))

    @property
    def smtp_needs_tls(self) -> bool:
        if self.smtp_tls is not None:
            return self.smtp_tls == "required"
        away = self.env == "production" and not production.is_loopback(self.smtp_host)
        return away or self.smtp_password is not None

    @property
    def staff_needs_second_factor(self) -> bool:
        return (self.staff_totp or ("required" if self.env == "production" else "off")) != "off"

    @property
    def key_ring(self) -> KeyRing:
        """Every key that is ours alone."""
        return KeyRing(self.jwt_seed.get_secret_value(), self.accepted_seeds)

    @property
    def accepted_seeds(self) -> tuple[str, ...]:
        """The seeds besides ``jwt_seed`` whose tokens are taken."""
        told = self.jwt_verify_seeds.get_secret_value().split(",")
        return tuple(seed.strip() for seed in told if seed.strip())

    @property
    def brackets(self) -> tuple[Bracket, ...]:
        """How much of a seat's price goes back, by the time left before the show."""
        return parse_brackets(self.refund_brackets)

    @property
    def hold_limits(self) -> HoldLimits:
        """The part of a booking's brief that is configuration."""
        return HoldLimits(
            hold_seconds=self.hold_seconds,
            hold_max_seconds=self.hold_max_seconds,
            grace_seconds=self.payment_grace_seconds,
            settling_grace_seconds=self.payment_settling_grace_seconds,
            payment_retry_seconds=self.payment_retry_seconds,
            max_seats_per_user_show=self.max_seats_per_user_show,
            max_live_holds_per_user=self.max_live_holds_per_user,
            max_lapsed_holds=self._cool_down(self.max_lapsed_holds),
            max_cancelled_holds_per_show=self._cool_down(self.max_cancelled_holds_per_show),
            cool_down_seconds=self.cool_down_seconds,
        )

    def _cool_down(self, asked: int | None) -> int:
        if asked is not None:
            return asked
        return COOL_DOWN_HOLDS if self.rate_limit_per_minute else 0

    @property
    def late_limits(self) -> LateLimits:
        """What late money is judged by."""
        return LateLimits(
            window_seconds=self.late_window_seconds,
            offer_seconds=OFFER_SECONDS,
            max_seats_per_user_show=self.max_seats_per_user_show,
        )

    @property
    def sqlalchemy_url(self) -> str:
        """The database URL with the psycopg 3 driver named."""
        return _with_driver(self.database_url.get_secret_value())

    @property
    def migrate_url(self) -> str:
        """The libpq URL of the role that owns the tables."""
        return (self.migrate_database_url or self.database_url).get_secret_value()

    @property
    def migrate_sqlalchemy_url(self) -> str:
        return _with_driver(self.migrate_url)


def refusals(error: ValidationError) -> list[str]:
    """What is wrong with the settings, one sentence each, by the variable's name."""
    found = []
    for one in error.errors():
        said = str(one["msg"]).removeprefix("Value error, ")
        name = "".join(f"SEATHOLD_{str(part).upper()}: " for part in one["loc"][:1])
        found += [f"{name}{reason}" for reason in said.splitlines()]
    return found


def misspelt(given: Iterable[str]) -> dict[str, str]:
    """Of names of variables those that are no setting of ours but nearly: the setting's name.

    They change nothing. What is not near to any may be for others who share our prefix.
    """
    known = [name.upper() for name in Settings.model_fields]
    found = {}
    for name in given:
        ours, rest = name.upper().startswith(PREFIX), name.upper().removeprefix(PREFIX)
        if ours and rest not in known and (near := get_close_matches(rest, known, 1, NEARLY)):
            found[name] = PREFIX + near[0]
    return found


def _networks(text: str) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(ip_network(one.strip()) for one in text.split(",") if one.strip())


def _with_driver(url: str) -> str:
    return url.replace("postgresql://", "postgresql+psycopg://", 1)
