"""What ``SEATHOLD_ENV=production`` refuses to start with, each by its name.

The list is that of the OWASP-based checklist this project keeps to: secrets, debugging, plain text
on a network, doors that stand open to everybody, stand-ins for what costs money.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import os
from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from psycopg import ProgrammingError, pq
from psycopg.conninfo import conninfo_to_dict

if TYPE_CHECKING:
    from infra.settings import Settings

DEV_JWT_SEED = "seathold-development-only-seed-0"
DEV_PAYLOAD_KEYS = "dev:c2VhdGhvbGQtZGV2ZWxvcG1lbnQtcGF5bG9hZC1rZXk="
DEV_PARTNER_KEYS = "dev:c2VhdGhvbGQtZGV2ZWxvcG1lbnQtcGFydG5lci1rZXk="
DEV_WEBHOOK_SECRET = "whsec_c2VhdGhvbGQtZGV2ZWxvcG1lbnQtb25seS1zZWNyZXQ="
DEVELOPMENT = frozenset({DEV_JWT_SEED, DEV_PARTNER_KEYS, DEV_PAYLOAD_KEYS, DEV_WEBHOOK_SECRET})
DEV_PASSWORDS = frozenset(
    {"", "seathold", "seathold-app", "seathold-owner", "postgres", "password", "tests-only"}
)
SINK_SMTP_PORT = 8026
SINK_SMS_PORT = 8025
# RFC 2606 and RFC 6761: nobody has an address there.
NOBODYS_DOMAINS = (".test", ".example", ".invalid", ".localhost", "localhost")

MIN_SECRET_BYTES = 32
MIN_DIFFERENT_BYTES = 8
# Of a password to a server that slows guessing down itself.
MIN_PASSWORD_BYTES = 16
# The shortest prefix of a network that somebody can own.
MIN_PREFIX = {4: 8, 6: 16}
VERIFIED = frozenset({"verify-ca", "verify-full"})
SECRETS = (
    "jwt_seed",
    "jwt_verify_seeds",
    "payload_keys",
    "partner_secret_keys",
    "webhook_secret",
    "webhook_secret_previous",
    "stripe_api_key",
    "stripe_webhook_secret",
    "stripe_webhook_secret_previous",
)


SMTP_PASSWORD = "SEATHOLD_SMTP_PASSWORD"
# For a rotation: each part is a secret of its own.
LISTS = frozenset({"jwt_verify_seeds", "payload_keys", "partner_secret_keys"})


def refusals(settings: Settings) -> list[str]:
    """One sentence for each thing that must not be so in production; it begins with its name."""
    return [
        *_secrets(settings),
        *_servers(settings),
        *_temporal(_temporal_config()),
        *_doors(settings),
        *_addresses(settings),
        *_limits(settings),
        *_stand_ins(settings),
        *_debugging(settings),
    ]


def is_loopback(host: str | None) -> bool:
    """Whether nothing sent there leaves the machine; a path is a socket of this machine."""
    if not host or host == "localhost" or host.startswith("/"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _secrets(settings: Settings) -> Iterator[str]:
    # Of each what it is and how it is written: what is one's key may be another's password.
    found: list[tuple[str, set[bytes]]] = []
    for field, part in _parts(settings):
        name, key = f"SEATHOLD_{field.upper()}", _key_bytes(field, part)
        written = part.rpartition(":")[2].removeprefix("whsec_")
        found.append((name, {key, part.encode(), written.encode()}))
        if part in DEVELOPMENT:
            yield f"{name} is the development secret; set one of your own"
        elif field != "stripe_api_key" and len(key) < MIN_SECRET_BYTES:
            yield f"{name} is shorter than {MIN_SECRET_BYTES} bytes; make one by chance"
        elif len(set(key)) < MIN_DIFFERENT_BYTES:
            yield f"{name} repeats a few characters; make one by chance"
    for name, password in _passwords(settings):
        found.append((name, {password.encode()}))
        # The mail provider chooses that one.
        if name != SMTP_PASSWORD and len(password.encode()) < MIN_PASSWORD_BYTES:
            yield f"{name} has a password of less than {MIN_PASSWORD_BYTES} bytes"
    for (name, key_or_text), (other, same) in combinations(found, 2):
        if key_or_text & same:
            yield f"{name} and {other} are the same secret; each needs its own"


def _parts(settings: Settings) -> Iterator[tuple[str, str]]:
    """Each secret by the setting it stands in; several of one for a rotation."""
    for field in SECRETS:
        secret = getattr(settings, field)
        text = secret.get_secret_value() if secret is not None else ""
        for part in text.split(",") if field in LISTS else [text]:
            if part.strip():
                yield field, part.strip()


def _passwords(settings: Settings) -> Iterator[tuple[str, str]]:
    """Those of servers, but for development's, which are refused by that name."""
    redis = urlsplit(settings.redis_url.get_secret_value()).password
    smtp = settings.smtp_password
    for name, password in (
        *((name, str(_conninfo(url).get("password") or "")) for name, url in _databases(settings)),
        ("SEATHOLD_REDIS_URL", unquote(redis or "")),
        (SMTP_PASSWORD, smtp.get_secret_value() if smtp is not None else ""),
    ):
        if password not in DEV_PASSWORDS:
            yield name, password


