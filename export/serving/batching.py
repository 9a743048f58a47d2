"""Requests that arrive while others are computed are computed next, together."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from export.serving.inference import Prepared, Served


class Batches:
    """Answers the requests to one model, in the order they came, in a thread of its own.

    Nothing waits for company: a request that finds the model idle is computed alone, and those that
    arrive meanwhile are the next batch.

    Args:
        model: Reads requests, says which may be joined, and computes.
    """

    def __init__(self, model: Served) -> None:
        self._model = model
        self._arrived: deque[tuple[bytes, Future[bytes]]] = deque()
        self._read: list[tuple[Prepared, Future[bytes]]] = []  # what the last batch had no room for
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=model.name)

    def submit(self, body: bytes) -> Future[bytes]:
        """The answer to come to an inference request, which can be cancelled until it is read.

        It raises what `Served.prepare` and `Served.answers` find wrong.
        """
        answer: Future[bytes] = Future()
        self._arrived.append((body, answer))
        # As many calls as requests, of which each answers at least one, if any is left.
        self._thread.submit(self._answer_next)
        return answer

    def _answer_next(self) -> None:
        batch = self._next()
        if not batch:
            return
        results = self._model.answers([request for request, _ in batch])
        for (_, answer), result in zip(batch, results, strict=True):
            if isinstance(result, Exception):
                answer.set_exception(result)
            else:
                answer.set_result(result)

    def _next(self) -> list[tuple[Prepared, Future[bytes]]]:
        """The first requests that may be joined; those that are wrong are answered here."""
        batch, self._read = self._read, []
        while self._arrived and not self._read:
            body, answer = self._arrived.popleft()
            if not answer.set_running_or_notify_cancel():
                continue
            try:
                request = self._model.prepare(body)
            except Exception as error:  # noqa: BLE001  (whoever waits for the answer raises it)
                answer.set_exception(error)
                continue
            if batch and not self._model.may_join([*(r for r, _ in batch), request]):
                self._read = [(request, answer)]
            else:
                batch.append((request, answer))
        return batch
