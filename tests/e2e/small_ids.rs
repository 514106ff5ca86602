//! Programs whose ids are small numbers, as in every container: whatever ids they have after a restart, they are right.

use harness::{Artifact, Place, Process, User, compiled, tool};

/// In a PID namespace of its own: uses up ids until `$ID` is next, starts the program, saves and kills it, lets it verify, and restarts it.
const SCRIPT: &str = r#"
for ((i = 2; i < ID; i++)); do : & done; wait
if [ -n "$LIBRARY" ]; then export LD_PRELOAD=$LIBRARY; fi
"$@" > out 2>&1 & program=$!
unset LD_PRELOAD
if [ $program != $ID ]; then echo "its id is $program"; exit 90; fi
until grep -q ready out; do kill -0 $program || { cat out; exit 91; }; sleep 0.01; done
kill -$SIGNAL $program
until [ -e myckpt ]; do kill -0 $program || { cat out; exit 92; }; sleep 0.01; done
kill -KILL $program
wait
: > go.1
"$RESTART" $OPTIONS myckpt; code=$?
cat out
exit $code
"#;

/// Runs `program` with `id` in a namespace, as `user`; it must say PASS.
#[track_caller]
fn passes(user: User, id: u32, options: &str, program: &[&str], signal: &str) {
    let place = Place::new(user);
    let mut command = place.command(&tool("unshare"));
    if user.ids().0 != 0 {
        command.args(["--user", "--map-current-user"]);
    }
    command.args(["--pid", "--fork", "--mount-proc", "bash", "-c", SCRIPT, "bash"]).args(program);
    let file = |artifact: Artifact| place.artifact(artifact);
    command
        .env("ID", id.to_string())
        .env("LIBRARY", file(Artifact::Library))
        .env("RESTART", file(Artifact::Restarter));
    command.env("OPTIONS", options).env("SIGNAL", signal);
    if signal != "USR2" {
        command.env("CKPT_SIGNAL", signal);
    }
    command.stdout(place.output("all.out")).stderr(place.output("all.err"));
    let outcome = Process::spawn(&place, command).finish();
    let said = [place.text("all.out"), place.text("all.err")].concat();
    assert!(outcome.code() == 0 && said.contains("PASS"), "id {id}, {options}: {}: {said}", outcome.status);
}

/// The same as each user and with each id.
#[track_caller]
fn all_pass(ids: &[u32], options: &str, program: &[&str]) {
    for user in User::each() {
        for id in ids {
            passes(user, *id, options, program, "USR2");
        }
    }
}

/// A victim's path.
fn victim(name: &str) -> String {
    compiled(name).to_str().expect("a path of ASCII").to_owned()
}

const PYTHON: &str = "
import decimal, json, os, time
n = os.getpid()
sets = [set(range(n + i)) for i in range(20)]
known = {i: str(i) for i in range(500)}
print('ready', flush=True)
while not os.path.exists('go.1'): time.sleep(0.01)
assert [len(s) for s in sets] == [n + i for i in range(20)], [len(s) for s in sets]
assert all(known[i] == str(i) for i in range(500))
assert json.loads(json.dumps([1, {'a': 2}])) == [1, {'a': 2}] and decimal.Decimal('1.1') * 10 == 11
print('PASS', flush=True)
";

#[test]
fn python() {
    all_pass(&[5, 11, 13], "", &["python3", "-c", PYTHON]);
}

/// Python 3.11 keeps the process's id with its event loop, and takes another one for a fork.
#[test]
fn asyncio() {
    let script = "
import asyncio, os
async def main():
    print('ready', flush=True)
    while not os.path.exists('go.1'): await asyncio.sleep(0.01)
    await asyncio.wait_for(asyncio.gather(*(asyncio.sleep(0.001) for _ in range(20))), 10)
    print('PASS', flush=True)
asyncio.run(main())
";
    all_pass(&[7, 40], "--pid=namespace", &["python3", "-c", script]);
}

#[test]
fn trees_and_lists() {
    all_pass(&[6, 28], "", &[&victim("collections")]);
}

#[test]
fn a_pool_of_threads() {
    all_pass(&[8, 16], "--pid=namespace", &[&victim("thread_pool")]);
    all_pass(&[8, 16], "--pid=new", &[&victim("thread_pool")]);
}

#[test]
fn numbers_and_locks() {
    for id in [9, 33] {
        all_pass(&[id], "--pid=new", &[&victim("numbers_like_ids")]);
        all_pass(&[id], "--pid=namespace", &[&victim("thread_locks")]);
        all_pass(&[id], "--pid=namespace", &[&victim("shared_locks")]);
    }
}

#[test]
fn bash() {
    let script = "echo ready; n=0; until [ -e go.1 ]; do n=$((n + 1)); sleep 0.01; done; [ $(echo a b | wc -w) = 2 ] && echo PASS";
    all_pass(&[5, 17], "--pid=namespace", &["env", "CKPT_CHILDREN=ignore", "bash", "-c", script]);
}
