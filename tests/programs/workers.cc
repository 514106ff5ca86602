// Threads of C++: a pool with a queue, futures, std::async, exceptions that cross threads, shared locks, thread-local data.
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <future>
#include <map>
#include <mutex>
#include <queue>
#include <shared_mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <unistd.h>
#include <vector>

static uint64_t mix(uint64_t x, int rounds)
{
    while (rounds--)
        x = x * 6364136223846793005 + 1442695040888963407;
    return x;
}

class Pool {
public:
    explicit Pool(int size)
    {
        while (size--)
            threads.emplace_back([this] { work(); });
    }

    ~Pool()
    {
        {
            std::lock_guard hold(lock);
            closed = true;
        }
        more.notify_all();
        for (auto &thread : threads)
            thread.join();
    }

    std::future<uint64_t> submit(std::function<uint64_t()> job)
    {
        std::packaged_task<uint64_t()> task(std::move(job));
        auto result = task.get_future();
        {
            std::lock_guard hold(lock);
            tasks.push(std::move(task));
        }
        more.notify_one();
        return result;
    }

private:
    void work()
    {
        for (;;) {
            std::unique_lock hold(lock);
            more.wait(hold, [this] { return closed || !tasks.empty(); });
            if (tasks.empty())
                return;
            auto task = std::move(tasks.front());
            tasks.pop();
            hold.unlock();
            task();
        }
    }

    std::mutex lock;
    std::condition_variable more;
    std::queue<std::packaged_task<uint64_t()>> tasks;
    std::vector<std::thread> threads;
    bool closed = false;
};

static thread_local std::string name = "nobody";

int main()
{
    constexpr int steps = 400;
    std::map<std::string, uint64_t> ledger;
    std::shared_mutex access_to_ledger;
    std::atomic<uint64_t> visits{0};
    Pool pool(5);
    uint64_t hash = 1;
    for (int step = 0; step < steps; step++) {
        // The harness holds the program here until it has saved it often enough.
        while (step == steps * 3 / 4 && access("go", F_OK) != 0)
            std::this_thread::sleep_for(std::chrono::milliseconds(10));
        std::vector<std::future<uint64_t>> results;
        for (int i = 0; i < 8; i++)
            results.push_back(pool.submit([&, i, hash] {
                if (name == "nobody")
                    name = "worker of the pool, with a name too long for a small string";
                {
                    std::shared_lock look(access_to_ledger);
                    visits += 1 + (ledger.size() > 97);
                }
                if (i == 7)
                    throw std::runtime_error(std::string("job ") + name.substr(0, 6));
                auto result = mix(hash + i, 30000);
                std::unique_lock change(access_to_ledger);
                ledger["account " + std::to_string(result % 97)] += result;
                return result;
            }));
        auto other = std::async(std::launch::async, mix, hash, 60000);
        std::thread passing([&] { name = "passing"; visits++; });
        passing.join();
        for (auto &result : results) {
            try {
                hash = hash * 31 + result.get();
            } catch (const std::runtime_error &error) {
                hash = hash * 31 + std::hash<std::string>()(error.what());
            }
        }
        hash ^= other.get();
        for (auto &[account, amount] : ledger)
            hash = hash * 31 + amount;
        printf("%d %016lx %zu %lu %s\n", step, hash, ledger.size(), visits.load(), name.c_str());
        fflush(stdout);
    }
}
