-- The breaker measures more than the day: its anchors became hourly equities with the peak, and a trip names its rule and
-- tier. What an older program wrote is said in the new words; a trip of its stays in force until an operator lets go.

DROP TRIGGER IF EXISTS journal_keeps_its_words;

UPDATE journal
SET kind = 'RecordEquity',
    body = json_object(
        'at_ms', json_extract(body, '$.at_ms'),
        'hour', json_extract(body, '$.at_ms') / 3600000,
        'equity', json_extract(body, '$.equity'),
        'peak', json_extract(body, '$.equity')
    )
WHERE kind = 'RecordDayStart';

UPDATE journal
SET body = json_object(
        'at_ms', json_extract(body, '$.at_ms'),
        'rule', 'day loss',
        'tier', 'no_entries',
        'value', json_extract(body, '$.loss_pct'),
        'limit', json_extract(body, '$.limit_pct'),
        'equity', NULL,
        'text', 'day loss: ' || json_extract(body, '$.loss_pct') || ' % reached ' || json_extract(body, '$.limit_pct') || ' %'
    )
WHERE kind = 'RecordTrip';

CREATE TRIGGER journal_keeps_its_words BEFORE UPDATE ON journal
BEGIN
    SELECT RAISE(ABORT, 'the journal is append-only');
END;
