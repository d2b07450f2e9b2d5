"""Expressions that tenants write: Jinja2 templates, which give text, and CEL, which gives a JSON value.

Threat model: who writes one wants to run endlessly, fill the memory, read this process's secrets or files, or learn
what other tenants' expressions were given. Every one is evaluated in a child of `platform.sandbox` that can open no
file; the languages' own walls (CEL has no loops of its own, Jinja's immutable sandbox hides attributes that begin with
`_`, and there is no loader) are the first, not the only ones. A child keeps compiled sources, never data, from one call
to the next. A message about a failure is a sentence of ours, with names and positions of the source, never a value of
the data.

`docs/expressions.md` tells users what they can write. Import from the modules: the child loads this package too.
"""
