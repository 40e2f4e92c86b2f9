package server

import (
	"os"
	"runtime"
)

// room is how much garbage there may be, at the least, when the collector comes, with GOGC=100.
const room = 64 << 20

// LeaveRoom has the garbage collector of the whole program come once in 64 MiB of garbage, or less often, until the function that it returns is called. The heap of a server may be small, however many
// nodes are in its database: the collector would come several times a second under load, and take the processors of whoever has just been asked something, PostgreSQL for one. Nothing is changed if the
// environment has GOGC or GOMEMLIMIT (https://pkg.go.dev/runtime): somebody knows better.
//
// The collector waits until the heap has doubled. The room is a ballast, a block that nobody touches: it counts as a part of the heap, in go_memstats_* and in heap profiles too, and takes no memory if the
// program asks for it first thing, so that it is fresh from the system. A higher GOGC would cost a multiple of a heap that is large, as that of a server of many nodes is; this is a fixed amount.
func LeaveRoom() (end func()) {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return func() {}
	}
	untouched := make([]byte, room)
	return func() { runtime.KeepAlive(untouched) }
}
