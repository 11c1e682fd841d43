"""The ledger's tables as SQL: what each step of its schema adds. A step that was released is never changed."""

from __future__ import annotations

APPLICATION_ID = 0x49574D35  # "IWM5"
GENESIS = "0" * 64
KINDS = ("begun", "ended", "ordered", "order", "filled")
OF_VWAP = "kind IN ('opened', 'closed', 'settled', 'voided')"

JOURNAL = """
CREATE TABLE {name} (                -- append-only; each line carries the hash of the one before
    seq       INTEGER PRIMARY KEY,    -- 1, 2, 3 ... without a gap
    at        REAL NOT NULL,          -- Unix seconds
    time      TEXT NOT NULL,          -- the same moment in New York
    kind      TEXT NOT NULL CHECK (kind IN ('opened', 'closed', 'settled', 'voided', 'alert', 'noted'{more})),
    subject   TEXT NOT NULL,          -- the trade's id, the alert's id, or what a note is about
    body      TEXT NOT NULL CHECK (json_valid(body)),  -- JSON; prices in mills (1 mill = $0.001)
    booked    INTEGER NOT NULL,       -- P&L booked by this line, in mills
    balance   INTEGER NOT NULL,       -- lifetime balance after this line, in mills
    prev_hash TEXT NOT NULL,
    hash      TEXT NOT NULL           -- SHA-256 of the JSON array of the columns before it
) STRICT"""

TRADES_VIEW = """
CREATE VIEW trades AS                 -- every closed trade as it stands, in the order of closing; `real` as its owner told it
SELECT
    last.subject AS id,
    json_extract(last.body, '$.contract') AS contract,
    opened.time AS opened,
    last.time AS closed,
    json_extract(last.body, '$.entry') / 1000.0 AS entry_usd,
    json_extract(last.body, '$.exit') / 1000.0 AS exit_usd,
    json_extract(last.body, '$.pnl') / 1000.0 AS pnl_usd,
    last.balance / 1000.0 AS balance_usd,
    json_extract(last.body, '$.reason') AS reason,
    json_extract(last.body, '$.detail') AS detail,
    json_extract(last.body, '$.peak') / 1000.0 AS peak_usd,
    json_extract(last.body, '$.entry_quote.bid') / 1000.0 AS entry_bid_usd,
    json_extract(last.body, '$.entry_quote.ask') / 1000.0 AS entry_ask_usd,
    json_extract(last.body, '$.exit_quote.bid') / 1000.0 AS exit_bid_usd,
    json_extract(last.body, '$.exit_quote.ask') / 1000.0 AS exit_ask_usd,
    json_extract(last.body, '$.fees') / 1000.0 AS fees_usd,
    json_extract(last.body, '$.stale') AS stale,
    json_extract(told.body, '$.real_entry') / 1000.0 AS real_entry_usd,
    json_extract(told.body, '$.real_exit') / 1000.0 AS real_exit_usd,
    json_extract(told.body, '$.real_pnl') / 1000.0 AS real_pnl_usd,
    coalesce(json_extract(told.body, '$.skipped') IN (1, 'yes'), 0) AS skipped,
    json_extract(last.body, '$.entry') AS entry_mills,
    json_extract(last.body, '$.exit') AS exit_mills,
    json_extract(last.body, '$.pnl') AS pnl_mills,
    last.balance AS balance_mills
FROM journal AS first
JOIN journal AS opened ON opened.subject = first.subject AND opened.kind = 'opened'
JOIN journal AS last ON last.seq = (
    SELECT max(seq) FROM journal WHERE subject = first.subject AND kind IN ('closed', 'settled'))
JOIN journal AS told ON told.seq = coalesce(
    (SELECT max(seq) FROM journal WHERE subject IN ('took_it', 'sold_it', 'skipped_it') AND kind = 'noted' AND seq > last.seq
     AND json_extract(body, '$.trade') = first.subject AND json_type(body, '$.real_pnl') IS NOT NULL), last.seq)
WHERE first.kind = 'closed'
"""