def _key_bytes(field: str, text: str) -> bytes:
    """The key that a secret stands for; in ``whsec_…`` and ``name:…`` it is in base64."""
    if field in LISTS and ":" in text:
        encoded = text.partition(":")[2]
    elif field.startswith("webhook_secret"):
        encoded = text.removeprefix("whsec_")
    else:
        # Stripe's begin with whsec_ as well, and are taken as they are written.
        return text.encode()
    try:
        return base64.b64decode(encoded, validate=True)
    except binascii.Error:
        return text.encode()


def _servers(settings: Settings) -> Iterator[str]:
    for name, url in _databases(settings):
        yield from _database(name, url)
    yield from _redis(settings.redis_url.get_secret_value())
    if settings.smtp_tls == "offered" and not is_loopback(settings.smtp_host):
        yield "SEATHOLD_SMTP_TLS=offered lets mail go over the network in plain text; unset it"


def _redis(url: str) -> Iterator[str]:
    # As the client reads it. Dear to import, and asked for in production only.
    from redis.asyncio.connection import parse_url

    try:
        said = parse_url(url)
    except ValueError:
        yield "SEATHOLD_REDIS_URL cannot be read as redis:// or rediss://"
        return
    is_near = is_loopback(said.get("host"))
    takes_anybodys = said.get("ssl_cert_reqs", "required") != "required"
    if urlsplit(url).scheme == "redis" and not is_near:
        yield "SEATHOLD_REDIS_URL goes over the network in plain text; use rediss://"
    elif takes_anybodys or not said.get("ssl_check_hostname", True):
        yield (
            "SEATHOLD_REDIS_URL takes anybody's certificate;"
            " leave ssl_cert_reqs and ssl_check_hostname away"
        )
    elif not (is_near or said.get("password") or said.get("ssl_certfile")):
        yield "SEATHOLD_REDIS_URL has no password, nor a certificate of ours (ssl_certfile)"


def _databases(settings: Settings) -> Iterator[tuple[str, str]]:
    yield "SEATHOLD_DATABASE_URL", settings.database_url.get_secret_value()
    if settings.migrate_database_url is not None:
        yield "SEATHOLD_MIGRATE_DATABASE_URL", settings.migrate_database_url.get_secret_value()


def _conninfo(url: str) -> Mapping[str, Any]:
    """What libpq makes of it: what the URL leaves open is the environment's (``PG*``) to say.

    Empty for what is no URL of PostgreSQL.
    """
    try:
        said = conninfo_to_dict(url)
    except ProgrammingError:
        return {}
    usual = {one.keyword.decode(): one.val for one in pq.Conninfo.get_defaults()}
    return {**{name: value.decode() for name, value in usual.items() if value}, **said}


def _database(name: str, url: str) -> Iterator[str]:
    database = _conninfo(url)
    if not database:
        yield f"{name} is not postgresql://; nothing else keeps the promises"
        return
    if "service" in database:
        yield f"{name} names a service, whose file could say anything; write it out"
    # An address of its own goes before the name, which is then only what a certificate is for.
    hosts = str(database.get("host") or "").split(",")
    addresses = str(database.get("hostaddr") or "").split(",")
    is_local = all(map(is_loopback, (*hosts, *addresses)))
    if not is_local and database.get("sslmode") not in VERIFIED:
        yield f"{name} goes over the network in plain text or to anybody; add ?sslmode=verify-full"
    if str(database.get("password") or "") in DEV_PASSWORDS and not hosts[0].startswith("/"):
        yield f"{name} has no password or that of development; set your own"


def _temporal_config() -> Mapping[str, Any]:
    # Dear to import, and asked for in production only.
    from temporalio.envconfig import ClientConfig

    return ClientConfig.load_client_connect_config()


