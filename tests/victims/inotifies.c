/* inotify: the watches with their numbers and masks. */
#include "victim.h"
#include <sys/inotify.h>

int main(void)
{
    must(mkdir("watched", 0755));
    close(must(open("watched file", O_CREAT | O_WRONLY, 0644)));
    int instance = must(inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
    int gone = must(inotify_add_watch(instance, ".", IN_ATTRIB));
    int folder = must(inotify_add_watch(instance, "watched", IN_CREATE | IN_DELETE));
    int file = must(inotify_add_watch(instance, "watched file", IN_MODIFY));
    must(inotify_rm_watch(instance, gone));
    char buffer[4096] __attribute__((aligned(8)));
    while (read(instance, buffer, sizeof buffer) > 0)
        ;
    checkpoint_here();
    check_equal(fcntl(instance, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
    check(read(instance, buffer, sizeof buffer) == -1 && errno == EAGAIN, "an event too many");
    close(must(open("watched/new", O_CREAT | O_WRONLY, 0644)));
    struct inotify_event *event = (void *)buffer;
    check(must(read(instance, buffer, sizeof buffer)) > 0, "no event");
    check(event->wd == folder && event->mask == IN_CREATE && !strcmp(event->name, "new"), "watch %d, mask %#x", event->wd, event->mask);
    int fd = must(open("watched file", O_WRONLY));
    check_equal(write(fd, "x", 1), 1);
    check(must(read(instance, buffer, sizeof buffer)) > 0, "no event");
    check(event->wd == file && event->mask == IN_MODIFY, "watch %d, mask %#x", event->wd, event->mask);
    check_equal(inotify_add_watch(instance, "watched", IN_CREATE), folder);
    must(inotify_rm_watch(instance, file));
    pass();
}
