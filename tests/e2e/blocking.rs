//! Blocking calls do not notice: interrupted by a save they neither return EINTR nor return early, neither after the save nor after a restart. The
//! victim knows for each call how exactly its timeout can be kept.

use harness::{Artifact, Place, Process, Program, User, survives, tool};
use nix::libc;
use nix::sys::signal::Signal;
use std::thread;
use std::time::{Duration, Instant};

/// How long the victim's calls block.
const TIMEOUT: Duration = Duration::from_secs(1);

/// Starts the victim and waits until it is in its call.
#[track_caller]
fn blocked(user: User, victim: &str, call: &str, numbers: &[libc::c_long]) -> Process {
    let mut process = Place::new(user).start(&Program::victim(victim).arg(call));
    process.ready();
    process.until("the blocking call", |process| is_in(process, numbers));
    process
}

/// Whether a process is in one of these system calls, or in `restart_syscall`, which continues one.
fn is_in(process: &mut Process, numbers: &[libc::c_long]) -> bool {
    let now = process.proc("syscall");
    let now = now.split_whitespace().next().and_then(|number| number.parse().ok());
    now.is_some_and(|now| numbers.contains(&now) || now == libc::SYS_restart_syscall)
}

/// The victims that make this call, and the users who run them, all at once: they only wait.
fn everywhere(call: &str, test: impl Fn(User, &str) + Sync) {
    // musl's syscall() does not leave its number where it could be found.
    let victims: &[&str] =
        if call.starts_with("libc_") { &["blocking", "blocking_musl"] } else { &["blocking"] };
    thread::scope(|scope| {
        for user in User::each() {
            for victim in victims {
                let test = &test;
                scope.spawn(move || test(user, victim));
            }
        }
    });
}

/// A call that ends by itself: saved in the middle of it, and saved and restarted in the middle of it.
#[track_caller]
fn keeps_its_time(call: &str, numbers: &[libc::c_long]) {
    everywhere(call, |user, victim| {
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut process = blocked(user, victim, call, numbers);
                // Not a wait for anything: the save is to fall in the middle.
                thread::sleep(TIMEOUT / 3);
                process.save();
                thread::sleep(TIMEOUT / 10);
                // On a busy machine the call is over by now, and the victim waits for the end of the test.
                process.save();
                process.passes();
            });
            scope.spawn(|| {
                let mut process = blocked(user, victim, call, numbers);
                thread::sleep(TIMEOUT / 5);
                let mut down = Duration::ZERO;
                for generation in 0..3 {
                    if generation > 0 && !is_in(&mut process, numbers) {
                        break;
                    }
                    let start = Instant::now();
                    let image = process.save();
                    process.kill();
                    process = image.restart();
                    down += start.elapsed();
                    process.place.write("downtime", down.as_nanos().to_string().as_bytes());
                }
                process.passes();
            });
        });
    });
}

/// A call that lasts until a signal comes.
#[track_caller]
fn waits_for_a_signal(call: &str, numbers: &[libc::c_long]) {
    everywhere(call, |user, victim| {
        for generations in [0, 3] {
            let mut process = blocked(user, victim, call, numbers);
            process.save();
            process.save();
            let mut process = process.generations(generations);
            process.until("the blocking call", |process| is_in(process, numbers));
            process.send(Signal::SIGTERM as i32);
            process.passes();
        }
    });
}

macro_rules! timed {
    ($($name:ident: $($number:ident)|+;)*) => {
        $(
            #[test]
            fn $name() {
                keeps_its_time(stringify!($name), &[$(libc::$number),+]);
            }
        )*
    };
}

timed! {
    nanosleep: SYS_nanosleep;
    nanosleep_in_place: SYS_nanosleep;
    nanosleep_alone: SYS_nanosleep;
    clock_nanosleep: SYS_clock_nanosleep;
    clock_nanosleep_absolute: SYS_clock_nanosleep;
    poll: SYS_poll;
    ppoll: SYS_ppoll;
    select: SYS_select;
    pselect6: SYS_pselect6;
    epoll_wait: SYS_epoll_wait;
    epoll_pwait: SYS_epoll_pwait;
    epoll_pwait2: SYS_epoll_pwait2;
    futex: SYS_futex;
    futex_absolute: SYS_futex;
    rt_sigtimedwait: SYS_rt_sigtimedwait;
    semtimedop: SYS_semtimedop;
    recvfrom: SYS_recvfrom;
    libc_nanosleep: SYS_nanosleep | SYS_clock_nanosleep;
    libc_sleep: SYS_nanosleep | SYS_clock_nanosleep;
    libc_usleep: SYS_nanosleep | SYS_clock_nanosleep;
    libc_clock_nanosleep: SYS_nanosleep | SYS_clock_nanosleep;
    libc_poll: SYS_poll;
    libc_ppoll: SYS_ppoll;
    libc_select: SYS_select | SYS_pselect6;
    libc_pselect: SYS_pselect6;
    libc_epoll_wait: SYS_epoll_wait | SYS_epoll_pwait;
    libc_epoll_pwait: SYS_epoll_pwait;
    libc_sigtimedwait: SYS_rt_sigtimedwait;
    libc_semtimedop: SYS_semtimedop;
    libc_sem_timedwait: SYS_futex;
    libc_recv: SYS_recvfrom;
}

macro_rules! endless {
    ($($name:ident: $($number:ident)|+;)*) => {
        $(
            #[test]
            fn $name() {
                waits_for_a_signal(stringify!($name), &[$(libc::$number),+]);
            }
        )*
    };
}

