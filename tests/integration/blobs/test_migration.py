"""Schema 13 on a database that has blobs already, and back."""

from uuid import UUID

from copilot_common.platform import migrate
from integration.blobs.ground import open_ground
from support.api import Site
from support.object_store import ObjectServer


async def test_blobs_in_postgresql_outlive_the_rollback_and_those_in_objects_go(
    site: Site, objects: ObjectServer
) -> None:
    urls = migrate.DatabaseUrls(migration=site.database.owner_url, app=site.database.app_url)
    async with open_ground(site, objects.bucket()) as ground:
        put, written = await ground.put(b"in rows"), await ground.write(b"in objects")
        assert 13 in await migrate.down(urls, to_version=12)
        assert (ids(site), site.rows("SELECT to_regclass('blob_removals')::text")) == ([put], [(None,)])
        assert 13 in await migrate.up(urls)
        assert await ground.read(put) == b"in rows"
        assert (ground.rows("blobs", written), len(ground.objects(written))) == (0, 1)


def ids(site: Site) -> list[UUID]:
    return [row[0] for row in site.rows("SELECT id FROM blobs")]
