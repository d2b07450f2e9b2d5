-- name: sum_calls
-- What provider calls in a span of time came to, per day, model, user or API key; one user's, or everybody's where
-- `user_id` is null.
SELECT
    CASE %(group_by)s::text
        WHEN 'day' THEN to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD')
        WHEN 'model' THEN model
        WHEN 'user' THEN user_id::text
        ELSE api_key_id::text
    END AS key,
    count(*) AS requests,
    sum(input_tokens) AS input_tokens,
    sum(output_tokens) AS output_tokens,
    sum(cached_tokens) AS cached_tokens,
    sum(cost_usd) AS cost_usd
FROM llm_calls
WHERE tenant_id = %(tenant_id)s AND at >= %(since)s AND at < %(until)s
    AND (%(user_id)s::uuid IS NULL OR user_id = %(user_id)s)
GROUP BY 1
ORDER BY CASE WHEN %(group_by)s::text = 'day' THEN 0 ELSE count(*) END DESC, 1
LIMIT %(limit)s
