"""The way out for every call whose address a tenant chooses (webhooks, HTTP tools, URLs to ingest, MCP servers).

Threat model: a tenant, or whoever answers to a tenant, wants this process to talk to what only this process can reach:
the cloud's metadata service, the database, a sidecar, another tenant's receiver. They control the URL, the DNS of its
name, the server behind it and what that server answers.

- Odd spellings: decimal, octal, hexadecimal and short IPv4, full-width digits, a trailing dot, IPv4 inside IPv6
  (mapped, NAT64, 6to4, Teredo), zone ids, names such as `localhost` and `redis`. A host is parsed once, by the parser
  whose result is sent; an address must be spelled canonically and be public (`addresses`), a name must be one of the
  public DNS (`rules`). It is looked up as an absolute name, so that a pod's search domains do not complete it.
- Rebinding, a name that is public when asked and private when used: it is looked up once per connection, every
  answer is checked, one bad answer refuses all, and the socket opens to a checked address only (`pinning`). TLS and the
  Host header keep the name. Each hop has a connection of its own: none is there to be reused when a name has moved.
- Redirects: not followed unless the caller says how many; each is checked like a first URL, leaves behind the headers
  that may carry a secret when it leaves its origin, and does not fall from https to http (`calls`).
- Detours: no proxy or credential is read from the environment; no cookies; userinfo in a URL, hop headers
  and a Host of the caller's own are refused. Only http and https, only ports where web servers are.
- Exhaustion: time to connect, time in all, header and body size (after decompression), connections and name look-ups at
  once are bounded.
- Exploring: an error names the rule, never an address that a name led to.

Not covered: a public address that leads back inside (a NAT, a load balancer); that is for the network policy.
What an operator exempts (`exemptions`) is not checked further: an exempt name may lead anywhere, on any port.

Import from the modules: whoever only reads settings or checks a URL should not pay for aiohttp (29 MB, 0.3 s).
"""
