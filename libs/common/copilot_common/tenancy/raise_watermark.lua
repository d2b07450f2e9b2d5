-- A tenant has written: its watermark is not below this LSN from now on. KEYS[1] is the watermark's, ARGV[1] the LSN.
-- Without a watermark there is nothing to raise: reads go to the primary. One that a read is about to set from an LSN
-- that may be older than this write is taken away. Its time to live stays as it is: see watermarks.py.
local held = redis.call('GET', KEYS[1])
if not held then
  return 0
end
if string.sub(held, 1, 1) == '?' then
  redis.call('DEL', KEYS[1])
elseif held < ARGV[1] then
  redis.call('SET', KEYS[1], ARGV[1], 'KEEPTTL')
end
return 1
