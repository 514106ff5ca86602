//! Every kind of descriptor comes back.

use harness::{Place, Process, Program, User, survives};
use nix::sys::resource::{Resource, setrlimit};
use std::os::unix::process::CommandExt;

macro_rules! survivors {
    ($($name:ident: $victim:literal;)*) => {$(
        #[test]
        fn $name() {
            survives($victim);
        }
    )*};
}

survivors! {
    pipes_keep_unread_bytes_and_their_shape: "fd_pipe";
    named_pipes_keep_their_readers_waiting: "fd_fifo";
    eventfds_keep_their_count: "fd_eventfd";
    timerfds_go_on_with_what_remained: "fd_timerfd";
    signalfds_take_what_they_took: "fd_signalfd";
    epolls_watch_what_they_watched: "fd_epoll";
    inotifies_watch_what_they_watched: "fd_inotify";
    files_are_found_by_what_they_are_called_now: "fd_path";
    devices_without_state_are_opened_again: "fd_devices";
    socket_pairs_keep_what_is_queued: "fd_pair";
    unix_sockets_have_their_names_again: "fd_unix";
    unix_sockets_that_depend_on_each_other: "fd_unix_order";
    files_that_are_made_again_have_owner_mode_and_times: "fd_owners";
    a_file_that_was_executed_can_be: "fd_executed";
    files_are_found_by_another_name: "fd_other_name";
    terminals_that_have_hung_up: "fd_hung_up";
    named_pipes_that_have_lost_their_names: "fd_fifo_nameless";
    what_was_shut_down_stays_shut: "fd_shut";
    internet_sockets_listen_again: "fd_inet";
    signals_of_files_go_where_they_went: "fd_owner";
    locks_are_held_again: "fd_locks";
    thousands_of_descriptors_come_back: "fd_many";
    many_sockets_with_unread_messages: "fd_many_sockets";
    a_table_without_a_free_number_is_saved: "fd_full";
    pipes_with_one_end_in_packet_mode_or_large: "pipes";
    fifo_read_and_written_by_one_process: "fifos";
    eventfd_timerfd_and_signalfd_together: "event_fds";
    nested_epolls_with_edges_and_one_shots: "epolls";
    inotify_numbers_with_gaps: "inotifies";
    devices_and_o_path: "devices";
    unix_sockets_of_each_type: "unix_sockets";
    internet_sockets_keep_options: "internet_sockets";
    locks_of_each_kind_at_once: "locks";
}

