"""Who calls, and may they? Decided before any work is done for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from facegrep.ice import ACTIONS, IceError
from facegrep.server._signature import MAX_SKEW_MS, SignedRequest, check_signature, read_signed

if TYPE_CHECKING:
    from collections.abc import Callable

    from facegrep.keys import AccessKey, Keys
    from facegrep.server._rate import RateLimit

VERSION: Final = "2020-11-09"


class Throttled(IceError):
    """Refused for now; `retry_after_ms` says for how long."""

    def __init__(self, code: str, message: str, retry_after_ms: int) -> None:
        super().__init__(400, code, message)
        self.retry_after_ms = retry_after_ms


class Gate:
    """Lets a request in, as an account, or refuses it. Thread-safe.

    Parameters
    ----------
    keys
        The keys of the store, which remembers nonces, too: all its processes refuse a replay.
    now_ms
        The clock, ms UTC.
    rate_limit
        How often a key may call; ``None``: as often as it likes.
    """

    def __init__(
        self, keys: Keys, now_ms: Callable[[], int], rate_limit: RateLimit | None = None
    ) -> None:
        self._keys = keys
        self._now_ms = now_ms
        self._rate_limit = rate_limit

    def admit(
        self,
        method: str,
        path: str,
        query: bytes,
        headers: Sequence[tuple[bytes, bytes]],
        body: bytes,
    ) -> tuple[AccessKey, SignedRequest]:
        """Find out who sent a request; see `read_signed` for the parameters.

        Returns
        -------
        key, request
            The key that signed it, and what it asks for: an action that exists, and that the key's
            policy allows.

        Raises
        ------
        IceError
            It is refused. What of the store exists makes no difference.
        FacegrepError
            Keys or nonces cannot be read or written.
        """
        request = read_signed(method, path, query, headers, body)
        key = self._keys.find(request.access_key_id)
        secret = None if key is None else key.secret.encode()
        token = None if key is None else key.security_token
        now_ms = self._now_ms()
        check_signature(request, secret, token, now_ms)
        if key is None:  # check_signature has refused it
            raise AssertionError("unreachable")
        if key.disabled:
            raise IceError(400, "InvalidAccessKeyId.Inactive", "Specified access key is disabled.")
        if key.expires_ms is not None and key.expires_ms <= now_ms:
            text = "Specified SecurityToken is expired."
            raise IceError(400, "InvalidSecurityToken.Expired", text)
        # Before the nonce, which costs a commit.
        retry_after_ms = 0 if self._rate_limit is None else self._rate_limit.take(key.id)
        if retry_after_ms:
            raise Throttled("Throttling.User", "The access key calls too often.", retry_after_ms)
        # Until then the same bytes would pass the look at the clock.
        if not self._keys.use_nonce(key.id, request.nonce, request.time_ms + MAX_SKEW_MS):
            text = "Specified signature nonce was used already."
            raise IceError(400, "SignatureNonceUsed", text)
        _require_action(request)
        if not key.policy.allows(f"ice:{request.action}"):
            text = "User not authorized to operate on the specified resource."
            raise IceError(403, "Forbidden.RAM", text)
        if body:
            text = "The parameters go into the query string; the body must be empty."
            raise IceError(400, "InvalidParameter", text)
        return key, request


def _require_action(request: SignedRequest) -> None:
    text = "Specified api is not found, please check your url and method."
    if request.version != VERSION:
        raise IceError(404, "InvalidApi.NotFound", text)
    if request.action not in ACTIONS:
        raise IceError(404, "InvalidAction.NotFound", text)
