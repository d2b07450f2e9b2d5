"""Functions that run in killable, capped processes of their own: for work on what tenants wrote.

Threat model: whoever writes an expression, a template or a document wants more than its result.

- Endless work. Python in this process can't be stopped from outside: the work is in a child, which is killed (SIGKILL)
  when its wall clock has run out; a CPU limit, renewed at each call, ends it also where this process is frozen. A
  stream has a second clock for all of it, so that a body or a consumer that never comes back keeps no child.
- Memory. A child may grow by `memory_bytes` over what it was when it was ready (RLIMIT_AS). One that has grown by a
  part of that is replaced after its call, so that what a call leaves behind is not missing in the next one. This
  process holds one piece of a stream's body, one part of its answer, and what a pipe's buffers take.
- Long answers. The child refuses to send, and the parent to take, more than `output_bytes`, in sum.
- Secrets. A child is a fresh interpreter, not a fork of this process: nothing of its memory, an empty environment, no
  file descriptor but its two pipes. It may open `open_files` more (0: none), to read below the directories that it
  imports from (Landlock), and changes nothing in the file system (seccomp, Landlock; a size limit of 0).
- Others and the network. No sockets, no new processes, no thread unless the limits say so, no signal, trace or limit
  for any process but itself, no calls into large parts of the kernel that nothing here needs (seccomp). On its own
  Landlock refuses tracing, and signals from its ABI 6 on.
- What a break-out finds. No new privileges, no core file, a session of its own. What the child answers is typed: a
  status of this package's, then bytes whose meaning is the caller's to check. No exception text leaves it.
- Others' turns. A child serves one call at a time, a call costs its own caller only; waiting is bounded in number and
  in time.
- Being left behind. The kernel kills children when the thread that started them ends; they end when their pipe does.

seccomp and Landlock are there where the kernel, and a container around it, has them; a child works without them. What
is in force is reported by each child, logged at a pool's first one (workers start one for that) and shown by `copilot
doctor`. Without seccomp, machine code in a child has this process's user id and what that may do without a descriptor
(delete files, signal, trace); only RLIMIT_NPROC keeps it from new processes, which does not bind root. Without
Landlock, `open_files` above 0 reads whatever the user may. Calls share a child one after the other: an entry must not
keep what it was given. Linux only.

Import from the modules: the child loads this package too, and should not pay for asyncio.
"""
