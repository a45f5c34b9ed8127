"""Make an owner from the command line; there is no default account."""

from __future__ import annotations

import getpass
from uuid import uuid4

from sqlalchemy import text

from domain.user import email_key
from infra.passwords import Argon2Passwords
from infra.postgres.engine import create_engine
from infra.settings import Settings

CREATE = text("""
WITH created AS (
    INSERT INTO users (id, email, email_key, name, password_hash, role)
    VALUES (:id, :email, :key, 'Owner', :hash, 'owner')
    ON CONFLICT (email_key) DO NOTHING
    RETURNING id
)
INSERT INTO audit_log (actor, role, action, target, reason, details)
SELECT 'operator:' || :operator, 'operator', 'user.create', 'user:' || id, 'from the command line',
       '{"role": "owner"}'
FROM created
""")


async def create_admin(settings: Settings, email: str, password: str) -> None:
    """Create the account unless the address is taken; an existing account is left as it is."""
    passwords = Argon2Passwords(workers=1)
    engine = create_engine(settings)
    hashed = await passwords.hash(password)
    async with engine.begin() as connection:
        await connection.execute(
            CREATE,
            {
                "id": uuid4(),
                "email": email,
                "key": email_key(email),
                "hash": hashed,
                "operator": getpass.getuser(),
            },
        )
    await engine.dispose()
    passwords.close()
