"""Which step belongs to which scope, and that every way through a scope leads forward and reaches all of its steps."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from copilot_domain.workflows.validation.faults import Faults
from copilot_domain.workflows.validation.outline import Group, Link, Node, outline
from copilot_domain.workflows.validation.shapes import MAX_STEPS

MAX_DEPTH = 8
"""Levels of `parallel` and `loop` inside one another."""

_SHOWN_CHARACTERS = 64


def check_structure(definition: object, faults: Faults) -> None:
    """Reachability is looked at where all ways are right: else one wrong name would tell of every step after it. With
    too many steps nothing is looked at."""
    steps = definition.get("steps") if isinstance(definition, dict) else None
    if isinstance(steps, list) and len(steps) > MAX_STEPS:
        return
    entry = definition.get("entry_point") if isinstance(definition, dict) else None
    found = Faults()  # its own: of a place with a fault already nothing would be added, and the way be taken for right
    structure = _Structure(outline(definition), entry if isinstance(entry, str) else None, found)
    structure.check_names()
    structure.check_groups()
    structure.check_entry()
    structure.check_links()
    if not found:
        structure.check_reachable()
    faults.take(found)


class _Structure:
    def __init__(self, nodes: Sequence[Node], entry: str | None, faults: Faults) -> None:
        self._nodes = nodes
        self._entry = entry
        self._faults = faults
        self._by_id = {node.id: node for node in reversed(nodes)}
        self._groups = [group for node in nodes for group in node.groups]
        self._scope: dict[str, Group] = {}
        """Of each step that is in a branch or body; the others are the workflow's own."""

    def check_names(self) -> None:
        for node in self._nodes:
            if self._by_id[node.id] is not node:
                self._faults.add(f"{node.path}.id", f"is the id of {self._by_id[node.id].path} already")

    def check_entry(self) -> None:
        if self._entry is None or not self._check_exists(Link("entry_point", self._entry)):
            return
        scope = self._scope.get(self._entry)
        if scope is not None:
            self._faults.add("entry_point", f"belongs to {scope.path}; the workflow must begin outside of it")

    # Scopes

    def check_groups(self) -> None:
        for group in self._groups:
            for member in group.members:
                if self._check_exists(member):
                    self._place(member, group)
        self._check_nesting()

    def _place(self, member: Link, group: Group) -> None:
        taken = self._scope.setdefault(member.target, group)
        if taken is not group:
            self._faults.add(member.path, f"belongs to {taken.path} already; a step has one place")
        elif group.ids.count(member.target) > 1 and group.members[group.ids.index(member.target)] is not member:
            self._faults.add(member.path, "stands in this list already")

    def _check_nesting(self) -> None:
        for group in self._groups:
            depth = len(list(self._around(group)))
            if self._contains_itself(group):
                self._faults.add(group.path, f"leads back into `{group.owner}` itself")
            elif depth > MAX_DEPTH:
                self._faults.add(group.path, f"must not be nested deeper than {MAX_DEPTH} levels")

    def _around(self, group: Group) -> Iterator[Group]:
        """The group and those around it, from the inside out; ends where it goes in a circle."""
        seen: set[int] = set()
        current: Group | None = group
        while current is not None and id(current) not in seen:
            seen.add(id(current))
            yield current
            current = self._scope.get(current.owner)

    def _contains_itself(self, group: Group) -> bool:
        return any(self._scope.get(each.owner) is group for each in self._around(group))

    # Ways

    def check_links(self) -> None:
        for node in self._nodes:
            for link in node.links:
                if self._check_exists(link):
                    self._check_leads_forward(node, link)
        self._check_circles()

    def _check_leads_forward(self, node: Node, link: Link) -> None:
        here, there = self._scope.get(node.id), self._scope.get(link.target)
        if here is not there:
            self._faults.add(link.path, f"leads out of its scope: `{_short(link.target)}` is in {_named(there)}")
        elif here is not None and here.ids.index(link.target) <= here.ids.index(node.id):
            self._faults.add(link.path, "must lead to a later step of the same list; to repeat steps use a `loop`")

    def _check_circles(self) -> None:
        """Of the workflow's own steps; in lists every way leads to a later step anyway."""
        done: set[str] = set()
        for node in self._nodes:
            if node.id not in self._scope:
                self._walk(node, done)

    def _walk(self, start: Node, done: set[str]) -> None:
        open_ids: dict[str, Iterator[Link]] = {start.id: iter(self._own_links(start))}
        while open_ids:
            current = next(reversed(open_ids))
            link = next(open_ids[current], None)
            if link is None:
                done.add(current)
                del open_ids[current]
            elif link.target in open_ids:
                self._faults.add(link.path, f"leads back to `{_short(link.target)}`; to repeat steps use a `loop`")
            elif link.target not in done:
                open_ids[link.target] = iter(self._own_links(self._by_id[link.target]))

    def _own_links(self, node: Node) -> list[Link]:
        return [link for link in node.links if link.target in self._by_id and link.target not in self._scope]

    # Reachability

    def check_reachable(self) -> None:
        own = [node.id for node in self._nodes if node.id not in self._scope]
        self._check_all_reached(own, self._entry, {})
        for group in self._groups:
            if group.ids:
                self._check_all_reached(group.ids, group.ids[0], dict(pairwise(group.ids)))

    def _check_all_reached(self, ids: Sequence[str], first: str | None, in_order: dict[str, str]) -> None:
        reached: set[str] = set()
        todo = [first] if first else []
        while todo:
            step_id = todo.pop()
            if step_id not in reached:
                reached.add(step_id)
                todo.extend(self._after(self._by_id[step_id], in_order))
        for step_id in ids:
            if first and step_id not in reached:
                self._faults.add(self._by_id[step_id].path, "is never reached: no step leads here")

    def _after(self, node: Node, in_order: dict[str, str]) -> list[str]:
        after = [link.target for link in node.jumps]
        if node.passes:
            following = [link.target for link in node.follows]
            after += following or ([in_order[node.id]] if node.id in in_order else [])
        return after

    def _check_exists(self, link: Link) -> bool:
        if link.target in self._by_id:
            return True
        self._faults.add(link.path, f"names no step: `{_short(link.target)}`")
        return False


def _named(scope: Group | None) -> str:
    return scope.path if scope else "the workflow itself"


def _short(target: str) -> str:
    return target[:_SHOWN_CHARACTERS]
