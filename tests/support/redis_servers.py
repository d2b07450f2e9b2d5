"""The distribution's Redis servers as operators set them up: a Cluster, a master watched by Sentinels, one with TLS."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import redis
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from redis.crc import key_slot

from copilot_devstack.accounts import make_data_folder, server_account
from copilot_devstack.ports import LOOPBACK, free_port
from copilot_devstack.processes import Process, spawn
from support.stack import eventually
from support.tools import tool

PACKAGE = "redis-server"
_NODES = 6
# A Cluster promotes a replica after about two of these; ones that are too busy to answer are not dead yet.
_NODE_TIMEOUT_MS = 1_500
_DOWN_AFTER_MS = 1_500
_FAILOVER_MS = 5_000
SERVICE = "copilot"
"""How Sentinels call the master."""
_START_SECONDS = 20.0


@dataclass
class RedisServer:
    port: int
    process: Process
    folder: Path
    login: Mapping[str, object]
    """And what TLS needs: keywords of its clients."""

    @property
    def address(self) -> tuple[str, int]:
        return LOOPBACK, self.port

    def client(self) -> "redis.Redis":
        return redis.Redis(host=LOOPBACK, port=self.port, decode_responses=True, **self.login)  # type: ignore[arg-type]

    def kill(self) -> None:
        self.process.stop(((signal.SIGKILL, 10.0),))

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Connections stay, and answer nothing."""
        self.process.send(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send(signal.SIGCONT)


@dataclass
class RedisServers:
    """Starts them, and remembers all of them."""

    folder: Path
    started: list[RedisServer] = field(default_factory=list)
    _ports: set[int] = field(default_factory=set)

    def free_port(self) -> int:
        """Not one that was given to a server which does not listen yet."""
        while (port := free_port()) in self._ports:
            pass
        self._ports.add(port)
        return port

    def start(self, *, password: str = "", tls: "Certificates | None" = None, **settings: object) -> RedisServer:
        """Underscores in `settings` are hyphens there. Call it from the main thread: the server ends with the thread
        that starts it."""
        port = self.free_port()
        login: dict[str, object] = {"password": password or None}
        given: dict[str, object] = {"port": port, "save": "", "appendonly": "no", "repl_diskless_sync_delay": 0}
        if password:
            given |= {"requirepass": password, "masterauth": password}
        if tls is not None:
            given |= {"port": 0, "tls_port": port, "tls_replication": "yes", **tls.settings}
            login |= tls.login
        return self._launch(port, [], given | settings, login)

    def start_sentinel(
        self, master: RedisServer, *, quorum: int, password: str = "", tls: "Certificates | None" = None
    ) -> RedisServer:
        """It has the master's password for itself, too."""
        port = self.free_port()
        lines = [
            f"sentinel monitor {SERVICE} {LOOPBACK} {master.port} {quorum}",
            f"sentinel down-after-milliseconds {SERVICE} {_DOWN_AFTER_MS}",
            f"sentinel failover-timeout {SERVICE} {_FAILOVER_MS}",
            *([f"sentinel auth-pass {SERVICE} {password}", f"requirepass {password}"] if password else []),
        ]
        path = self._folder_of(port) / "sentinel.conf"
        path.write_text("\n".join(lines) + "\n")
        _hand_over(path)  # it rewrites it
        login: dict[str, object] = {"password": password or None}
        given: dict[str, object] = {"port": port}
        if tls is not None:
            given |= {"port": 0, "tls_port": port, "tls_replication": "yes", **tls.settings}
            login |= tls.login
        return self._launch(port, [str(path), "--sentinel"], given, login)

    def _launch(
        self, port: int, arguments: list[str], settings: Mapping[str, object], login: Mapping[str, object]
    ) -> RedisServer:
        folder = self._folder_of(port)
        given = {"bind": LOOPBACK, "dir": folder, **settings}
        flags = [part for name, value in given.items() for part in (f"--{name.replace('_', '-')}", str(value))]
        process = spawn(
            [tool("redis-server", package=PACKAGE), *arguments, *flags],
            log=folder.with_suffix(".log"),
            cwd=folder,
            env={"PATH": os.defpath},
            account=server_account(),
            on_parent_death=signal.SIGKILL,
        )
        server = RedisServer(port, process, folder, login)
        self.started.append(server)
        return server

    def _folder_of(self, port: int) -> Path:
        folder = self.folder / f"redis-{port}"
        make_data_folder(folder, server_account())
        return folder


def _hand_over(path: Path) -> None:
    """To the account that the servers run as."""
    if (account := server_account()) is not None:
        os.chown(path, account.uid, account.gid)


@contextmanager
def redis_servers() -> Iterator[RedisServers]:
    """All ended at the end, and nothing of them left."""
    folder = Path(tempfile.mkdtemp(prefix="copilot-redis-"))
    folder.chmod(0o711)  # whoever the servers run as must get to their own folders
    servers = RedisServers(folder)
    try:
        yield servers
    finally:
        for server in servers.started:
            server.kill()
        shutil.rmtree(folder)


def wait_ready(*servers: RedisServer) -> None:
    for server in servers:
        what = f"Redis at {server.port}"
        eventually(lambda server=server: _answers(server), seconds=_START_SECONDS, what=what)  # type: ignore[misc]


def _answers(server: RedisServer) -> bool:
    try:
        with server.client() as client:
            return bool(client.ping())
    except redis.RedisError:
        return False


@dataclass
class RedisCluster:
    """Three masters with a replica each."""

    nodes: list[RedisServer]

    @property
    def hosts(self) -> str:
        """Not all of them: the rest is found."""
        return _hosts(self.nodes[:2])

    def owner(self, key: str) -> RedisServer:
        """As most of those that live say."""
        slot = key_slot(key.encode())
        for node in self.alive:
            with node.client() as client:
                for shard in client.execute_command("CLUSTER SLOTS"):
                    if shard[0] <= slot <= shard[1]:
                        return next(found for found in self.nodes if found.port == shard[2][1])
        raise AssertionError(f"slot {slot} is nobody's")

    @property
    def alive(self) -> list[RedisServer]:
        return [node for node in self.nodes if node.process.is_alive]

    @property
    def masters(self) -> list[RedisServer]:
        return [node for node in self.alive if self._role(node) == "master"]

    def is_whole(self) -> bool:
        """Every slot has a master, as each that lives sees it, and replicas have what their masters have."""
        for node in self.alive:
            with node.client() as client:
                if client.execute_command("CLUSTER INFO")["cluster_state"] != "ok":
                    return False
                if client.info("replication").get("master_link_status", "up") != "up":
                    return False
        return True

    def move(self, key: str, to: RedisServer) -> None:
        """The slot of `key`, with all that is in it, as `redis-cli --cluster reshard` does it."""
        source = self.owner(key)
        self.begin_move(key, to)
        self.end_move(key, source, to)

    def begin_move(self, key: str, to: RedisServer) -> None:
        """Until its end, the new node has what the old one does not have."""
        slot, source = key_slot(key.encode()), self.owner(key)
        with source.client() as giving, to.client() as taking:
            taking.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", _id(giving))
            giving.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", _id(taking))

    def end_move(self, key: str, source: RedisServer, to: RedisServer) -> None:
        slot = key_slot(key.encode())
        with source.client() as giving, to.client() as taking:
            while keys := giving.execute_command("CLUSTER GETKEYSINSLOT", slot, 100):
                giving.execute_command("MIGRATE", *to.address, "", 0, 5_000, "REPLACE", "KEYS", *keys)
            for client in (taking, giving):
                client.execute_command("CLUSTER SETSLOT", slot, "NODE", _id(taking))

    def _role(self, node: RedisServer) -> str:
        with node.client() as client:
            return str(client.execute_command("ROLE")[0])


def _id(client: "redis.Redis") -> str:
    return str(client.execute_command("CLUSTER MYID"))


def make_cluster(servers: RedisServers, *, tls: "Certificates | None" = None) -> RedisCluster:
    settings: dict[str, Any] = {"cluster_enabled": "yes", "cluster_node_timeout": _NODE_TIMEOUT_MS}
    if tls is not None:
        settings |= {"tls_cluster": "yes"}
    nodes = [servers.start(tls=tls, cluster_port=servers.free_port(), **settings) for _ in range(_NODES)]
    wait_ready(*nodes)
    cluster = RedisCluster(nodes)
    hosts = [f"{LOOPBACK}:{node.port}" for node in nodes]
    command = [tool("redis-cli", package="redis-tools"), "--cluster", "create", *hosts]
    command += ["--cluster-replicas", "1", "--cluster-yes"]
    command += ["--tls", "--cacert", str(tls.authority)] if tls is not None else []
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    wanted = _NODES // 2
    eventually(
        lambda: cluster.is_whole() and len(cluster.masters) == wanted, seconds=_START_SECONDS, what="the Cluster"
    )
    return cluster


@dataclass
class WatchedMaster:
    """A master and its replica, watched by three Sentinels, all with one password."""

    master: RedisServer
    replica: RedisServer
    sentinels: list[RedisServer]

    @property
    def hosts(self) -> str:
        return _hosts(self.sentinels)

    def current(self) -> RedisServer:
        """As the first Sentinel says."""
        with self.sentinels[0].client() as client:
            port = int(client.execute_command("SENTINEL GET-MASTER-ADDR-BY-NAME", SERVICE)[1])
        return self.master if port == self.master.port else self.replica


def make_watched_master(servers: RedisServers, *, password: str, tls: "Certificates | None" = None) -> WatchedMaster:
    master = servers.start(password=password, tls=tls)
    replica = servers.start(password=password, tls=tls, replicaof=f"{LOOPBACK} {master.port}")
    wait_ready(master, replica)
    sentinels = [servers.start_sentinel(master, quorum=2, password=password, tls=tls) for _ in range(3)]
    wait_ready(*sentinels)

    def all_know_all() -> bool:
        states = []
        for sentinel in sentinels:
            with sentinel.client() as client:
                states.append(client.sentinel_master(SERVICE))
        with replica.client() as client:
            is_synced = client.info("replication")["master_link_status"] == "up"
        return is_synced and all(
            (state["num-slaves"], state["num-other-sentinels"]) == (1, len(sentinels) - 1) for state in states
        )

    eventually(all_know_all, seconds=_START_SECONDS, what="the Sentinels")
    return WatchedMaster(master, replica, sentinels)


def _hosts(servers: Sequence[RedisServer]) -> str:
    return ",".join(f"{LOOPBACK}:{server.port}" for server in servers)


@dataclass(frozen=True)
class Certificates:
    """`authority` signed the server's certificate, which is for `name`."""

    authority: Path
    certificate: Path
    key: Path

    @property
    def settings(self) -> dict[str, object]:
        return {
            "tls_cert_file": self.certificate,
            "tls_key_file": self.key,
            "tls_ca_cert_file": self.authority,
            "tls_auth_clients": "no",
        }

    @property
    def login(self) -> dict[str, object]:
        return {"ssl": True, "ssl_ca_certs": str(self.authority)}


def make_certificates(servers: RedisServers, *, name: str = LOOPBACK) -> Certificates:
    """A new authority, and a certificate for a server at the address `name`."""
    authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority = _signed("copilot tests", authority_key, authority_key, x509.BasicConstraints(ca=True, path_length=0))
    names = x509.SubjectAlternativeName([x509.IPAddress(ip_address(name))])
    certificate = _signed("redis", key, authority_key, names)
    folder = Path(tempfile.mkdtemp(dir=servers.folder))
    folder.chmod(0o711)
    made = Certificates(folder / "ca.pem", folder / "redis.pem", folder / "redis.key")
    made.authority.write_bytes(authority.public_bytes(serialization.Encoding.PEM))
    made.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    made.key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    for path in (made.authority, made.certificate, made.key):
        _hand_over(path)
    return made


def _signed(
    name: str, key: ec.EllipticCurvePrivateKey, by: ec.EllipticCurvePrivateKey, extension: x509.ExtensionType
) -> x509.Certificate:
    def named(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(named(name))
        .issuer_name(named("copilot tests"))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(extension, critical=False)
        .sign(by, hashes.SHA256())
    )
