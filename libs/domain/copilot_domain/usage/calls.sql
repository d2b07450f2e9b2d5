-- name: insert_call
-- One call to a provider, whatever became of it.
INSERT INTO llm_calls (
    tenant_id, id, user_id, api_key_id, conversation_id, message_id, provider, model, outcome, finish_reason,
    input_tokens, output_tokens, cached_tokens, reasoning_tokens, cost_usd, estimated, first_token_ms, total_ms
) VALUES (
    %(tenant_id)s, %(id)s, %(user_id)s, %(api_key_id)s, %(conversation_id)s, %(message_id)s, %(provider)s, %(model)s,
    %(outcome)s, %(finish_reason)s, %(input_tokens)s, %(output_tokens)s, %(cached_tokens)s, %(reasoning_tokens)s,
    %(cost_usd)s, %(estimated)s, %(first_token_ms)s, %(total_ms)s
)
