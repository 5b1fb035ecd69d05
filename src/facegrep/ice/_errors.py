"""The one exception that leaves this door, and what each facegrep error becomes in it."""

from __future__ import annotations

import uuid

from facegrep._errors import (
    FacegrepError,
    InvalidArgumentError,
    MasterKeyError,
    MissingExtraError,
    ModelMismatchError,
    NoFaceError,
    NotFoundError,
    OperationDeniedError,
    PictureError,
    StoreError,
    StoreReadOnly,
    VideoError,
)

_RECOMMEND = {
    "MissingParameter": "Supply the parameter and call again.",
    "InvalidParameter": "Correct the parameter and call again.",
    "ResourceNotFound": "Check the names; create the search library or insert the media first.",
    "OperationDenied": "Bring the resource into the state that the call needs, and call again.",
    "InvalidAction.NotFound": "Check the action's spelling; names are case-sensitive.",
    "InvalidApi.NotFound": "Call POST / with x-acs-version 2020-11-09.",
    "UnsupportedHTTPMethod": "Call POST / with x-acs-version 2020-11-09.",
    "RequestTooLarge": "Put the picture where the service can fetch it, and send its URL.",
    "IncompleteSignature": "Sign with ACS3-HMAC-SHA256, as the vendor's clients do.",
    "SignatureDoesNotMatch": "Check the AccessKeySecret, and that nothing rewrites the request.",
    "InvalidTimeStamp.Format": "Send x-acs-date in UTC, as 2026-01-31T23:59:59Z.",
    "InvalidTimeStamp.Expired": "Set the clock of the client.",
    "SignatureNonceUsed": "Sign each request anew, with a nonce of its own.",
    "InvalidAccessKeyId.NotFound": "Check the AccessKeyId, or ask for a key.",
    "InvalidAccessKeyId.Inactive": "Ask for another key.",
    "InvalidSecurityToken": "Send the SecurityToken that came with the key.",
    "InvalidSecurityToken.Expired": "Ask for new temporary credentials.",
    "Forbidden.RAM": "Ask for a policy that allows the action.",
    "Throttling.User": "Call again after the time in x-acs-retry-after (milliseconds).",
    "Throttling.Api": "Call again after the time in x-acs-retry-after (milliseconds).",
    "ServiceUnAvailable": "Call again in a moment. What the call asked for may have been done.",
    "InternalError": "Look up the RequestId in the server's log.",
}

# A reason may quote what came; nobody needs 16 KiB of it back.
_REASON_LIMIT = 300


def new_request_id() -> str:
    """Make a RequestId as the vendor's gateway writes it: an upper-case UUID."""
    return str(uuid.uuid4()).upper()


class IceError(FacegrepError):
    """A call refused or failed, as the vendor's API reports it.

    Attributes
    ----------
    http_status
        400, 403, 404, 500 or 503; 405 or 413 from a server.
    code
        The vendor's word for it, for example ``"InvalidParameter"``.
    message
        What was wrong and, for a parameter, which. Safe to show to a remote caller.
    request_id
        Upper-case UUID, made with the error: every `to_reply` shows the same.
    """

    def __init__(self, http_status: int, code: str, message: str) -> None:
        super().__init__(http_status, code, message)
        self.http_status = http_status
        self.code = code
        self.message = message
        self.request_id = new_request_id()

    def __str__(self) -> str:
        return f"{self.http_status} {self.code}: {self.message}"

    def to_reply(self, *, host_id: str = "facegrep") -> dict[str, str]:
        """Give the JSON body of the error reply, to be sent with `http_status`."""
        return {
            "RequestId": self.request_id,
            "HostId": host_id,
            "Code": self.code,
            "Message": self.message,
            "Recommend": _RECOMMEND.get(self.code, ""),
        }


def missing_parameter(name: str) -> IceError:
    """Say that a mandatory parameter is absent or empty."""
    text = "that is mandatory for processing this request is not supplied."
    return IceError(400, "MissingParameter", f'The input parameter "{name}" {text}')


def invalid_parameter(name: str, reason: str) -> IceError:
    """Say that a parameter's value cannot be used; `reason`: what was expected, what came."""
    text = f'The specified parameter "{name}" is not valid. {printable(_sentence(reason))}'
    return IceError(400, "InvalidParameter", text)


def not_found(what: str) -> IceError:
    """Say that a library, index or media does not exist; `what` names it."""
    return IceError(404, "ResourceNotFound", f"Resource not found: {printable(what)}.")


def denied(reason: str) -> IceError:
    """Say that the state of a resource forbids the call."""
    return IceError(403, "OperationDenied", printable(_sentence(reason)))


def printable(text: str) -> str:
    """Cut `text`, and escape in it what could break a log line or a terminal."""
    shown = text if len(text) <= _REASON_LIMIT else f"{text[:_REASON_LIMIT]}..."
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in shown)


def translate(error: Exception, picture_parameter: str) -> IceError:
    """Find the ICE error for anything that a call raised below this door.

    Parameters
    ----------
    picture_parameter
        The parameter that brought the picture, which a `PictureError` is then about.
    """
    match error:
        case IceError():
            return error
        case NoFaceError():
            return invalid_parameter(picture_parameter, f"{error.reason} was found in the picture")
        case PictureError() | VideoError():
            return invalid_parameter(picture_parameter, error.reason)
        case NotFoundError():
            kind = "search library" if error.kind == "library" else error.kind
            return not_found(f"the {kind} {error.name!r} does not exist")
        case OperationDeniedError() | ModelMismatchError():
            return denied(str(error))
        case InvalidArgumentError():
            return IceError(400, "InvalidParameter", printable(_sentence(str(error))))
        case MissingExtraError():
            return denied("this service reads no videos: what they need is not installed")
        case StoreReadOnly():
            return denied("the service answers searches only: its store is open for reading")
        case StoreError() | MasterKeyError():
            # Which file is damaged, or who holds the lock, is for the log: it is in the cause.
            return IceError(503, "ServiceUnAvailable", "The store cannot serve this call now.")
        case _:
            return IceError(500, "InternalError", "The call failed inside the service.")


def _sentence(text: str) -> str:
    if text.partition(" ")[0].islower():  # not customFields
        text = text[0].upper() + text[1:]
    return text if text.endswith(".") else f"{text}."
