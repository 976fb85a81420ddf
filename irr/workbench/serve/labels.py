"""The route that finds labels while one types."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query

from irr.types import Label
from irr.workbench.serve.forms import FoundLabel, FoundLabels, Place
from irr.workbench.serve.search import Found, LabelSearch
from irr.workbench.serve.service import Service

_EXAMPLES = {"typed": {"summary": "The beginning of a name", "value": "bake br"}}
_Query = Annotated[
    str, Query(max_length=1_000, description="What was typed so far", openapi_examples=_EXAMPLES)
]
_Limit = Annotated[int, Query(ge=1, le=200, description="Labels, at most")]
_Ids = Annotated[
    list[str], Query(alias="id", description="Ids of labels that are wanted instead", max_length=200)
]


def router(service: Service) -> APIRouter:
    """The route over a service."""
    routes = APIRouter(prefix="/v1", tags=["labels"])

    @routes.get("/labels")
    async def labels(query: _Query = "", limit: _Limit = 20, ids: _Ids = []) -> FoundLabels:  # noqa: B006
        """Finds labels by the words of their names and aliases, which may be only begun, and by meaning.

        With `id`, which may be given many times, gives those labels instead, without ids that are no label's.
        """
        loaded = service.loaded
        if ids:
            number_of = loaded.program.space.number_of
            found = [Found(number_of[name], None) for name in ids if name in number_of]
        else:
            found = await asyncio.to_thread(loaded.search, query, limit)
        return FoundLabels(labels=[described(loaded.search, one) for one in found])

    return routes


def described(search: LabelSearch, found: Found) -> FoundLabel:
    """A label with all that one has to know to choose it."""
    label = search.space[found.number]
    return FoundLabel(
        id=label.id,
        name=label.name,
        description=label.description,
        aliases=label.aliases,
        parents=_places(search.parents(found.number)),
        path=_places(search.path(found.number)),
        narrower=search.narrower(found.number),
        score=None if found.score is None else round(found.score, 4),
    )


def _places(labels: list[Label]) -> list[Place]:
    return [Place(id=label.id, name=label.name) for label in labels]
