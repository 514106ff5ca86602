//! Servers on a unix socket: they are saved and restarted while nobody is connected, and refuse by name when somebody is.

use harness::{Place, Process, Program, User, tool};
use std::process::Stdio;

/// Asks redis, and returns the answer without the last newline.
#[track_caller]
fn ask(place: &Place, words: &[&str]) -> String {
    let mut command = place.command(&tool("redis-cli"));
    let output = command.args(["-s", "socket"]).args(words).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

/// Waits until nobody is connected any more: the server notices that a client has gone when it comes to it.
#[track_caller]
fn alone(process: &mut Process) {
    process.until("the client to be gone", |this| {
        let sockets = this.descriptors().into_iter().filter(|(_, name)| name.starts_with("socket:"));
        sockets.count() == 1
    });
}

#[test]
fn redis_keeps_its_data_and_its_socket() {
    for user in User::each() {
        let place = Place::new(user);
        let options = ["--port", "0", "--unixsocket", "socket", "--save", "", "--io-threads", "3"];
        let mut process = place.start(&Program::tool("redis-server").args(options));
        process.until("the socket", |this| this.place.text("out").contains("ready to accept connections"));
        let fill = "for i = 1, 20000 do redis.call('set', 'key' .. i, i * i) end return redis.call('dbsize')";
        assert_eq!(ask(&place, &["eval", fill, "0"]), "20000");
        for generation in 1..=3 {
            let count = ask(&place, &["incr", "count"]);
            assert_eq!(count, generation.to_string());
            alone(&mut process);
            process = process.generations(1);
            assert_eq!(ask(&place, &["get", "key777"]), (777 * 777).to_string());
        }
        // A client that stays.
        let mut client = place.command(&tool("redis-cli"));
        client.args(["-s", "socket", "subscribe", "news"]).stdin(Stdio::piped());
        client.stdout(place.output("client.out")).stderr(place.output("client.err"));
        let mut client = Process::spawn(&place, client);
        client.until("its subscription", |this| this.place.text("client.out").contains("subscribe"));
        let Err(line) = process.try_save() else { process.fail("saved, with a client connected") };
        assert!(line.contains("is a unix socket that is connected to another process"), "{line}");
        client.kill();
        assert_eq!(ask(&place, &["dbsize"]), "20001");
        alone(&mut process);
        process.save();
        ask(&place, &["shutdown", "nosave"]);
        assert!(process.finish().status.success());
    }
}
