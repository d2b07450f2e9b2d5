"""A provider simulator: one process that speaks the wire formats of OpenAI, Anthropic and Google, embeddings included,
and the `/rerank` of Cohere, Jina and others.

What it answers is asked for in the model id, after a comma, so that an ordinary request through an ordinary client
can have any behaviour: `sim,tokens=50,pace_ms=20` or `sim,fault=cut,after=5,times=1` (see `script.Script`). Any other
model id gets the default: twenty words, at once. A key that contains `wrong` is refused, with 401 or, as by
Google, with 400.

    python -m copilot_devstack.simulator --port 9999
    OPENAI_BASE_URL=http://127.0.0.1:9999/v1   ANTHROPIC_BASE_URL=http://127.0.0.1:9999   GOOGLE_BASE_URL=http://127.0.0.1:9999

`GET /_sim/requests?key=…` lists what arrived, `GET /_sim/wait?key=…&state=disconnected` returns once a request with
that key has come to that state, `GET /_sim/stats` counts.
"""