/// What cannot be restored is refused in one line that names the descriptor, and the program goes on.
#[test]
fn what_cannot_be_restored_is_refused_by_name() {
    for (kind, what) in [
        ("tcp", "a connected TCP socket"),
        ("tcp-waiting", "a listening socket with a connection that was not accepted yet"),
        ("udp-waiting", "a UDP socket with a datagram that was not received yet"),
        ("multicast", "a UDP socket that has joined a multicast group"),
        ("multicast6", "a UDP socket that has joined a multicast group"),
        ("unix-waiting", "a unix socket with a connection that was not accepted yet"),
        (
            "unix-named",
            "a unix socket that is connected to one of this very process by an abstract name, under which another one still listens",
        ),
        ("abandoned", "a unix socket whose peer has been connected to another one since"),
        ("taken", "a unix socket whose path leads to another file now"),
        ("corked", "a UDP socket with a datagram that was not sent yet (UDP_CORK)"),
        ("in-flight", "a unix socket with a message in it that carries descriptors"),
        ("pipe", "a pipe whose other end belongs to another process"),
        ("pipe-writer", "a pipe whose other end belongs to another process"),
        ("pair", "a unix socket that is connected to another process"),
        ("io_uring", "an io_uring"),
        ("userfaultfd", "a userfaultfd"),
        ("perf", "a performance counter (perf_event_open)"),
        ("bpf", "an eBPF object"),
        ("fanotify", "a fanotify group"),
        ("netlink", "a netlink socket"),
        ("packet", "a packet socket"),
        ("device", "a device"),
        ("block", "a block device"),
        ("ptmx", "the controlling side of a pseudo-terminal"),
        ("lease", "a file with a lease"),
        ("removed", "a directory that was removed or cannot be reached by its path"),
        ("unnamed", "a file that has lost the name by which it was opened, but has another one"),
        ("inotify", "an inotify with events that were not read, which would be lost"),
        ("pidfd", "a pidfd of another process"),
        ("epoll", "an epoll that watches a file which only another process has open"),
        ("mqueue", "a POSIX message queue"),
        ("secretmem", "secret memory (memfd_secret)"),
        ("owner", "set to send signals to another process"),
        ("proc", "a file of /proc that belongs to another process"),
        ("namespace", "a namespace"),
        ("hidden", "a file in a folder that the process may not enter"),
        ("filter", "a socket with a packet filter"),
    ] {
        let mut tried = 0;
        for user in User::each() {
            let place = Place::new(user);
            let mut process =
                place.start(&Program::victim("fd_refused").arg(kind).env("CKPT_CHILDREN", "ignore"));
            process.until("\"ready\" or \"skip\"", |process| {
                place.text("out").ends_with('\n') || process.ended().is_some()
            });
            if place.text("out") == "skip\n" {
                continue;
            }
            tried += 1;
            process.ready();
            let said = process.try_save().err().unwrap_or_else(|| panic!("{kind} was saved as {user:?}"));
            let (start, rest) = said.split_once(" is ").unwrap_or((&said, ""));
            assert!(start.starts_with("ckpt: not saved: descriptor "), "{kind}: {said}");
            assert!(rest.starts_with(&format!("{what}; ")), "{kind}: {said}");
            let names = place.names();
            assert!(!names.iter().any(|name| name.starts_with("myckpt")), "{kind}: {names:?}");
            place.write("err", b"");
            process.passes();
        }
        // Of these, an ordinary user has none.
        let for_root = matches!(kind, "bpf" | "packet" | "device" | "block");
        assert!(tried > 0 || for_root && User::ordinary() == User::Myself, "{kind}: no user may have one");
    }
}

#[test]
fn the_restarter_raises_its_own_limit_of_descriptors() {
    const LIMIT: i32 = 79;
    for user in User::each() {
        let place = Place::new(user);
        let mut process = place.start(&Program::victim("fd_many"));
        process.ready();
        let image = process.save();
        process.kill();
        let limited = |soft, hard| {
            let mut command = image.command::<&str>([]);
            // SAFETY: one system call between fork and exec.
            unsafe { command.pre_exec(move || Ok(setrlimit(Resource::RLIMIT_NOFILE, soft, hard)?)) };
            command
        };
        if user == User::ordinary() {
            let outcome = Process::spawn(&place, limited(64, 2000)).finish();
            let said = place.text("restart.err");
            assert_eq!(outcome.code(), LIMIT, "{said}");
            assert!(said.contains("RLIMIT_NOFILE"), "{said}");
        }
        image.restart_by(limited(64, 4096)).passes();
    }
}

/// The numbers that it does not use are the helper's and the writer's meanwhile.
#[test]
fn a_program_that_has_closed_its_standard_streams_is_saved() {
    for user in User::each() {
        for closed in [&[0][..], &[2], &[0, 2]] {
            let place = Place::new(user);
            let mut command = place.command_for(&Program::victim("signal_state"));
            command.stdout(place.output("out")).stderr(place.output("err"));
            // SAFETY: close(2) between fork and exec.
            unsafe {
                command.pre_exec(move || {
                    for number in closed {
                        libc::close(*number);
                    }
                    Ok(())
                });
            }
            let mut process = Process::spawn(&place, command);
            process.ready();
            process.generations(2).passes();
        }
    }
}
