"""From bytes to text, and from text to chunks: what runs in the capped child processes of the context service.

Nothing here does I/O, knows a tenant or holds a key. Whoever wrote a document is not trusted: what parses it is killed
at its caps (`copilot_common.platform.sandbox`), and what it answers is checked by who asked.

Import from the modules: the libraries that read formats are heavy, and only the children need them.
"""
