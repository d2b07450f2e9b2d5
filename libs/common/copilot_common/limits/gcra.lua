-- GCRA over several buckets: one token from each of KEYS, or from none.
-- ARGV holds interval and capacity of each, in microseconds.
-- Returns whether it was allowed (1 or 0), the time used, and when each bucket will be full.
-- Redis's own clock, so that all processes count by the same; a key lives until its bucket is full.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local current, taken, allowed = {}, {}, 1
for i, key in ipairs(KEYS) do
    local interval, capacity = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
    current[i] = math.max(tonumber(redis.call('GET', key) or 0), now)
    taken[i] = current[i] + interval
    if taken[i] - now > capacity then
        allowed = 0
    end
end
if allowed == 1 then
    for i, key in ipairs(KEYS) do
        redis.call('SET', key, string.format('%.0f', taken[i]), 'PX', math.ceil((taken[i] - now) / 1000))
    end
    current = taken
end
return {allowed, now, unpack(current)}
