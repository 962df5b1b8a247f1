"""Six digits that an authenticator app shows for half a minute: the second factor of a login.

The store never holds the secret that app and bot share. It holds a random salt, and the secret is
made of that and of the operator's key, which is not in the store: so a database or a backup that
gets lost lets nobody in, and a deleted salt leaves nothing to make the secret of.

Source: RFC 6238 (TOTP) and RFC 4226 (HOTP), by the defaults that every app knows: SHA-1, 30 s.
"""

from __future__ import annotations

import base64
import hmac
import secrets

import pyotp

ISSUER = "Stable Diffusion bot"  # what the app shows above the digits
DIGITS = 6
STEP_S = 30
DRIFT_STEPS = 1  # how far a phone's clock may be off, either way
SALT_BYTES = 16
SECRET_BYTES = 20  # as long as SHA-1


def new_salt() -> str:
    """Make what a secret is made of, besides the key."""
    return secrets.token_hex(SALT_BYTES)


def secret_of(key: str, salt: str) -> str:
    """Make the secret of one user, in the letters that apps take."""
    digest = hmac.digest(key.encode(), f"sdlesson one-time code {salt}".encode(), "sha256")
    return base64.b32encode(digest[:SECRET_BYTES]).decode()


def enrolment_uri(secret: str, name: str) -> str:
    """Write a secret as an authenticator app reads it from a QR code."""
    return pyotp.TOTP(secret).provisioning_uri(name=name, issuer_name=ISSUER)


def step_of(secret: str, code: str, now: float) -> int | None:
    """Find the half minute since 1970 that a code is of; None if it is of none near now."""
    totp, current = pyotp.TOTP(secret, digits=DIGITS, interval=STEP_S), int(now // STEP_S)
    steps = range(current - DRIFT_STEPS, current + DRIFT_STEPS + 1)
    # All of them, in constant time each: how long it takes says nothing.
    right = [step for step in steps if hmac.compare_digest(totp.generate_otp(step), code)]
    return right[-1] if right else None


def read_code(text: str) -> str:
    """Read six digits as people copy them, such as "123 456"; "" where it is something else."""
    joined = "".join(text.split())
    return joined if len(joined) == DIGITS and joined.isascii() and joined.isdigit() else ""
