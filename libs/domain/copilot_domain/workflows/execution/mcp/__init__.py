"""One call of a tool of an MCP server: the official client, over a transport of ours.

Threat model: the server is whoever a tenant has registered, and answers what it likes. It must reach nothing inside,
learn nothing but what it is sent, and cost this process, which works for other tenants too, no more than one call may.

- Where requests go: each is carried by egress, which looks names up, checks and pins for every connection; to the one
  URL that was registered. No redirect is followed, no proxy of the environment is used (`transport`).
- How long: a session is for one call and has one deadline. What the library would wait for in vain (an answer that
  broke off, that is none, that is for another question) ends it at once (`session`).
- How much: all that a server says in a session is counted, in bytes and in JSON values. Four megabytes of brackets
  would keep the library's parser busy for seconds and take 600 MB (`budget`). A result is not read by the library,
  whose types list what is wrong with each value (`results`); how the session begins is, so that it may have less.
- What it asks: nothing is offered (no sampling, no elicitation, no roots), so a question is refused, unread, before
  the library's session hears it, and too many end the session (`sifting`). Notifications are passed over. The stream
  for what a server has to say unasked is not opened, and a stream that broke off is not resumed: both would be more
  requests, at times the server chooses.
- What it tells of its tools is not read. The library would fetch its list of tools, of any length, to hold results
  against schemas whose patterns the server writes (a pattern can take a process for ever); so we send `tools/call`
  without its helper. Annotations such as `readOnlyHint` decide nothing: the protocol itself warns of trusting them.
- What is logged: the library logs what servers say. It knows a placeholder instead of the URL; its own logger is
  silent; and what it would tell the root logger of, questions and answers to nothing, does not reach it.

Import `session` when it is needed: with the library, which `sifting` imports too, it takes 26 MB and half a second.
"""