ONLY_VALID = """AND NOT EXISTS (SELECT 1 FROM journal WHERE subject = first.subject AND kind = 'voided')
ORDER BY first.seq"""

LIFETIME_VIEW = """
CREATE VIEW lifetime AS
SELECT
    count(*) AS trades,
    coalesce(sum(pnl_mills > 0), 0) AS wins,
    coalesce(sum(pnl_mills <= 0), 0) AS losses,
    coalesce(sum(pnl_mills IS NULL), 0) AS unresolved,
    round(100.0 * sum(pnl_mills > 0) / count(pnl_mills), 1) AS win_rate_percent,
    coalesce(sum(pnl_mills), 0) / 1000.0 AS balance_usd,
    max(pnl_mills) / 1000.0 AS best_usd,
    min(pnl_mills) / 1000.0 AS worst_usd
FROM trades"""

OF_ORDERS: tuple[str, ...] = (
    "DROP VIEW lifetime",
    "DROP VIEW trades",
    JOURNAL.format(name="journal_next", more="".join(f", '{kind}'" for kind in KINDS)),
    "INSERT INTO journal_next SELECT * FROM journal",
    "DROP TABLE journal",
    "ALTER TABLE journal_next RENAME TO journal",
    "CREATE INDEX journal_by_subject ON journal (subject)",
    f"CREATE INDEX journal_of_vwap ON journal (seq) WHERE {OF_VWAP}",
    """
CREATE INDEX journal_by_record ON journal (json_extract(body, '$.strategy'), json_extract(body, '$.mode'), seq)
WHERE kind = 'ended'""",
    """
CREATE TRIGGER journal_is_never_changed BEFORE UPDATE ON journal
BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END""",
    """
CREATE TRIGGER journal_is_never_cut BEFORE DELETE ON journal
BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END""",
    """
CREATE TABLE positions (              -- every open position but vwap's, and every open trade made of orders
    id       TEXT NOT NULL PRIMARY KEY,
    strategy TEXT AS (json_extract(body, '$.strategy')),
    body     TEXT NOT NULL CHECK (json_valid(body))
) STRICT""",
    """
CREATE TABLE orders (                 -- every order, until a month after its trade has ended
    ref      TEXT NOT NULL PRIMARY KEY,
    strategy TEXT AS (json_extract(body, '$.strategy')),
    trade_id TEXT AS (json_extract(body, '$.trade_id')),
    state    TEXT AS (json_extract(body, '$.state')),
    body     TEXT NOT NULL CHECK (json_valid(body))
) STRICT""",
    "CREATE INDEX orders_by_trade ON orders (trade_id)",
    f"{TRADES_VIEW}{ONLY_VALID}",
    LIFETIME_VIEW,
)

