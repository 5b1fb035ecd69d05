"""The third door: an ICE action and its string parameters -> the ICE reply, or `IceError`."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from facegrep.ice import _clips, _libraries, _media, _recognition, _requests, _search
from facegrep.ice._context import Context, Reply
from facegrep.ice._errors import IceError, new_request_id, translate
from facegrep.ice._sources import Fetcher, Sources

if TYPE_CHECKING:
    from facegrep.engine import Engine

_Handler = Callable[[Context, Any], Reply]

# An action is named as its request is.
_ACTIONS: dict[str, tuple[type[_requests.Request], _Handler]] = {
    kind.__name__: (kind, handler)
    for kind, handler in (
        (_requests.SearchMediaByFace, _search.search_media_by_face),
        (_requests.SearchMediaClipByFace, _clips.search_media_clip_by_face),
        (_requests.CreateSearchLib, _libraries.create_search_lib),
        (_requests.AlterSearchLib, _libraries.alter_search_lib),
        (_requests.QuerySearchLib, _libraries.query_search_lib),
        (_requests.ListSearchLib, _libraries.list_search_lib),
        (_requests.DropSearchLib, _libraries.drop_search_lib),
        (_requests.CreateSearchIndex, _libraries.create_search_index),
        (_requests.AlterSearchIndex, _libraries.alter_search_index),
        (_requests.QuerySearchIndex, _libraries.query_search_index),
        (_requests.DropSearchIndex, _libraries.drop_search_index),
        (_requests.InsertMediaToSearchLib, _media.insert_media),
        (_requests.UpdateMediaToSearchLib, _media.update_media),
        (_requests.DeleteMediaFromSearchLib, _media.delete_media),
        (_requests.QueryMediaIndexJob, _media.query_media_index_job),
        (_requests.SearchIndexJobRerun, _media.rerun_index_job),
        (_requests.CreateRecognitionLib, _recognition.create_lib),
        (_requests.ListRecognitionLibs, _recognition.list_libs),
        (_requests.DeleteRecognitionLib, _recognition.delete_lib),
        (_requests.CreateRecognitionEntity, _recognition.create_entity),
        (_requests.ListRecognitionEntities, _recognition.list_entities),
        (_requests.DeleteRecognitionEntity, _recognition.delete_entity),
        (_requests.CreateRecognitionSample, _recognition.create_sample),
        (_requests.ListRecognitionSamples, _recognition.list_samples),
        (_requests.DeleteRecognitionSample, _recognition.delete_sample),
    )
}


ACTIONS = frozenset(_ACTIONS)
"""The names of all actions."""


class Service:
    """Answers the actions of ICE 2020-11-09 that are about face search, in process.

    Parameters
    ----------
    engine
        From `facegrep.open`. Yours to close.
    account
        Whose libraries, media and tokens are seen, whatever account `engine` is a view of; those of
        others do not exist here.
    files
        Folder or folders under which ``file:`` URLs may be read, links followed; none by default.
    fetcher
        Gets the bytes of an ``http:``, ``https:`` or ``oss:`` URL; by default the one that
        `engine` was opened with. Without either the network is off. It must bound its own time and
        trust: the URL is the caller's. What it raises is reported as "could not be fetched", save a
        `PictureError`, whose ``reason`` is passed on. The engine's own gets videos after the reply.
        Another one gets them before it, and then a video may have 256 MiB, since it is in memory.

    Raises
    ------
    InvalidArgumentError
        `files` names something that is not a folder.

    Notes
    -----
    Thread-safe. Pictures come by ``data:`` URLs always.

    Examples
    --------
    >>> service = Service(engine, files="photos")  # doctest: +SKIP
    >>> service.call("QuerySearchLib", {"SearchLibName": "people"})  # doctest: +SKIP
    {'RequestId': '5E6A…', 'Success': 'true', 'Code': '200', 'SearchLibName': 'people', …}
    """

    def __init__(
        self,
        engine: Engine,
        *,
        account: str = "default",
        files: str | os.PathLike[str] | Iterable[str | os.PathLike[str]] = (),
        fetcher: Fetcher | None = None,
    ) -> None:
        used = engine.fetcher if fetcher is None else fetcher
        later = used is not None and used is engine.fetcher
        sources = Sources(files, used, fetches_later=later)
        self._context = Context(engine.for_account(account), sources)

    def call(self, action: str, params: Mapping[str, str]) -> Reply:
        """Carry out one action.

        Parameters
        ----------
        action
            For example ``"SearchMediaByFace"``.
        params
            The request's parameters as they came: strings, JSON ones too. An empty optional one
            counts as absent; names that the action does not have are ignored, unless they are one
            that it has in another spelling (``customFilters``): that is refused.

        Returns
        -------
        reply
            What the vendor's server would send as JSON with status 200: ``Success`` is the string
            ``"true"``, ``Code`` the string ``"200"``, ``Total`` a number. The replies about
            recognition libraries have neither Success nor Code.

        Raises
        ------
        IceError
            Whatever went wrong; its cause, when it has one, is the error below this door.
        """
        kind, handler = _ACTIONS.get(str(action), (_requests.Request, None))
        if handler is None:
            text = "Specified api is not found, please check your url and method."
            raise IceError(404, "InvalidAction.NotFound", text)
        try:
            extras = handler(self._context, _requests.read_request(kind, params))
        except Exception as error:
            refusal = translate(error, kind.picture_parameter)
            if refusal is error:
                raise
            raise refusal from error
        said = {} if kind.is_bare else {"Success": "true", "Code": "200"}
        return {"RequestId": new_request_id(), **said, **extras}

    async def acall(self, action: str, params: Mapping[str, str]) -> Reply:
        """Carry out one action in a thread, while the event loop goes on; as `call`.

        The searches themselves run without the GIL. A call that is cancelled is carried out all the
        same.
        """
        return await asyncio.to_thread(self.call, action, params)
