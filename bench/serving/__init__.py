"""Parts of `python -m bench serving`: servers, the load on them, and what their processes hold."""