endless! {
    pause: SYS_pause;
    rt_sigsuspend: SYS_rt_sigsuspend;
    poll_endless: SYS_poll;
    epoll_wait_endless: SYS_epoll_wait;
    msgrcv: SYS_msgrcv;
    semop: SYS_semop;
    libc_pause: SYS_pause;
    libc_sigsuspend: SYS_rt_sigsuspend;
}

#[test]
fn blocked_threads_do_not_notice() {
    survives("blocking_threads");
}

#[test]
fn many_saves_in_a_row_do_not_prolong_a_call() {
    const CALLS: [(&str, libc::c_long); 4] = [
        ("libc_poll", libc::SYS_poll),
        ("libc_sleep", libc::SYS_clock_nanosleep),
        ("libc_epoll_wait", libc::SYS_epoll_wait),
        ("libc_semtimedop", libc::SYS_semtimedop),
    ];
    for user in User::each() {
        for (call, number) in CALLS {
            let mut process = blocked(user, "blocking", call, &[number]);
            for _ in 0..40 {
                process.send(process.signal);
                // Not a wait for anything: some fall into a save, some into the way out of one, some into the call.
                thread::sleep(Duration::from_millis(15));
            }
            process.passes();
        }
    }
}

#[test]
fn handler_that_is_about_to_run_ends_the_call() {
    for user in User::each() {
        for (call, number) in [("libc_pause", libc::SYS_pause), ("poll_endless", libc::SYS_poll)] {
            let mut process = blocked(user, "blocking", call, &[number]);
            // Both are pending when the process wakes, and the save comes first: its signal has the lower number.
            process.send(Signal::SIGSTOP as i32);
            process.until("the stop", |process| process.status_line("State").starts_with('T'));
            process.send(process.signal);
            process.send(Signal::SIGTERM as i32);
            process.send(Signal::SIGCONT as i32);
            process.passes();
        }
    }
}

/// Calls that a handler of the program has ended, with the checkpoint signal blocked: see the victim.
const ENDED: [&str; 17] = [
    "sigsuspend",
    "pselect",
    "ppoll",
    "epoll_pwait",
    "pause",
    "select",
    "poll",
    "epoll_wait",
    "nanosleep",
    "clock_nanosleep",
    "futex",
    "futex_absolute",
    "sigtimedwait",
    "semop",
    "msgrcv",
    "read",
    "recv",
];

#[test]
fn call_that_a_handler_of_the_program_has_ended_stays_ended() {
    thread::scope(|scope| {
        for user in User::each() {
            for call in ENDED {
                scope.spawn(move || {
                    let mut process = Place::new(user).start(&Program::victim("ended_calls").arg(call));
                    process.ready();
                    process.until("the image", |process| process.place.file("myckpt").exists());
                    let image = process.image_of_save();
                    process.passes();
                    // What the image has is the moment before the call returns.
                    let image = image.copy("restarted");
                    image.place().write("out", b"");
                    image.restart().passes();
                });
            }
        }
    });
}

/// What waits in `from_boot`.
const WAITS: [&str; 12] = [
    "sleep_monotonic",
    "sleep_boottime",
    "sleep_realtime",
    "futex_monotonic",
    "futex_realtime",
    "timerfd_monotonic",
    "timerfd_boottime",
    "timerfd_realtime",
    "timerfd_relative",
    "timer_monotonic",
    "timer_boottime",
    "timer_relative",
];

/// A namespace in which a machine has been up for so many seconds more.
fn up_for(seconds: &str) -> [String; 5] {
    let [monotonic, boottime] = ["monotonic", "boottime"].map(|clock| format!("--{clock}={seconds}"));
    // A command that is executed in it, not a child: ids are the same on both sides.
    ["--time".into(), monotonic, boottime, "--".into(), "env".into()]
}

/// Only root may make a time namespace without a user namespace, which would change more than clocks.
#[test]
fn absolute_timeouts_keep_what_was_left_of_them() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let times = [("1728000", None), ("100000", None), ("0", Some("1728000"))];
    // All files are there before a process is started: one that is forked meanwhile would have a program open for writing that another is about to execute.
    let places: Vec<_> = WAITS
        .iter()
        .flat_map(|wait| times.map(|time| (wait, time)))
        .map(|(wait, time)| {
            let place = Place::new(User::Myself);
            let victim = place.executable(&Program::victim("from_boot"));
            let library = place.artifact(Artifact::Library);
            place.artifact(Artifact::Restarter);
            (place, victim, library, wait, time)
        })
        .collect();
    thread::scope(|scope| {
        for (place, victim, library, wait, (saved, restarted)) in &places {
            scope.spawn(move || {
                let library = format!("LD_PRELOAD={}", library.display());
                let unshare = Program::tool("unshare").without_preload().args(up_for(saved));
                let program = unshare.arg(library).arg(victim).arg(*wait);
                let mut process = place.start(&program);
                process.ready();
                thread::sleep(TIMEOUT / 5);
                let start = Instant::now();
                let image = process.save();
                process.kill();
                let restart = image.command::<&str>([]);
                let mut command = place.command(&tool("unshare"));
                command.args(up_for(restarted.unwrap_or("0")));
                command.arg(restart.get_program()).args(restart.get_args());
                let process = image.restart_by(command);
                let down = start.elapsed().as_nanos().to_string();
                process.place.write("downtime", down.as_bytes());
                process.passes();
            });
        }
    });
}
