//! Every kind of descriptor comes back.

use harness::survives;

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
    internet_sockets_listen_again: "fd_inet";
    signals_of_files_go_where_they_went: "fd_owner";
    locks_are_held_again: "fd_locks";
    thousands_of_descriptors_come_back: "fd_many";
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
