/* Throws and catches without end until told to stop, through frames with destructors, in threads: it is saved and restarted at random instructions.
 * build: g++ -O2 -pthread */
#include "victim.h"
#include <atomic>
#include <condition_variable>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

static std::atomic<long> destroyed;

struct Guard {
    ~Guard() { destroyed++; }
};

struct PerThread {
    std::string name = "a name that is too long to stand in the string itself";
    ~PerThread() { destroyed += name.size() == 53; }
};
static thread_local PerThread per_thread;

static int descend(int depth, int value)
{
    Guard guard;
    if (depth == 0)
        throw std::runtime_error("thrown with " + std::to_string(value));
    return descend(depth - 1, value) + 1;
}

static void round(int thread)
{
    for (int i = 0; i < 100; i++) {
        int value = thread * 1000 + i;
        try {
            try {
                descend(i % 10, value);
                fail("nothing was thrown");
            } catch (const std::logic_error &) {
                fail("another type");
            }
        } catch (const std::exception &error) {
            check(error.what() == "thrown with " + std::to_string(value), "%s", error.what());
        }
    }
    check(per_thread.name.size() == 53, "%s", per_thread.name.c_str());
}

int main()
{
    say_ready();
    std::string stop = std::string(victim_dir) + "/go.1";
    while (access(stop.c_str(), F_OK) != 0) {
        long before = destroyed;
        std::vector<std::thread> threads;
        for (int i = 0; i < 3; i++)
            threads.emplace_back(round, i);
        auto answer = std::async(std::launch::async, [] {
            descend(3, 4);
            return 0;
        });
        for (auto &thread : threads)
            thread.join();
        try {
            answer.get();
            fail("nothing came");
        } catch (const std::runtime_error &error) {
            check(std::string(error.what()) == "thrown with 4", "%s", error.what());
        }
        answer = {};
        /* Of 100 each 10 times 1 to 10 guards, and the threads' own; those of the asynchronous one. */
        check_equal(destroyed - before, 3 * (550 + 1) + 4);
    }
    pass();
}