UPGRADES: tuple[tuple[str, ...], ...] = (
    (
        JOURNAL.format(name="journal", more=""),
        "CREATE INDEX journal_by_subject ON journal (subject)",
        """
CREATE TRIGGER journal_is_never_changed BEFORE UPDATE ON journal
BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END""",
        """
CREATE TRIGGER journal_is_never_cut BEFORE DELETE ON journal
BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END""",
        """
CREATE TABLE position (               -- the open position: no row, or one
    one       INTEGER PRIMARY KEY CHECK (one = 1),
    id        TEXT AS (json_extract(body, '$.id')),
    contract  TEXT AS (json_extract(body, '$.contract')),
    entry_usd REAL AS (json_extract(body, '$.entry') / 1000.0),
    peak_usd  REAL AS (json_extract(body, '$.peak') / 1000.0),
    mark_usd  REAL AS (json_extract(body, '$.last_mark') / 1000.0),
    body      TEXT NOT NULL CHECK (json_valid(body))
) STRICT""",
        """
CREATE TABLE outbox (                 -- one row per alert; settled rows are kept for 30 days
    id              TEXT NOT NULL PRIMARY KEY,
    kind            TEXT AS (json_extract(body, '$.alert.kind')),
    outcome         TEXT AS (json_extract(body, '$.outcome')),
    attempts        INTEGER AS (json_extract(body, '$.attempts')),
    created_at      REAL AS (json_extract(body, '$.alert.created_at')),
    settled_at      REAL AS (json_extract(body, '$.settled_at')),
    title           TEXT AS (json_extract(body, '$.alert.title')),
    text            TEXT AS (json_extract(body, '$.alert.text')),
    trade_id        TEXT AS (json_extract(body, '$.alert.trade_id')),
    receipt         TEXT AS (json_extract(body, '$.receipt')),
    acknowledged_at REAL AS (json_extract(body, '$.acknowledged_at')),
    acknowledged_by TEXT AS (json_extract(body, '$.acknowledged_by')),
    body            TEXT NOT NULL CHECK (json_valid(body))
) STRICT""",
        "CREATE TABLE facts (key TEXT NOT NULL PRIMARY KEY, value ANY) STRICT",
        """
CREATE TABLE seal (                   -- what everything must add up to
    one     INTEGER PRIMARY KEY CHECK (one = 1),
    lines   INTEGER NOT NULL,         -- the journal's last seq
    head    TEXT NOT NULL,            -- and its hash
    working TEXT NOT NULL             -- sum of the hashes of all rows of position, outbox and facts
) STRICT""",
        f"INSERT INTO seal VALUES (1, 0, '{GENESIS}', '{GENESIS}')",  # noqa: S608
        """
CREATE VIEW trades AS                 -- every closed trade as it stands, in the order of closing
SELECT
    last.subject AS id,
    json_extract(last.body, '$.contract') AS contract,
    opened.time AS opened,
    last.time AS closed,
    json_extract(last.body, '$.entry') / 1000.0 AS entry_usd,
    json_extract(last.body, '$.exit') / 1000.0 AS exit_usd,
    json_extract(last.body, '$.pnl') / 1000.0 AS pnl_usd,
    last.balance / 1000.0 AS balance_usd,
    json_extract(last.body, '$.reason') AS reason,
    json_extract(last.body, '$.detail') AS detail,
    json_extract(last.body, '$.peak') / 1000.0 AS peak_usd,
    json_extract(last.body, '$.entry_quote.bid') / 1000.0 AS entry_bid_usd,
    json_extract(last.body, '$.entry_quote.ask') / 1000.0 AS entry_ask_usd,
    json_extract(last.body, '$.exit_quote.bid') / 1000.0 AS exit_bid_usd,
    json_extract(last.body, '$.exit_quote.ask') / 1000.0 AS exit_ask_usd,
    json_extract(last.body, '$.fees') / 1000.0 AS fees_usd,
    json_extract(last.body, '$.stale') AS stale,
    json_extract(last.body, '$.real_pnl') / 1000.0 AS real_pnl_usd,
    json_extract(last.body, '$.entry') AS entry_mills,
    json_extract(last.body, '$.exit') AS exit_mills,
    json_extract(last.body, '$.pnl') AS pnl_mills,
    last.balance AS balance_mills
FROM journal AS first
JOIN journal AS opened ON opened.subject = first.subject AND opened.kind = 'opened'
JOIN journal AS last ON last.seq = (
    SELECT max(seq) FROM journal WHERE subject = first.subject AND kind IN ('closed', 'settled'))
WHERE first.kind = 'closed'
ORDER BY first.seq""",
        LIFETIME_VIEW,
        f"PRAGMA application_id = {APPLICATION_ID}",
    ),
    (
        "DROP VIEW trades",
        f"{TRADES_VIEW}ORDER BY first.seq",
    ),
    (
        "DROP VIEW trades",
        f"{TRADES_VIEW}{ONLY_VALID}",
    ),
    OF_ORDERS,
)
