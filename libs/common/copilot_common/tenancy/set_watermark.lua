-- The read that put its token (ARGV[1]) where no watermark was puts the LSN (ARGV[2]) that it has brought from the
-- primary in its place, unless a write has taken the token away meanwhile.
if redis.call('GET', KEYS[1]) == ARGV[1] then
  redis.call('SET', KEYS[1], ARGV[2], 'KEEPTTL')
  return 1
end
return 0
