"""What people write first: a FastAPI handler in the thread pool, one model, one process.

python -m bench.serving.plain MODEL PORT
"""

import sys
from typing import Any

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

from xrt import Predictor


class Query(BaseModel):
    """The body of a request."""

    texts: list[str]
    k: int = 5


def make_app(folder: str) -> FastAPI:
    """An application with one route."""
    predictor, app = Predictor.load(folder), FastAPI()
    predictor.predict("warm up")

    @app.post("/v1/models/plain/predict")
    def predict(query: Query) -> dict[str, Any]:
        rows = predictor.predict(query.texts, query.k)
        return {"results": [[vars(one) for one in row] for row in rows]}

    return app


if __name__ == "__main__":
    uvicorn.run(make_app(sys.argv[1]), port=int(sys.argv[2]), log_level="warning")
