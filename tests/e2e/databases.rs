//! Files that a program reads back and rewrites: their contents are in the image if asked for, and come back exactly.

use harness::{Place, Program, User, wait};
use std::fs;
use std::process::Command;

/// A data base in which each transaction adds a row to one table and changes one of another: both sums must agree, whenever it goes on from where.
const WRITER: &str = "
import os, sqlite3, sys
mode = sys.argv[1]
db = sqlite3.connect('data', isolation_level=None)
db.execute(f'pragma journal_mode={mode}')
db.execute('pragma cache_size=20')
db.execute('pragma synchronous=off')
db.execute('pragma busy_timeout=0')
db.execute('create table rows (n integer primary key, text)')
db.execute('create table state (id integer primary key, n, pad)')
db.executemany('insert into state values (?, 0, ?)', [(i, os.urandom(600)) for i in range(200)])
print('ready', flush=True)
n = 0
while not os.path.exists('go.1'):
    n += 1
    db.execute('begin immediate')
    db.execute('insert into rows values (?, ?)', (n, 'x' * (n % 3000)))
    db.execute('update state set n = n + 1, pad = ? where id in (?, ?, ?)', (os.urandom(600), n % 200, n * 7 % 200, n * 31 % 200))
    if n % 5 == 0: db.execute('delete from rows where n = ?', (n - 3,))
    db.execute('commit')
    assert db.execute('select max(n) from rows').fetchone()[0] == n, 'a row of another time'
assert db.execute('pragma integrity_check').fetchone()[0] == 'ok'
rows = [row[0] for row in db.execute('select n from rows order by n')]
assert rows == [i for i in range(1, n + 1) if i % 5 != 2 or i + 3 > n], 'rows'
db.close()
print('PASS', flush=True)
";

/// Saved at a random moment, goes on for a while, is killed at a random moment, and restarted; several times.
fn comes_back(mode: &str, rounds: u32) {
    for user in [User::ordinary()] {
        let place = Place::new(user);
        let program = Program::tool("python3").args(["-c", WRITER, mode]).env("CKPT_FILES", "written");
        let mut process = place.start(&program);
        process.ready();
        let length = || {
            ["data", "data-wal"]
                .iter()
                .map(|name| fs::metadata(place.file(name)).map_or(0, |m| m.len()))
                .sum::<u64>()
        };
        for round in 0..rounds {
            let image = process.save();
            // Until it has written something, and then for as long as it takes.
            let before = (length(), fs::metadata(place.file("data")).and_then(|m| m.modified()).ok());
            let goes_on = wait(|| {
                let now = (length(), fs::metadata(place.file("data")).and_then(|m| m.modified()).ok());
                (now != before).then_some(())
            });
            assert!(goes_on.is_some(), "{}", process.report());
            std::thread::sleep(std::time::Duration::from_micros(u64::from(round) * 1709 % 20_000));
            process.kill();
            // SQLite keeps the id of the thread that holds its recursive locks.
            process = image.restart_kept(&["--rollback-files", "--pid=namespace"]);
        }
        process.passes();
        let check = Command::new("python3")
            .args(["-c", "import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute('pragma integrity_check').fetchone()[0])"])
            .arg(place.file("data"))
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&check.stdout), "ok\n", "{check:?}");
    }
}

#[test]
fn a_data_base_with_a_journal_comes_back_exactly() {
    comes_back("delete", 5);
}

#[test]
fn a_data_base_with_a_log_comes_back_exactly() {
    comes_back("wal", 5);
}
