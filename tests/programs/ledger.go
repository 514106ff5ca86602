// Go: goroutines, channels, locks, a ticker, garbage; with cgo, because only a program with a dynamic linker can be preloaded.
package main

// #include <stdint.h>
// static uint64_t mix(uint64_t x, int rounds)
// {
//     while (rounds--)
//         x = x * 6364136223846793005u + 1442695040888963407u;
//     return x;
// }
import "C"

import (
	"fmt"
	"os"
	"runtime"
	"sync"
	"time"
)

const steps = 300

func main() {
	var lock sync.Mutex
	ticks, hash := 0, uint64(1)
	changed := sync.NewCond(&lock)
	go func() {
		for range time.Tick(time.Millisecond) {
			lock.Lock()
			ticks++
			changed.Broadcast()
			lock.Unlock()
		}
	}()
	for step := 0; step < steps; step++ {
		// The harness holds the program here until it has saved it often enough.
		for step == steps*3/4 {
			if _, err := os.Stat("go"); err == nil {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		answers := make(chan [2]uint64)
		for job := uint64(0); job < 8; job++ {
			go func(job uint64) {
				garbage := make([]byte, 1<<16)
				garbage[job] = 1
				answers <- [2]uint64{job, uint64(C.mix(C.uint64_t(hash^job), 50000))}
			}(job)
		}
		var all [8]uint64
		for range all {
			answer := <-answers
			all[answer[0]] = answer[1]
		}
		for _, value := range all {
			hash = hash*31 + value
		}
		if step%20 == 0 {
			runtime.GC()
			lock.Lock()
			for before := ticks; ticks == before; {
				changed.Wait()
			}
			lock.Unlock()
		}
		fmt.Println(step, hash)
	}
}
