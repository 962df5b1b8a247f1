"""What an operator sets: from the environment and one file, checked before anything starts.

A setting is named here, and in the environment `SDLESSON_BOT_` before it, in capitals. A secret
may also stand in a file of its own, as Docker and Kubernetes give it: `SDLESSON_BOT_TOKEN_FILE`
names that. The environment counts before the files, and a secret's file before the one for all.
"""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, TypeAlias
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from sdlesson.bot_service.directory import DEFAULT_FILTER, NAME, TIMEOUT_S

PREFIX = "SDLESSON_BOT_"
FILE_VARIABLE = f"{PREFIX}CONFIG"
DEFAULT_FILE = Path("sdlesson-bot.toml")
TOKEN_VARIABLE = "TELEGRAM_BOT_TOKEN"  # what the bot of lesson 10 reads
MAX_SECRET_BYTES = 64 * 1024
MIN_KEY_CHARS = 32

_TOKEN = re.compile(r"[0-9]{6,}:[A-Za-z0-9_-]{30,}")
_LDAP_URL = re.compile(r"ldaps?://(\[[0-9A-Fa-f:]+\]|[\w.-]+)(:[0-9]{1,5})?/?")
# Of the signs that Telegram takes; it takes a single one, too, which anybody guesses.
WEBHOOK_SECRET = re.compile(r"[A-Za-z0-9_-]{16,256}")

_LORA_NAME = re.compile(r"[A-Za-z0-9_-]{1,32}")
NO_LORA = frozenset({"none", "no", "off", "ninguno", "ninguna"})  # what users write for: no LoRA
SHARE_TOLERANCE = 1e-6

Port: TypeAlias = int


class ConfigurationError(ValueError):
    """A setting that cannot be used: one line for each, with what to do; no secret is shown."""