def _temporal(config: Mapping[str, Any]) -> Iterator[str]:
    address = config.get("target_host")
    if not address:
        yield "TEMPORAL_ADDRESS is not set; the default is a development server"
        return
    host = urlsplit(f"//{address}").hostname
    # With an API key alone it is on, unless TEMPORAL_TLS switches it off.
    if not is_loopback(host) and not config.get("tls"):
        yield (
            "TEMPORAL_ADDRESS goes over the network in plain text;"
            " set TEMPORAL_TLS_* or TEMPORAL_API_KEY"
        )


def _doors(settings: Settings) -> Iterator[str]:
    if any(map(_is_everybody, settings.trusted_proxies)):
        yield "SEATHOLD_TRUSTED_PROXIES trusts strangers; name the networks of your proxies"
    if os.environ.get("FORWARDED_ALLOW_IPS") == "*":
        yield "FORWARDED_ALLOW_IPS=* trusts strangers; name networks in SEATHOLD_TRUSTED_PROXIES"
    if any(map(_is_everybody, settings.metrics_networks)):
        yield "SEATHOLD_METRICS_NETWORKS lets strangers read the metrics; name your own networks"
    for origin in settings.cors_origins:
        if origin == "*":
            yield "SEATHOLD_CORS_ORIGINS is *; name each origin"
        elif not _is_https_origin(origin):
            yield f"SEATHOLD_CORS_ORIGINS has {origin}, which is not https://host[:port]"
    if any("*" in host for host in settings.allowed_hosts):
        yield "SEATHOLD_ALLOWED_HOSTS has *; name each host"


def _addresses(settings: Settings) -> Iterator[str]:
    required = ("public_url", "account_url")
    for field in (*required, "return_url") if settings.return_url else required:
        url = urlsplit(getattr(settings, field))
        if url.scheme != "https" or is_loopback(url.hostname):
            yield f"SEATHOLD_{field.upper()} is not the https:// address that buyers use"
    if settings.codec_origin and not _is_https_origin(settings.codec_origin):
        yield "SEATHOLD_CODEC_ORIGIN is not https://host[:port], as browsers write it"


def _limits(settings: Settings) -> Iterator[str]:
    if settings.staff_totp == "off":
        yield "SEATHOLD_STAFF_TOTP=off lets staff work without a second factor; unset it"
    if settings.partner_private_networks:
        yield "SEATHOLD_PARTNER_PRIVATE_NETWORKS lets partners' webhooks reach inside; unset it"
    if settings.rate_limit_per_minute == 0:
        yield "SEATHOLD_RATE_LIMIT_PER_MINUTE=0 switches the limits off"


def _is_everybody(network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> bool:
    return network.prefixlen < MIN_PREFIX[network.version]


def _is_https_origin(origin: str) -> bool:
    """As a browser writes it: in small letters, without the port that https has anyway."""
    parts = urlsplit(origin)
    if not parts.hostname or parts.netloc.endswith(":443"):
        return False
    return origin == f"https://{parts.netloc}".lower()


def _stand_ins(settings: Settings) -> Iterator[str]:
    key = settings.stripe_api_key
    if key is None or not _is_live(key.get_secret_value()):
        yield (
            "SEATHOLD_STRIPE_API_KEY is no live key, so the sandbox would sell tickets"
            " for play money"
        )
    domain = settings.mail_from.rpartition("@")[2].rstrip("> ")
    if _is_one_of(domain, NOBODYS_DOMAINS):
        yield "SEATHOLD_MAIL_FROM is an address that nobody has"
    if settings.smtp_port == SINK_SMTP_PORT:
        yield "SEATHOLD_SMTP_PORT is that of the mail sink, which delivers nothing"
    sms = urlsplit(settings.sms_url)
    if sms.port == SINK_SMS_PORT:
        yield "SEATHOLD_SMS_URL is that of the SMS sink, which delivers nothing"
    elif sms.scheme != "https" and not is_loopback(sms.hostname):
        yield "SEATHOLD_SMS_URL goes over the network in plain text; use https://"


def _is_live(key: str) -> bool:
    return key.startswith(("sk_live_", "rk_live_"))


def _is_one_of(domain: str, ends: Iterable[str]) -> bool:
    return domain.lower().endswith(tuple(ends))


def _debugging(settings: Settings) -> Iterator[str]:
    if settings.log_level == "DEBUG":
        yield "SEATHOLD_LOG_LEVEL=DEBUG writes more than a log may keep"
    if not settings.log_json:
        yield "SEATHOLD_LOG_JSON=false is for a screen; a log needs one record a line"
