"""The real workflow engine with an object store in its settings."""

from integration.blobs.ground import open_ground
from support.api import Site
from support.clients import eventually
from support.object_store import ACCESS_KEY, SECRET_KEY, ObjectServer
from support.workers import Workers, workers

__all__ = ["workers"]


async def test_a_running_engine_removes_the_objects_of_blobs_that_are_gone_and_stops_when_told(
    site: Site, objects: ObjectServer, workers: Workers
) -> None:
    bucket = objects.bucket()
    given = {"s3_endpoint": bucket.endpoint, "s3_access_key_id": ACCESS_KEY, "s3_secret_access_key": SECRET_KEY}
    async with open_ground(site, bucket) as ground:
        blob = await ground.write(b"content")
        async with ground.db.transaction(ground.acme) as tx:
            await ground.store.delete(tx, blob)
        assert len(ground.objects(blob)) == 1
        engine = workers(site.environ(blob_store="s3", s3_bucket=bucket.name, **given))

        async def is_gone() -> bool:
            return not ground.objects(blob)

        await eventually(is_gone, what="the object gone")
    engine.terminate()
    assert engine.process.wait(30)
    assert engine.exit_code == 0
    assert SECRET_KEY not in engine.log_path.read_text()