class LoraSetting(BaseModel):
    """A LoRA that users may choose."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: Path
    model: str = ""  # the one of `models` that it is for; "" means the first
    scale: FiniteFloat = 1.0


class Configuration(BaseSettings):
    """All that an operator may set.

    Attributes:
        HAS_SECRETS: Whether it is for the bot itself; a worker shares the file, not the secrets.
    """

    HAS_SECRETS: ClassVar[bool] = True

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, extra="forbid", frozen=True, hide_input_in_errors=True
    )

    token: SecretStr
    api_url: str = ""  # another server than Telegram's, such as http://127.0.0.1:8081/bot
    language: Literal["en", "es"] = "en"  # the operator's

    database_url: SecretStr = SecretStr("sqlite:///sdlesson-bot.db")
    retention_days: float = Field(30, gt=0, le=3650)

    admins: tuple[int, ...] = ()
    allowed_users: tuple[int, ...] = ()  # nobody in particular stands for everybody
    daily_quota: int = Field(50, ge=1)
    burst: int = Field(5, ge=1)
    per_minute: float = Field(6, gt=0)
    max_waiting_per_user: int = Field(3, ge=1)
    max_waiting: int = Field(100, ge=1)
    max_batch: int = Field(4, ge=1)
    blocked_words: Path | None = None  # a list of one's own

    # A service that looks at each request, in OpenAI's manner; "" asks none.
    moderation_url: str = ""  # such as https://api.openai.com/v1/moderations
    moderation_key: SecretStr | None = None
    moderation_model: str = "omni-moderation-latest"
    moderation_threshold: float = Field(0.5, gt=0, le=1)
    moderation_categories: tuple[str, ...] = ()  # whose scores count; none stands for all
    moderation_away: Literal["refuse", "let_through"] = "refuse"
    moderation_timeout_s: float = Field(5, gt=0, le=60)

    # A company's directory; "" lets people in by the lists above alone. With one, whoever is on
    # neither list logs in with a code: python -m sdlesson.bot_service enrol NUMBER NAME
    ldap_url: str = ""  # such as ldaps://ldap.example.org
    ldap_base: str = ""
    ldap_user_filter: str = DEFAULT_FILTER
    ldap_group: str = ""  # the entry of a group; "" for everybody below the base
    ldap_bind_dn: str = ""
    ldap_bind_password: SecretStr | None = None
    ldap_start_tls: bool = False
    ldap_ca_file: Path | None = None
    ldap_timeout_s: int = Field(TIMEOUT_S, ge=1, le=60)
    ldap_check_minutes: float = Field(10, gt=0)  # who leaves the company is out after so long
    login_key: SecretStr | None = None
    login_hours: float = Field(12, gt=0, le=24 * 366)

    webhook_url: str = ""  # "" asks Telegram for updates instead
    webhook_secret: SecretStr | None = None
    webhook_listen: str = "127.0.0.1"  # a proxy with the certificate stands before it
    webhook_port: Port = Field(8443, ge=0, le=65_535)

    models: tuple[str, ...] = ("pocket",)  # what users may choose from; the first is the usual one
    loras: dict[str, LoraSetting] = {}
    # Of a model, what lets it follow outlines: a folder, or "default" for the one made for it.
    controlnets: dict[str, str] = {}
    models_in_memory: int = Field(2, ge=1)  # of each process that draws
    ab_share: dict[str, float] = {}  # of two models, for users who choose none
    ab_salt: str = ""  # another one deals users out anew
    cache_mb: float = Field(64, ge=0)  # for pictures that are asked for again; 0 keeps none
    generator: Literal["local", "celery"] = "local"
    redis_url: SecretStr = SecretStr("redis://localhost:6379/0")
    job_timeout_s: float = Field(600, gt=0)

    metrics_listen: str = "127.0.0.1"
    metrics_port: Port = Field(9464, ge=0, le=65_535)  # 0 switches it off
    log_format: Literal["json", "text"] = "json"
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Say where settings come from: what stands first counts."""
        path = _file()
        shared = [TomlConfigSettingsSource(settings_cls, path)] if path else []
        return (init_settings, env_settings, _SecretFiles(settings_cls), *shared)

    @field_validator("token")
    @classmethod
    def _looks_like_a_token(cls, token: SecretStr) -> SecretStr:
        if not _TOKEN.fullmatch(token.get_secret_value()):
            raise ValueError("is not a bot's token, 123456789:AbC...; copy it from @BotFather")
        return token

    @field_validator("models")
    @classmethod
    def _has_a_model(cls, models: tuple[str, ...]) -> tuple[str, ...]:
        if not models or len(set(models)) < len(models):
            raise ValueError('must name one model or several different ones, such as ["pocket"]')
        return models

    @field_validator("loras")
    @classmethod
    def _can_be_written(cls, loras: dict[str, LoraSetting]) -> dict[str, LoraSetting]:
        for name in loras:
            if not _LORA_NAME.fullmatch(name) or name.lower() in NO_LORA:
                raise ValueError(
                    f"has {name!r}, which users cannot write after /lora: use up to 32 letters, "
                    f"digits, _ or -, and not {' or '.join(sorted(NO_LORA))}"
                )
        return loras

    @model_validator(mode="after")
    def _models_are_there(self) -> Self:
        offered = ", ".join(self.models)
        for name, lora in self.loras.items():
            if lora.model and lora.model not in self.models:
                raise ValueError(
                    f"loras.{name}.model is {lora.model!r}, and models has {offered}; take one of "
                    "those, or add it there"
                )
        for name in self.controlnets:
            if name not in self.models:
                raise ValueError(
                    f"controlnets has {name!r}, and models has {offered}; take one of those"
                )
        if not self.ab_share:
            return self
        for name in self.ab_share:
            if name not in self.models:
                raise ValueError(
                    f"ab_share has {name!r}, and models has {offered}; take two of those"
                )
        shares = self.ab_share.values()
        if len(shares) != 2 or min(shares) <= 0 or abs(sum(shares) - 1) > SHARE_TOLERANCE:
            raise ValueError(
                "ab_share must give two models shares above 0 that make 1 together, such as "
                "{ pocket = 0.8, sd15 = 0.2 }"
            )
        return self

    @model_validator(mode="after")
    def _webhook_is_whole(self) -> Self:
        if not self.webhook_url or not self.HAS_SECRETS:
            return self
        if not self.webhook_url.startswith("https://"):
            raise ValueError("webhook_url must begin with https://, as Telegram asks for")
        if not WEBHOOK_SECRET.fullmatch(reveal(self.webhook_secret)):
            raise ValueError(
                "webhook_url needs webhook_secret: 16 to 256 letters, digits, _ or -; make one "
                'with: python -c "import secrets; print(secrets.token_urlsafe())"'
            )
        return self

    @model_validator(mode="after")
    def _login_is_whole(self) -> Self:
        if not self.ldap_url or not self.HAS_SECRETS:
            return self
        if not _LDAP_URL.fullmatch(self.ldap_url):
            raise ValueError("ldap_url must look like ldaps://ldap.example.org or ldap://...:389")
        is_plain = self.ldap_url.startswith("ldap://") and not self.ldap_start_tls
        if is_plain and not is_local(self.ldap_url):
            raise ValueError(
                "ldap_url would send the password in the clear; begin it with ldaps://, or set "
                "ldap_start_tls"
            )
        if self.ldap_ca_file and not self.ldap_ca_file.is_file():
            raise ValueError(f"ldap_ca_file names {self.ldap_ca_file}, which is not there")
        if not self.ldap_base or NAME not in self.ldap_user_filter:
            raise ValueError(
                f"ldap_url needs ldap_base, and an ldap_user_filter with {NAME} in it, such as "
                f"{DEFAULT_FILTER}"
            )
        if bool(self.ldap_bind_dn) != bool(reveal(self.ldap_bind_password)):
            raise ValueError("ldap_bind_dn and ldap_bind_password go together; set both or none")
        if len(reveal(self.login_key)) < MIN_KEY_CHARS:
            raise ValueError(
                f"ldap_url needs login_key, of at least {MIN_KEY_CHARS} characters; make one with: "
                'python -c "import secrets; print(secrets.token_urlsafe())"'
            )
        return self

    @model_validator(mode="after")
    def _moderation_is_whole(self) -> Self:
        if self.moderation_url and not self.moderation_url.startswith(("https://", "http://")):
            raise ValueError("moderation_url must begin with https://")
        is_plain = self.moderation_url.startswith("http://") and not is_local(self.moderation_url)
        if is_plain:
            raise ValueError(
                "moderation_url would send requests and key in the clear; begin it with https://"
            )
        return self

    @model_validator(mode="after")
    def _limits_fit(self) -> Self:
        if self.max_waiting_per_user > self.max_waiting:
            raise ValueError("max_waiting_per_user must not be above max_waiting")
        return self


