/* inotify: what is watched, under which numbers. */
#include "victim.h"
#include <sys/inotify.h>

static void next(int fd, int wd, uint32_t mask, const char *name)
{
    char buffer[sizeof(struct inotify_event) + 256] __attribute__((aligned(8)));
    /* One at a time: a buffer for no more than this one. */
    size_t room = sizeof(struct inotify_event) + (name ? 16 : 0);
    ssize_t got = read(fd, buffer, room);
    check(got > 0, "no event for watch %d: %s", wd, strerror(errno));
    struct inotify_event *event = (void *)buffer;
    check_equal(event->wd, wd);
    check(event->mask == mask, "mask %#x, not %#x", event->mask, mask);
    if (name)
        check(!strcmp(event->name, name), "name %s, not %s", event->name, name);
}

int main(void)
{
    int fd = must(inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
    must(mkdir("folder", 0755));
    must(mkdir("folder/sub", 0755));
    must(close(must(open("folder/file", O_CREAT | O_WRONLY, 0644))));
    must(symlink("file", "folder/link"));
    must(inotify_rm_watch(fd, must(inotify_add_watch(fd, "folder/file", IN_ATTRIB))));
    int folder = must(inotify_add_watch(fd, "folder", IN_CREATE | IN_DELETE | IN_ONLYDIR));
    int sub = must(inotify_add_watch(fd, "folder/sub", IN_MOVED_TO));
    must(inotify_rm_watch(fd, sub));
    int file = must(inotify_add_watch(fd, "folder/file", IN_MODIFY));
    int once = must(inotify_add_watch(fd, "folder/sub", IN_CREATE | IN_ONESHOT));
    int link = must(inotify_add_watch(fd, "folder/link", IN_DELETE_SELF | IN_DONT_FOLLOW));
    int empty = must(inotify_init());
    char byte[512];
    while (read(fd, byte, sizeof byte) > 0)
        ;

    checkpoint_here();
    check(read(fd, byte, sizeof byte) == -1 && errno == EAGAIN, "an event that never happened");
    check_equal(must(fcntl(fd, F_GETFD)), FD_CLOEXEC);
    check_equal(folder, 2);
    must(close(must(open("folder/new", O_CREAT | O_WRONLY, 0644))));
    next(fd, folder, IN_CREATE, "new");
    int writer = must(open("folder/file", O_WRONLY));
    must(write(writer, "x", 1));
    next(fd, file, IN_MODIFY, NULL);
    must(mkdir("folder/sub/x", 0755));
    next(fd, once, IN_CREATE | IN_ISDIR, "x");
    next(fd, once, IN_IGNORED, NULL);
    must(unlink("folder/link"));
    next(fd, link, IN_DELETE_SELF, NULL);
    next(fd, link, IN_IGNORED, NULL);
    next(fd, folder, IN_DELETE, "link");
    must(inotify_rm_watch(fd, file));
    next(fd, file, IN_IGNORED, NULL);
    must(inotify_add_watch(empty, "folder", IN_CREATE));
    pass();
}
