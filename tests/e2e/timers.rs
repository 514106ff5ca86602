//! Timers of each kind.

use harness::{Place, Program, User, survives, tool};

#[test]
fn interval_timers_keep_value_and_interval() {
    survives("interval_timers");
}

#[test]
fn interval_timer_goes_on_ticking() {
    survives("timer_ticks");
}

#[test]
fn posix_timers_keep_ids_clocks_values_and_expiry() {
    survives("posix_timers");
}

#[test]
fn timers_of_whoever_restarts_it_do_not_ring_in_the_process() {
    const SET: &str = "\
import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
signal.setitimer(signal.ITIMER_REAL, 0.001)
while not signal.sigpending(): pass
for which in signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF: signal.setitimer(which, 100, 100)
os.execv(sys.argv[1], sys.argv[1:])";
    for user in User::each() {
        let place = Place::new(user);
        let mut process = place.start(&Program::victim("foreign_timers"));
        process.ready();
        let image = process.save();
        process.kill();
        let restart = image.command([""; 0]);
        let mut command = place.command(&tool("python3"));
        command.args(["-c", SET]).arg(restart.get_program()).args(restart.get_args());
        command.stdout(place.output("restart.out")).stderr(place.output("restart.err"));
        image.restart_by(command).passes();
    }
}
