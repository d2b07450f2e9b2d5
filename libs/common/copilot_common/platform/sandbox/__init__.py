"""Functions that run in killable, capped processes of their own: for work on what tenants wrote.

Threat model: whoever writes an expression, a template or a document wants more than its result.

- Endless work. Python in this process can't be stopped from outside: the work is in a child, which is killed (SIGKILL)
  when its wall clock has run out; a CPU limit, renewed at each call, ends it also where this process is frozen.
- Memory. A child may grow by `memory_bytes` over what it was when it was ready (RLIMIT_AS). One that has grown by a
  part of that is replaced after its call, so that what a call leaves behind is not missing in the next one.
- Long answers. The child refuses to send, and the parent to allocate, more than `output_bytes`.
- Secrets. A child is a fresh interpreter, not a fork of this process: nothing of its memory, an empty environment, no
  file descriptor but its two pipes. It may open `open_files` more (0: neither files nor sockets), write no file, and
  fork only where it is root.
- What a break-out finds. No new privileges, no core file, a session of its own. What the child answers is typed: a
  status of this package's, then bytes whose meaning is the caller's to check. No exception text leaves it.
- Others. A child serves one call at a time, a call costs its own caller only; waiting is bounded in number and in time.
- Being left behind. The kernel kills children when the thread that started them ends; they end when their pipe does.

Not covered: machine code in a child has this process's user id, and what that may do without a file descriptor
(signals, ptrace). Calls share a child one after the other: an entry must not keep what it was given. Linux only.

Import from the modules: the child loads this package too, and should not pay for asyncio.
"""
