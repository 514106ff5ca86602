-- One transaction on a database file, with a cache that holds all of it: the file is written when the transaction ends.
PRAGMA cache_size = -65536;
PRAGMA cache_spill = OFF;
CREATE TABLE ledger (id INTEGER PRIMARY KEY, account TEXT, amount INTEGER);
CREATE INDEX by_account ON ledger (account);
BEGIN;
WITH RECURSIVE step(n, seed) AS (SELECT 1, 42 UNION ALL SELECT n + 1, (seed * 1103515245 + 12345) % 2147483648 FROM step WHERE n < 4000)
    INSERT INTO ledger SELECT n, 'account-' || seed % 997, seed % 10007 FROM step;
WITH RECURSIVE step(n, seed) AS (SELECT 1, 43 UNION ALL SELECT n + 1, (seed * 1103515245 + 12345) % 2147483648 FROM step WHERE n < 700)
    SELECT n, seed % 997, (SELECT sum(amount) FROM ledger WHERE id % 997 = seed % 997 OR account = 'account-' || n), hex(seed * 1000003) FROM step;
UPDATE ledger SET amount = amount + 1 WHERE id % 3 = 0;
WITH RECURSIVE step(n, seed) AS (SELECT 1, 44 UNION ALL SELECT n + 1, (seed * 1103515245 + 12345) % 2147483648 FROM step WHERE n < 700)
    SELECT n, seed % 991, (SELECT sum(amount) FROM ledger WHERE id % 991 = seed % 991 OR account = 'account-' || n), hex(seed * 1000003) FROM step;
UPDATE ledger SET account = account || '!' WHERE id % 5 = 0;
-- The harness holds the program here until it has saved it often enough.
WITH RECURSIVE wait(found) AS (SELECT readfile('go') IS NOT NULL UNION ALL SELECT readfile('go') IS NOT NULL FROM wait WHERE NOT found)
    SELECT 'went on' FROM wait WHERE found;
WITH RECURSIVE step(n, seed) AS (SELECT 1, 45 UNION ALL SELECT n + 1, (seed * 1103515245 + 12345) % 2147483648 FROM step WHERE n < 700)
    SELECT n, seed % 983, (SELECT sum(amount) FROM ledger WHERE id % 983 = seed % 983 OR account = 'account-' || n), hex(seed * 1000003) FROM step;
COMMIT;
SELECT count(*), sum(amount) FROM ledger;
PRAGMA integrity_check;