def load_configuration(
    path: Path | None = None, kind: type[Configuration] = Configuration
) -> Configuration:
    """Read and check all settings.

    Args:
        path: The file for all; by default what `SDLESSON_BOT_CONFIG` names, else
            sdlesson-bot.toml where there is one.
        kind: Whose settings: a worker's need no token.

    Raises:
        ConfigurationError: Some of them cannot be used; one line for each.
    """
    global _chosen
    _chosen = path
    try:
        _refuse_unknown_variables()
        return kind()  # type: ignore[call-arg]
    except ValidationError as error:
        lines = [_line(one) for one in error.errors(include_input=False, include_url=False)]
        raise ConfigurationError("\n".join(dict.fromkeys(lines))) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{_file()} is no TOML: {error}") from None
    finally:
        _chosen = None


def is_local(url: str) -> bool:
    """Whether an address leads to this very machine."""
    return urlsplit(url).hostname in ("localhost", "127.0.0.1", "::1")


def reveal(secret: SecretStr | None) -> str:
    """Return a secret to whoever needs it; "" where none is set."""
    return secret.get_secret_value() if secret else ""


class _SecretFiles(PydanticBaseSettingsSource):
    """Secrets from files that the environment names."""

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        """Read one secret; None where no file is named for it."""
        if "SecretStr" not in str(field.annotation):
            return None, field_name, False
        names = [f"{PREFIX}{field_name.upper()}_FILE"]
        if field_name == "token":
            plain = os.environ.get(TOKEN_VARIABLE)
            if plain:
                return plain.strip(), field_name, False
            names.append(f"{TOKEN_VARIABLE}_FILE")
        named = next((name for name in names if os.environ.get(name)), None)
        if named is None:
            return None, field_name, False
        return _read_secret(named, Path(os.environ[named])), field_name, False

    def __call__(self) -> dict[str, Any]:
        """Read all secrets."""
        fields = self.settings_cls.model_fields.items()
        found = {name: self.get_field_value(field, name)[0] for name, field in fields}
        return {name: value for name, value in found.items() if value is not None}


_chosen: Path | None = None


def _file() -> Path | None:
    """Find the file for all settings; None where there is none.

    Raises:
        ConfigurationError: The one that is named is not there.
    """
    named = _chosen or (Path(os.environ[FILE_VARIABLE]) if os.environ.get(FILE_VARIABLE) else None)
    if named is None:
        return DEFAULT_FILE if DEFAULT_FILE.is_file() else None
    if not named.is_file():
        raise ConfigurationError(
            f"the file of settings {named} is not there; check {FILE_VARIABLE}"
        )
    return named


def _read_secret(variable: str, path: Path) -> str:
    try:
        with path.open("rb") as file:
            secret = file.read(MAX_SECRET_BYTES).decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise ConfigurationError(
            f"{variable} names {path}, which cannot be read: {reason}"
        ) from None
    if not secret:
        raise ConfigurationError(f"{variable} names {path}, which is empty")
    return secret


def _refuse_unknown_variables() -> None:
    """Find a misspelt variable, which would else change nothing and say nothing.

    Raises:
        ConfigurationError: There is one.
    """
    fields = Configuration.model_fields
    known = {f"{PREFIX}{name.upper()}" for name in fields} | {FILE_VARIABLE}
    secret = [name for name, field in fields.items() if "SecretStr" in str(field.annotation)]
    known |= {f"{PREFIX}{name.upper()}_FILE" for name in secret}
    unknown = [name for name in os.environ if name.upper().startswith(PREFIX)]
    lines = [
        f"{name} is no setting; take it away or correct it"
        for name in sorted(unknown)
        if name.upper() not in known
    ]
    if lines:
        raise ConfigurationError("\n".join(lines))


def _line(error: Any) -> str:
    """Say what is wrong with a setting, without its value, which may be a secret."""
    name = ".".join(map(str, error["loc"]))
    what = error["msg"].removeprefix("Value error, ")
    if error["type"] == "missing":
        if name == "token":
            return f"token is missing: set {PREFIX}TOKEN, {PREFIX}TOKEN_FILE or {TOKEN_VARIABLE}"
        what = "is missing"
    if error["type"] == "extra_forbidden":
        what = "is no setting; take it away or correct it"
    return f"{name} {what[0].lower()}{what[1:]}" if name else what
