-- The read that put its token (ARGV[1]) where no watermark was has failed: nobody need wait for it.
if redis.call('GET', KEYS[1]) == ARGV[1] then
  return redis.call('DEL', KEYS[1])
end
return 0
