"""``facegrep keys``: who may call the server, and what each may do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from facegrep.cli._catalog import day
from facegrep.cli._durations import read_duration
from facegrep.cli._opening import actor, open_existing
from facegrep.cli._options import JsonOption, StoreOption
from facegrep.cli._output import counted, show_json, show_note, show_remark, show_table

if TYPE_CHECKING:
    from facegrep.keys import AccessKey

keys = typer.Typer(
    no_args_is_help=True,
    help="Who may call the server (`facegrep serve`), as which account, and what each may do.",
)

_MAX_POLICY_BYTES = 64 * 1024


@keys.command()
def create(
    store: StoreOption = None,  # type: ignore[assignment]
    account: Annotated[
        str, typer.Option("--account", metavar="NAME", help="Whose libraries the key reaches.")
    ] = "default",
    policy: Annotated[
        Path | None,
        typer.Option(
            "--policy",
            metavar="FILE",
            help="A RAM-style policy, JSON. Default: every ice: action.",
            show_default=False,
        ),
    ] = None,
    lifetime: Annotated[
        str | None,
        typer.Option(
            "--lifetime",
            metavar="TIME",
            help="Make temporary credentials with a SecurityToken that live so long, such as 12h.",
            show_default=False,
        ),
    ] = None,
    insecure_store: Annotated[
        bool,
        typer.Option(
            "--insecure-store",
            help="Keep the secret unencrypted: whoever reads the store, or a backup, has it.",
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Make a key and show its secret, this once. Makes the store if there is none.

    The secret is stored encrypted under a master key: FACEGREP_MASTER_KEY, 32 bytes in base64
    (`openssl rand -base64 32`), or FACEGREP_MASTER_KEY_FILE, a file that holds them. The server
    needs it, too.
    """
    import facegrep
    from facegrep.keys import MASTER_KEY_VARIABLE, Keys, Policy

    allowed = None if policy is None else Policy(_text_of(policy))
    lifetime_ms = None if lifetime is None else read_duration(lifetime, "--lifetime")
    master_key = None
    if insecure_store:
        show_note("--insecure-store: whoever can read the store, or a backup of it, has the secret")
    else:
        master_key = _require_master_key(
            MASTER_KEY_VARIABLE,
            "the secret is to be stored encrypted",
            "; or store it unencrypted with --insecure-store",
        )
    with facegrep.open(store, actor=actor()) as engine:
        made = Keys(engine, master_key).create(
            account, allowed, lifetime_ms=lifetime_ms, sealed=not insecure_store
        )
    shown = {"AccessKeyId": made.id, "AccessKeySecret": made.secret}
    if made.security_token is not None:
        shown["SecurityToken"] = made.security_token
    if as_json:
        show_json(shown | {"Account": made.account})
        return
    show_table(("", ""), shown.items())
    show_remark("The secret is not shown again.")


@keys.command("list")
def list_keys(
    store: StoreOption = None,  # type: ignore[assignment]
    as_json: JsonOption = False,
) -> None:
    """List the keys of all accounts, without their secrets."""
    import facegrep
    from facegrep.keys import Keys

    with facegrep.open(store, readonly=True) as engine:
        found = Keys(engine).list()
    if as_json:
        show_json([_plain(key) for key in found])
        return
    if not found:
        show_remark("nobody has a key; `facegrep keys create` makes one")
        return
    show_table(
        ("access key", "account", "created", "expires", "disabled", "policy"),
        (
            (
                key.id,
                key.account,
                day(key.created_ms),
                "never" if key.expires_ms is None else day(key.expires_ms),
                "yes" if key.disabled else "no",
                key.policy.text,
            )
            for key in found
        ),
    )


@keys.command()
def disable(
    key_id: Annotated[str, typer.Argument(metavar="ACCESS_KEY_ID", help="The key.")],
    store: StoreOption = None,  # type: ignore[assignment]
) -> None:
    """Refuse a key from now on, for ever; servers that run heed it at once."""
    from facegrep.keys import Keys

    with open_existing(store) as engine:
        Keys(engine).disable(key_id)
    show_remark(f"{key_id} is disabled")


@keys.command()
def reseal(
    store: StoreOption = None,  # type: ignore[assignment]
    insecure_too: Annotated[
        bool,
        typer.Option(
            "--insecure-too", help="Also encrypt secrets that were made with --insecure-store."
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Encrypt the secrets of all keys under another master key; they stay valid.

    FACEGREP_NEW_MASTER_KEY is the new one, FACEGREP_MASTER_KEY the one that they open with; or
    FACEGREP_NEW_MASTER_KEY_FILE and FACEGREP_MASTER_KEY_FILE. All of them or none: it refuses if
    one does not open. Nothing that the old one opens stays in the store; backups keep it.

    Servers that run have the old one, and answer 503 to whoever has an encrypted key from then on:
    restart them with the new one.
    """
    from facegrep.keys import NEW_MASTER_KEY_VARIABLE, Keys, master_key_from_environment

    new = _require_master_key(NEW_MASTER_KEY_VARIABLE, "secrets are to be encrypted anew")
    with open_existing(store) as engine:
        count = Keys(engine, master_key_from_environment()).reseal(new, unsealed_too=insecure_too)
    if as_json:
        show_json({"resealed": count})
    else:
        show_remark(f"{counted(count, 'secret is', 'secrets are')} encrypted under the new one")
    show_note("set FACEGREP_MASTER_KEY to the new one from now on, and restart servers that run")


def _plain(key: AccessKey) -> dict[str, Any]:
    return {
        "AccessKeyId": key.id,
        "Account": key.account,
        "Policy": key.policy.text,
        "CreatedMs": key.created_ms,
        "ExpiresMs": key.expires_ms,
        "Disabled": key.disabled,
    }


def _require_master_key(variable: str, purpose: str, otherwise: str = "") -> bytes:
    from facegrep.keys import master_key_from_environment

    found = master_key_from_environment(variable)
    if found is None:
        raise typer.BadParameter(
            f"{purpose}, and there is no master key: set {variable} to 32 bytes in base64 "
            f"(`openssl rand -base64 32`) or {variable}_FILE to a file that holds them{otherwise}"
        )
    return found


def _text_of(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            return opened.read(_MAX_POLICY_BYTES).decode()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise typer.BadParameter(f"cannot read {file}: {reason}", param_hint="--policy") from error
